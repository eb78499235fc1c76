"""Migrations run in several processes at once, in any schema, and refuse a wrong encoding."""

import asyncio
import secrets
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

import asyncpg
import pytest
from alembic import command

from events.database import Connection, NoSuchTable
from migrations.connection import LOCK_TIMEOUT, MIGRATING
from migrations.migrate import NewerSchema, UnsuitableDatabase, _config, migrate, newest_revision
from migrations.schema import ROW_TYPES, TABLES, columns
from tests.conftest import with_database
from tests.histories import until
from tests.process.test_processes import Rireki

REPOSITORY = Path(__file__).parents[2]

MIGRATE = """
import sys
from migrations.migrate import migrate
print("ready", flush=True)
sys.stdin.readline()
migrate(sys.argv[1])
"""

DESCRIBED = """
select c.relname, string_agg(a.attname || ' ' || format_type(a.atttypid, a.atttypmod), ', ' order by a.attnum) as columns
from pg_class c join pg_attribute a on a.attrelid = c.oid
where c.relnamespace = 'public'::regnamespace and c.relkind::text = any($1::text[]) and a.attnum > 0 and not a.attisdropped
group by c.relname
"""

HAVE_ASKED = """
select count(*) from pg_stat_activity
where datname = current_database() and pid <> $1 and query like 'select pg%advisory%lock%'
"""


@asynccontextmanager
async def asking(url: str) -> AsyncIterator[Connection]:
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()


@contextmanager
def emptied(postgres_url: str, how: str = "") -> Iterator[str]:
    """Creates an empty database for one test. Yields its URL."""
    name = f"rireki_test_{secrets.token_hex(4)}"
    administer(postgres_url, f"create database {name} {how}")
    try:
        yield with_database(postgres_url, name)
    finally:
        administer(postgres_url, f"drop database if exists {name} with (force)")


@pytest.fixture
def empty_url(postgres_url: str) -> Iterator[str]:
    with emptied(postgres_url) as url:
        yield url


def administer(url: str, *scripts: str) -> None:
    async def run() -> None:
        async with asking(url) as connection:
            for script in scripts:
                await connection.execute(script)

    asyncio.run(run())


def ask(url: str, query: str, *values: Any) -> list[Any]:
    async def run() -> list[Any]:
        async with asking(url) as connection:
            return await connection.fetch(query, *values)

    return asyncio.run(run())


def with_setting(url: str, name: str, value: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(query=urlencode([*parse_qsl(parts.query), (name, value)], quote_via=quote)))


