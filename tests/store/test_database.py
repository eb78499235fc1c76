"""Connections that break while the task that uses them is being cancelled."""

import asyncio
import contextlib

import pytest

from events import database as database_module
from events.database import DATABASE_ERRORS, Database
from tests.proxy import Fault, proxy_before


async def test_a_cancelled_task_stays_cancelled_although_its_rollback_fails(database_url: str) -> None:
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


async def test_a_connection_error_is_raised_unchanged_without_a_cancellation(database_url: str) -> None:
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


@pytest.mark.parametrize("in_a_transaction", [False, True], ids=["alone", "in a transaction"])
async def test_a_statement_without_an_answer_is_given_up_and_its_connection_closed(
    database_url: str, monkeypatch: pytest.MonkeyPatch, in_a_transaction: bool
) -> None:
    monkeypatch.setattr(database_module, "NO_ANSWER", 2.0)
    async with proxy_before(database_url) as proxy:
        database = Database(proxy.url, pool_size=1)
        await database.connect()
        proxy.once("'never answered'", Fault.STALL)

        async with asyncio.timeout(3.5):
            with pytest.raises(DATABASE_ERRORS):
                async with database.transaction() if in_a_transaction else contextlib.nullcontext():
                    await database.fetch_val("select 'never answered'")

            assert await database.fetch_val("select 'answered'") == "answered"
        assert proxy.faults_met == [Fault.STALL]
        proxy.resume()
        await database.disconnect()


async def test_the_pool_closes_although_a_connection_is_never_returned(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_module, "CLOSES_WITHIN", 0.2)
    database = Database(database_url)
    await database.connect()
    held, release = asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        async with database.raw():
            held.set()
            await release.wait()

    holding = asyncio.create_task(hold())
    await held.wait()

    async with asyncio.timeout(5):
        await database.disconnect()

    release.set()
    await holding


async def test_the_server_gets_our_keepalive_settings_for_silent_clients(database: Database) -> None:
    told = await database.fetch_all("select name from pg_settings where source = 'session' and name like 'tcp_%' order by name")

    assert [row["name"] for row in told] == [
        "tcp_keepalives_count", "tcp_keepalives_idle", "tcp_keepalives_interval", "tcp_user_timeout",
    ]  # fmt: skip


async def test_a_timeout_of_a_statement_is_raised_as_timeout_error(database: Database) -> None:
    with pytest.raises(TimeoutError):
        async with database.transaction(), asyncio.timeout(0):
            await asyncio.Event().wait()
