"""The fixtures of this folder: jobs in each state, and a connection as superuser."""

from collections.abc import AsyncIterator

import pytest

from events.database import Connection, Database, connect
from events.job import Job
from events.store import Store
from tests.histories import (
    give_positions,
)
from tests.projections.histories_in_log import one_of_each


@pytest.fixture
async def superuser(database_url: str) -> AsyncIterator[Connection]:
    connection = await connect(database_url, application_name="the test", idle_in_transaction_session_timeout="0")
    yield connection
    await connection.close()


@pytest.fixture
async def jobs(store: Store, database: Database) -> dict[str, Job]:
    jobs = await one_of_each(store)
    await give_positions(database)
    return jobs
