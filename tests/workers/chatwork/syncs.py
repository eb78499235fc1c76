"""Syncs messages of a sandbox for tests, and simulates crashes of a sync.

A crash is simulated in two steps: the log records that the worker is lost, then the handler is
cancelled.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from events.database import Database
from events.job import Job
from events.store import Store
from tests.chatwork_server import client_of, resources_of
from tests.handler_context import RunningAttempt, running
from workers.chatwork.client import Chatwork
from workers.chatwork.messages_sync import CHATWORK_MESSAGES_SYNC
from workers.chatwork.rooms import Room, list_rooms, upsert_rooms
from workers.chatwork.sandbox import Sandbox
from workers.resources import Resources


class World:
    """A sandbox whose rooms are in the database, and methods that sync them."""

    def __init__(self, sandbox: Sandbox, chatwork: Chatwork, database: Database, store: Store) -> None:
        self.sandbox = sandbox
        self.chatwork = chatwork
        self.database = database
        self.store = store
        self.resources: Resources = resources_of(database, chatwork)

    @asynccontextmanager
    async def attempt(self, **payload: Any) -> AsyncIterator[RunningAttempt]:
        async with running(self.store, self.resources, CHATWORK_MESSAGES_SYNC, payload) as attempt:
            yield attempt

    async def sync(self, **payload: Any) -> Any:
        """Runs one whole job and returns its result."""
        async with self.attempt(**payload) as attempt:
            result = await attempt.handle()
            await attempt.complete(result)
            return result

    async def crash(self, attempt: RunningAttempt, handling: asyncio.Task[Any]) -> Job:
        """Simulates a crash of the attempt. Returns its job, which waits for the next attempt."""
        job = await attempt.lose(self.store)
        await cut_off(handling)
        return job

    async def rooms(self) -> dict[str, Room]:
        return {room.room_id: room for room in await list_rooms(self.database)}

    async def bodies(self, room_id: str) -> list[str]:
        query = "select body from chatwork_messages where room_id = :room_id order by number"
        return [row["body"] for row in await self.database.fetch_all(query, {"room_id": room_id})]

    async def marks(self) -> list[tuple[str, str]]:
        """Returns the marks as pairs `(room_id, job_id)`, the oldest first."""
        rows = await self.database.fetch_all("select room_id, job_id from chatwork_reads order by id")
        return [(row["room_id"], row["job_id"]) for row in rows]

    def forces(self, room_id: str) -> list[bool]:
        return [request.force for request in self.sandbox.requests if request.room_id == room_id]


@asynccontextmanager
async def world_of(store: Store, database: Database, sandbox: Sandbox) -> AsyncIterator[World]:
    async with sandbox, client_of(sandbox, database) as chatwork:
        await upsert_rooms(database, (await chatwork.rooms()).items, new_rooms_active=True)
        sandbox.requests.clear()
        yield World(sandbox, chatwork, database, store)


async def cut_off(handling: asyncio.Task[Any]) -> None:
    handling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await handling
