"""Each connection sets what the statements need, whatever server, database and role set."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest

from events.database import Connection, Database, connect
from events.database_faults import UnsuitableDatabase
from events.statements import PLANS
from events.store import Store
from migrations.migrate import migrate
from service.accounts.users import Role, add_user
from tests.histories import new, open_store, until
from tests.process.test_migrations import administer, ask, emptied, with_setting
from tests.servers import postgres_of_ones_own

Way = Callable[[str], Any]

SPOILED = [
    ("synchronous_commit", "off", "on"),
    ("synchronous_commit", "local", "local"),
    ("synchronous_commit", "remote_apply", "remote_apply"),
    ("default_transaction_isolation", "serializable", "read committed"),
    ("default_transaction_isolation", "repeatable read", "read committed"),
    ("default_transaction_deferrable", "on", "off"),
    ("timezone", "Asia/Tokyo", "UTC"),
    ("datestyle", "SQL, DMY", "ISO, MDY"),
    ("intervalstyle", "sql_standard", "postgres"),
    ("bytea_output", "escape", "hex"),
    ("extra_float_digits", "-10", "1"),
    ("client_encoding", "EUC_JP", "UTF8"),
    ("standard_conforming_strings", "off", "on"),
    ("row_security", "on", "off"),
    ("session_replication_role", "replica", "origin"),
    ("statement_timeout", "1h", "30s"),
    ("lock_timeout", "0", "5s"),
    ("idle_in_transaction_session_timeout", "0", "5s"),
    ("idle_session_timeout", "1h", "0"),
    ("plan_cache_mode", "force_generic_plan", "force_custom_plan"),
    ("jit", "on", "off"),
]


@asynccontextmanager
async def from_the_pool(url: str) -> AsyncIterator[Connection]:
    database = Database(url)
    await database.connect()
    try:
        async with database.raw() as connection:
            yield connection
    finally:
        await database.disconnect()


@asynccontextmanager
async def held(url: str) -> AsyncIterator[Connection]:
    connection = await Database(url).hold()
    try:
        yield connection
    finally:
        await connection.close()


@asynccontextmanager
async def by_itself(url: str) -> AsyncIterator[Connection]:
    connection = await connect(url)
    try:
        yield connection
    finally:
        await connection.close()


def name_of(url: str) -> str:
    return urlsplit(url).path.removeprefix("/")


@pytest.mark.parametrize("way", [from_the_pool, held, by_itself])
@pytest.mark.parametrize("whose", ["database", "role in database"])
async def test_no_connection_inherits_a_setting_that_our_statements_rely_on(database_url: str, whose: str, way: Way) -> None:
    name = name_of(database_url)
    subject = f"database {name}" if whose == "database" else f"role {urlsplit(database_url).username} in database {name}"
    for setting, spoiled, ours in SPOILED:
        await asyncio.to_thread(administer, database_url, f"alter {subject} set {setting} = '{spoiled}'")

        async with way(database_url) as connection:
            found = await connection.fetchval("select current_setting($1)", setting)

        assert (setting, spoiled, found) == (setting, spoiled, ours)
        await asyncio.to_thread(administer, database_url, f"alter {subject} reset {setting}")


async def test_a_transaction_reads_what_others_have_committed_meanwhile(database_url: str) -> None:
    """With the isolation level repeatable read, the update at the end would fail."""
    name = name_of(database_url)
    await asyncio.to_thread(
        administer, database_url, f"alter database {name} set default_transaction_isolation = 'serializable'"
    )
    async with open_store(database_url) as store:
        job = await store.create(new(), actor="user:x")
    database = Database(database_url)
    await database.connect()

    async with database.transaction():
        await database.fetch_val("select count(*) from jobs")
        async with by_itself(database_url) as other:
            await other.execute("update jobs set updated_at = now() where id = $1", job.id)
        await database.execute("update jobs set updated_at = now() where id = :id", {"id": job.id})

    await database.disconnect()


async def test_a_role_that_may_not_reset_its_replication_role_is_refused(database_url: str) -> None:
    name, role = name_of(database_url), f"{name_of(database_url)}_role"
    await asyncio.to_thread(
        administer,
        database_url,
        f"create role {role} login; alter database {name} set session_replication_role = 'replica'",
    )
    try:
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="session_replication_role"):
            async with by_itself(with_setting(database_url, "role", role)):
                pass
    finally:
        await asyncio.to_thread(administer, database_url, f"drop role {role}")


async def test_a_lane_of_the_store_enables_all_kinds_of_query_plans(database_url: str, store: Store) -> None:
    name = name_of(database_url)
    switched = "; ".join(f"alter database {name} set {each} = off" for each in PLANS)
    await asyncio.to_thread(administer, database_url, switched)

    connection = await store._writer.connect()

    found = {name: await connection.fetchval("select current_setting($1)", name) for name in PLANS}
    await connection.close()
    assert found == PLANS
    assert found["enable_nestloop"] == "on"


async def test_a_policy_that_hides_rows_raises_an_error(database_url: str) -> None:
    role = f"{name_of(database_url)}_role"
    await asyncio.to_thread(
        administer,
        database_url,
        f"create role {role} login; grant select on jobs to {role}",
        f"alter table jobs enable row level security; create policy none on jobs to {role} using (false)",
    )
    try:
        async with by_itself(with_setting(database_url, "role", role)) as connection:
            with pytest.raises(asyncpg.InsufficientPrivilegeError, match="row-level security"):
                await connection.fetch("select * from jobs")
    finally:
        await asyncio.to_thread(administer, database_url, f"drop owned by {role}; drop role {role}")


@pytest.mark.parametrize("way", [from_the_pool, held, by_itself])
def test_a_database_in_another_encoding_is_refused_at_each_connection(postgres_url: str, way: Way) -> None:
    async def enter(url: str) -> None:
        async with way(url):
            pass

    with (
        emptied(postgres_url, "encoding 'EUC_JP' locale 'C' template template0") as url,
        pytest.raises(UnsuitableDatabase, match=r"^the database has the encoding EUC_JP, and Rireki needs UTF8: [^\n]+$"),
    ):
        asyncio.run(enter(url))


def test_accepted_jobs_survive_kill_9_of_a_server_that_commits_asynchronously() -> None:
    """Jobs and users are created before and after the server's setting is changed."""
    with postgres_of_ones_own() as server:
        url = server.url()
        migrate(url)

        accepted = asyncio.run(accepted_under_asynchronous_commit(url))
        kill_all(Path(server.socket_directory))
        server.ensure_running()

        found = {row["id"] for row in ask(url, "select id::text from jobs")}
        assert found >= accepted
        assert len(accepted) == 40
        assert [row["email"] for row in ask(url, "select email from users")] == ["a@example.com"]


