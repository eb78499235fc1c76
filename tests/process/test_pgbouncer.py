"""Behind PgBouncer, session mode works and leaves no settings; other modes are refused."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from events.database import Database
from events.database_check import Unusable, check_database
from events.store import Store
from tests.chatwork_server import sandbox_of
from tests.http_client import http_client
from tests.job_types import ended
from tests.pgbouncer import pgbouncer_before
from tests.process.test_processes import Rireki, sync, variables
from tests.process.test_start_faults import is_one_line, run
from workers.chatwork.sandbox import Sandbox

SETTINGS = ("statement_timeout", "lock_timeout", "jit", "plan_cache_mode", "row_security", "synchronous_commit", "timezone")


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with sandbox_of({"10": ["おはよう"]}) as sandbox:
        yield sandbox


async def as_another_client(url: str) -> tuple[int, dict[str, str]]:
    """Connects as another client.

    Returns the pid of its server process and the settings there.
    """
    connection = await asyncpg.connect(url, timeout=10)
    try:
        settings = {name: await connection.fetchval("select current_setting($1)", name) for name in SETTINGS}
        return await connection.fetchval("select pg_backend_pid()"), settings
    finally:
        await connection.close()


async def test_a_service_runs_through_session_mode(database: Database, store: Store, sandbox: Sandbox, tmp_path: Path) -> None:
    async with pgbouncer_before(database.url, mode="session") as url:
        settings = variables(database, sandbox) | {"DATABASE_URL": url}
        async with Rireki.running("serve", home=tmp_path, **settings) as process:
            address = await process.address()
            async with http_client(address) as client:
                assert (await client.get("/readyz")).status_code == 200

            assert (await ended(database, await sync(store), within=60)).status == "completed"


async def test_session_settings_do_not_reach_the_next_client_of_the_pooler(database_url: str) -> None:
    async with pgbouncer_before(database_url, mode="session", size=1) as url:
        before = await as_another_client(url)
        database = Database(url, pool_size=1)
        await database.connect()
        assert await database.fetch_val("select current_setting('lock_timeout')") == "5s"
        ours = await database.fetch_val("select pg_backend_pid()")
        await database.disconnect()

        after = await as_another_client(url)

    assert ours == before[0]  # all three must have used one server process, or the test proves nothing
    assert after == before


@pytest.mark.parametrize("size", [1, 20], ids=["one connection", "twenty connections"])
@pytest.mark.parametrize("mode", ["transaction", "statement"])
async def test_other_modes_are_always_detected_and_no_setting_is_left_behind(database_url: str, mode: str, size: int) -> None:
    async with pgbouncer_before(database_url, mode=mode, size=size) as url:
        before = await as_another_client(url)

        for _ in range(10):
            with pytest.raises(Unusable, match="pool_mode to session"):
                await check_database(url)

        assert (await as_another_client(url))[1] == before[1]


async def test_transaction_mode_is_detected_while_other_clients_use_the_pool(database_url: str) -> None:
    async with pgbouncer_before(database_url, mode="transaction") as url:
        others = [await asyncpg.connect(url, statement_cache_size=0) for _ in range(5)]

        async def be_busy(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
            while True:
                await connection.execute("select pg_sleep(0.001)")

        busy = [asyncio.create_task(be_busy(connection)) for connection in others]
        for _ in range(5):
            with pytest.raises(Unusable, match="pool_mode to session"):
                await check_database(url)
        for task in busy:
            task.cancel()
        await asyncio.gather(*busy, return_exceptions=True)
        for connection in others:
            connection.terminate()


@pytest.mark.parametrize("size", [1, 2, 20])
async def test_session_mode_is_accepted_however_small_the_pool_is(database_url: str, size: int) -> None:
    async with pgbouncer_before(database_url, mode="session", size=size) as url:
        await check_database(url)


async def test_a_command_refuses_transaction_mode_and_migrates_by_the_direct_address(database_url: str, tmp_path: Path) -> None:
    async with pgbouncer_before(database_url, mode="transaction") as url:
        is_one_line(*await run("serve", home=tmp_path, DATABASE_URL=url), about="set the pooler's pool_mode to session")
        is_one_line(*await run("migrate", home=tmp_path, DATABASE_URL=url), about="set the pooler's pool_mode to session")

        past = await run("migrate", home=tmp_path, DATABASE_URL=url, MIGRATE_DATABASE_URL=database_url)

    assert past == (0, "the schema is up to date\n", "")
