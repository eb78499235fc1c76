"""The fixtures of this folder: stores and connections, direct or through a proxy."""

from collections.abc import AsyncIterator

import pytest

from events.database import Connection, connect
from events.store import Store
from tests.histories import open_store
from tests.proxy import Proxy, proxy_before


@pytest.fixture
async def other_store(database_url: str) -> AsyncIterator[Store]:
    async with open_store(database_url) as store:
        yield store


@pytest.fixture
async def proxy(database_url: str) -> AsyncIterator[Proxy]:
    async with proxy_before(database_url) as proxy:
        yield proxy


@pytest.fixture
async def far_store(proxy: Proxy) -> AsyncIterator[Store]:
    """A store whose connections go through the proxy, which can break them."""
    async with open_store(proxy.url) as store:
        yield store


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[Connection]:
    connection = await connect(database_url, application_name="the test")
    yield connection
    await connection.close()


@pytest.fixture
async def locker(database_url: str) -> AsyncIterator[Connection]:
    """A connection of its own, for transactions that hold locks without a time limit."""
    connection = await connect(database_url, application_name="the test", idle_in_transaction_session_timeout="0")
    yield connection
    await connection.close()
