"""The connections: what a task hears that is cancelled while its connection breaks."""

import asyncio

import pytest

from events.database import DATABASE_ERRORS, Database
from tests.proxy import proxy_before


async def test_a_cancelled_transaction_stays_cancelled_though_it_cannot_be_rolled_back(database_url: str) -> None:
    async with proxy_before(database_url) as proxy:
        database = Database(proxy.url)
        await database.connect()
        begun = asyncio.Event()

        async def hold_a_transaction() -> None:
            async with database.transaction():
                await database.execute("select 1")
                begun.set()
                await asyncio.Event().wait()

        holding = asyncio.create_task(hold_a_transaction())
        await begun.wait()
        proxy.cut()
        holding.cancel()

        with pytest.raises(asyncio.CancelledError):
            await holding
        await database.disconnect()


async def test_an_error_of_the_connection_is_told_as_it_is_where_nobody_was_cancelled(database_url: str) -> None:
    async with proxy_before(database_url) as proxy:
        database = Database(proxy.url)
        await database.connect()

        async def go_on_after_a_cut() -> None:
            async with database.transaction():
                proxy.cut()
                await database.execute("select 1")

        with pytest.raises(DATABASE_ERRORS):
            await go_on_after_a_cut()
        await database.disconnect()


async def test_the_server_is_told_when_to_take_a_silent_client_for_gone(database: Database) -> None:
    told = await database.fetch_all("select name from pg_settings where source = 'client' and name like 'tcp_%' order by name")

    assert [row["name"] for row in told] == [
        "tcp_keepalives_count", "tcp_keepalives_idle", "tcp_keepalives_interval", "tcp_user_timeout",
    ]  # fmt: skip


async def test_a_timeout_is_told_as_a_timeout(database: Database) -> None:
    with pytest.raises(TimeoutError):
        async with database.transaction(), asyncio.timeout(0):
            await asyncio.Event().wait()
