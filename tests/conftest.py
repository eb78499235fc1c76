"""Fixtures: one server of each kind for the whole run, and a new database for each test.

Each database is cloned from a migrated template.
"""

import secrets
from asyncio import AbstractEventLoop
from collections.abc import AsyncIterator, Callable, Iterator
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest
import uvloop

from events.bus import Bus
from events.database import Database
from events.store import Store
from migrations.migrate import migrate
from tests import servers
from tests.servers import RedisServer, postgres_server


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> dict[str, Callable[[], AbstractEventLoop]]:
    """Lets every test run on uvloop, the event loop that the service uses."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    with postgres_server() as url:
        yield url


@pytest.fixture(scope="session")
def redis_url(worker_id: str) -> Iterator[str]:
    """Yields the URL of a Redis server for this test process.

    With REDIS_URL set, the URL leads to a database of that server, otherwise to a new server.
    """
    with servers.redis_server() as url:
        database = 1 + int(worker_id.removeprefix("gw") if worker_id.startswith("gw") else 0)
        yield urlunsplit(urlsplit(url)._replace(path=f"/{database}"))


@pytest.fixture
def redis_server() -> Iterator[RedisServer]:
    """Yields a running Redis that only this test uses.

    So the test may stop, freeze or configure it.
    """
    server = RedisServer()
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def template(postgres_url: str) -> Iterator[str]:
    """Creates a migrated database without rows, from which the others are cloned.

    Yields its name.
    """
    name = f"rireki_template_{secrets.token_hex(4)}"
    administer(postgres_url, f"create database {name}")
    migrate(with_database(postgres_url, name))
    yield name
    administer(postgres_url, f"drop database if exists {name} with (force)")


@pytest.fixture
def database_url(postgres_url: str, template: str) -> Iterator[str]:
    """Creates a migrated database for one test. Yields its URL."""
    name = f"rireki_test_{secrets.token_hex(4)}"
    administer(postgres_url, f"create database {name} template {template}")
    yield with_database(postgres_url, name)
    administer(postgres_url, f"drop database if exists {name} with (force)")


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(database_url)
    await database.connect()
    yield database
    await database.disconnect()


@pytest.fixture
def bus() -> Bus:
    return Bus()


@pytest.fixture
async def store(database: Database, bus: Bus) -> AsyncIterator[Store]:
    store = Store(database, bus)
    await store.start()
    yield store
    await store.stop()


def with_database(url: str, name: str) -> str:
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


def administer(url: str, statement: str) -> None:
    async def run() -> None:
        connection = await asyncpg.connect(url, timeout=10)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    uvloop.run(run())
