"""The fixture of this folder: a sandbox with one room."""

from collections.abc import AsyncIterator

import pytest

from events.database import Database
from events.store import Store
from tests.chatwork_server import sandbox_of
from tests.workers.chatwork.syncs import World, world_of


@pytest.fixture
async def world(store: Store, database: Database) -> AsyncIterator[World]:
    """A sandbox with one room, whose messages are all stored."""
    async with world_of(store, database, sandbox_of({"10": ["一"]})) as world:
        await world.sync()
        world.sandbox.requests.clear()
        yield world