async def accepted_under_asynchronous_commit(url: str) -> set[str]:
    asynchronous = ("synchronous_commit = off", "wal_writer_delay = '10s'", "wal_writer_flush_after = '1GB'")
    async with open_store(url) as store:
        # Open connections must keep our setting when the server's configuration changes.
        first = [await store.create(new(), actor="user:x") for _ in range(20)]
        async with by_itself(url) as connection:
            for each in asynchronous:
                await connection.execute(f"alter system set {each}")
            await connection.execute("select pg_reload_conf()")
        database = Database(url)
        await database.connect()
        async with by_itself(url) as connection:
            told = "select setting = 'off' from pg_file_settings where name = 'synchronous_commit' and applied"
            await until(lambda: connection.fetchval(told))
        first += [await store.create(new(), actor="user:x") for _ in range(10)]
        async with open_store(url) as later:
            first += [await later.create(new(), actor="user:x") for _ in range(10)]
            await add_user(database, "a@example.com", Role.ADMIN, "correct horse battery staple", "A")
        await database.disconnect()
        return {job.id for job in first}


def kill_all(data: Path) -> None:
    """Kills all processes of the server almost at once: stops all first, then kills each."""
    postmaster = int((data / "postmaster.pid").read_text().split()[0])
    processes = [postmaster, *children_of(postmaster)]
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for pid in processes:
            with suppress(ProcessLookupError):
                os.kill(pid, number)
    while any(is_alive(pid) for pid in processes):
        pass


def children_of(pid: int) -> list[int]:
    return [int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()]


def is_alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