def migrating(url: str) -> "subprocess.Popen[str]":
    """Starts a process that migrates as soon as it reads a line."""
    process = subprocess.Popen(
        [sys.executable, "-c", MIGRATE, url],
        cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def release(process: "subprocess.Popen[str]") -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def upgrade(url: str, revision: str) -> None:
    """Migrates up to this revision, as an older version of Rireki did."""
    command.upgrade(_config(url), revision)


def revision(url: str) -> str:
    return str(ask(url, "select version_num from alembic_version")[0][0])


def test_five_processes_that_migrate_an_empty_database_at_the_same_moment_all_succeed(postgres_url: str) -> None:
    for _ in range(2):
        with emptied(postgres_url) as url:
            processes = [migrating(url) for _ in range(5)]
            for process in processes:
                release(process)
            complaints = [process.communicate(timeout=60)[1] for process in processes]

            assert [process.returncode for process in processes] == [0] * 5, complaints
            assert revision(url) == newest_revision()


async def test_serve_and_worker_that_start_at_the_same_moment_on_an_empty_database_both_run(
    empty_url: str, redis_url: str, tmp_path: Path
) -> None:
    """The test holds the migration lock until all processes have found the database empty."""
    commands = ["serve", "worker", "worker"]
    async with AsyncExitStack() as stack, asking(empty_url) as connection:
        await connection.execute(f"select pg_advisory_lock({MIGRATING})")
        processes = []
        for number, command_name in enumerate(commands):
            home = tmp_path / str(number)
            home.mkdir()
            running = Rireki.running(command_name, home=home, DATABASE_URL=empty_url, REDIS_URL=redis_url)
            processes.append(await stack.enter_async_context(running))

        async def all_have_asked() -> bool:
            found = await connection.fetchval(HAVE_ASKED, connection.get_server_pid())
            return bool(found == len(processes)) or one_has_ended()

        async def all_run() -> bool:
            try:
                alive = await connection.fetchval("select count(*) from workers where gone_at is null")
            except NoSuchTable:
                alive = 0
            return bool(alive == len(processes)) or one_has_ended()

        def one_has_ended() -> bool:
            return not all(process.alive for process in processes)

        await until(all_have_asked, seconds=90)
        await connection.execute(f"select pg_advisory_unlock({MIGRATING})")
        await until(all_run, seconds=90)

        complaints = [(tmp_path / str(n) / f"{name}.log").read_text() for n, name in enumerate(commands)]
        assert [process.alive for process in processes] == [True] * len(processes), complaints
        assert await connection.fetchval("select version_num from alembic_version") == newest_revision()


def test_a_migration_waits_for_another_one_whatever_timeouts_the_database_has(empty_url: str) -> None:
    name = urlsplit(empty_url).path.removeprefix("/")
    settings = [f"alter database {name} set {each}" for each in ("lock_timeout = '50ms'", "statement_timeout = '50ms'")]
    administer(empty_url, *settings)

    async def hold_the_turn() -> None:
        async with asking(empty_url) as connection:
            await connection.execute("set lock_timeout = 0; set statement_timeout = 0")
            await connection.fetchval("select pg_advisory_lock($1)", MIGRATING)
            process = migrating(empty_url)
            release(process)
            await until_it_has_asked(connection)
            assert process.poll() is None

            await connection.fetchval("select pg_advisory_unlock($1)", MIGRATING)
            assert await asyncio.to_thread(process.communicate, timeout=60) == ("", "")
            assert process.returncode == 0

    async def until_it_has_asked(connection: Connection) -> None:
        asked = "select exists (select from pg_stat_activity where query like 'select pg_try_advisory_lock%' and pid <> $1)"
        await until(lambda: connection.fetchval(asked, connection.get_server_pid()), seconds=30)

    asyncio.run(hold_the_turn())
    assert revision(empty_url) == newest_revision()


def test_after_a_migrating_process_was_killed_the_next_one_migrates(empty_url: str) -> None:
    first, second = migrating(empty_url), migrating(empty_url)
    release(first)
    asked = "select 1 from pg_locks where locktype = 'advisory' and granted"
    while not ask(empty_url, asked) and first.poll() is None:
        pass
    first.kill()
    first.wait()

    release(second)

    assert (second.communicate(timeout=60)[1], second.returncode) == ("", 0)
    assert revision(empty_url) == newest_revision()


def test_a_migration_waits_for_a_table_that_other_sessions_use(empty_url: str) -> None:
    """The migration waits for the lock several times, each time not for long.

    Between two waits, other sessions can use the table.
    """
    upgrade(empty_url, "0008")

    async def migrate_beside_a_transaction() -> None:
        async with asking(empty_url) as connection:
            async with connection.transaction():
                await connection.execute("select from job_events")  # locks the table until the end of the transaction
                migration = asyncio.create_task(asyncio.to_thread(migrate, empty_url))
                await asyncio.wait({migration}, timeout=LOCK_TIMEOUT + 0.5)
                assert not migration.done()
            await migration

    asyncio.run(migrate_beside_a_transaction())
    assert revision(empty_url) == newest_revision()


@pytest.mark.parametrize(("kinds", "listed"), [("rp", TABLES), ("c", ROW_TYPES)], ids=["tables", "row types"])
def test_migrations_schema_lists_the_tables_and_columns_that_the_migrations_make(
    database_url: str, kinds: str, listed: dict[str, str]
) -> None:
    """A new migration also changes `migrations/schema.py`: copy it from this test's message."""
    made = {row["relname"]: row["columns"] for row in ask(database_url, DESCRIBED, list(kinds))}
    for relation in made.keys() | listed.keys():
        assert (relation, listed.get(relation)) == (relation, made.get(relation))
    assert all(len(columns(relation)) == text.count(", ") + 1 for relation, text in listed.items())


@pytest.mark.parametrize("encoding", ["EUC_JP", "SQL_ASCII", "LATIN1"])
def test_a_database_that_is_not_in_utf_8_is_refused_in_one_line_and_not_changed(postgres_url: str, encoding: str) -> None:
    with emptied(postgres_url, f"encoding '{encoding}' locale 'C' template template0") as url:
        with pytest.raises(
            UnsuitableDatabase, match=f"^the database has the encoding {encoding}, and Rireki needs UTF8: [^\n]+$"
        ):
            migrate(url)

        assert ask(url, "select relname from pg_class where relnamespace = 'public'::regnamespace") == []


def test_a_client_encoding_of_the_role_changes_nothing(empty_url: str) -> None:
    name = urlsplit(empty_url).path.removeprefix("/")
    administer(empty_url, f"alter database {name} set client_encoding = 'LATIN1'")

    migrate(empty_url)

    assert revision(empty_url) == newest_revision()


def test_a_schema_of_a_newer_version_is_refused_in_one_line(database_url: str) -> None:
    administer(database_url, "update alembic_version set version_num = '9999'")

    with pytest.raises(NewerSchema, match=r"^the schema is at 9999, and this version of Rireki knows none after [^\n]+$"):
        migrate(database_url)


def test_a_newer_schema_that_comes_first_on_the_search_path_gets_no_tables(empty_url: str) -> None:
    upgrade(empty_url, "0007")
    name = urlsplit(empty_url).path.removeprefix("/")
    administer(empty_url, f"create schema since; alter database {name} set search_path = since, public")

    migrate(empty_url)

    in_since = "select relname from pg_class where relnamespace = 'since'::regnamespace"
    assert ask(empty_url, in_since) == []
