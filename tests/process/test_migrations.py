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

from events.database import Connection, Database, NoSuchTable
from migrations.connection import LOCK_TIMEOUT, MIGRATING
from migrations.migrate import NewerSchema, UnsuitableDatabase, _config, grant, migrate, newest_revision
from migrations.schema import ROW_TYPES, TABLES, columns, rights
from projections.seal import seal
from tests.conftest import with_database
from tests.histories import completing, new, open_store, starting, until
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


@pytest.fixture
def role(postgres_url: str) -> Iterator[str]:
    """Creates a role without rights, whose name must be quoted. Yields the name."""
    name = f'Rireki "app" 履歴 {secrets.token_hex(4)}'
    quoted = '"{}"'.format(name.replace('"', '""'))
    administer(postgres_url, f"create role {quoted}")
    yield name
    administer(postgres_url, f"drop role {quoted}")


@contextmanager
def all_taken_back(url: str, role: str) -> Iterator[None]:
    quoted = '"{}"'.format(role.replace('"', '""'))
    try:
        yield
    finally:
        administer(url, f"drop owned by {quoted}")


def may(url: str, role: str, table: str) -> list[str]:
    """Returns the role's privileges on a table."""
    every = ("select", "insert", "update", "delete", "truncate", "references", "trigger")
    asked = [f"has_table_privilege('{role}', '{table}', '{right}')" for right in every]
    return [right for right, has in zip(every, ask(url, f"select {', '.join(asked)}")[0], strict=True) if has]


def test_the_role_of_the_service_gets_rights_on_our_tables_and_on_nothing_else(database_url: str, role: str) -> None:
    administer(
        database_url,
        "create table strangers (secret text)",
        "create table strangers_numbered (id bigserial primary key)",
        "create function strangers_secret() returns text language sql as $$ select 'secret' $$",
        "revoke execute on function strangers_secret() from public",
    )
    with all_taken_back(database_url, role):
        grant(database_url, role)

        assert {table: may(database_url, role, table) for table in TABLES} == {table: [*rights(table)] for table in TABLES}
        assert may(database_url, role, "strangers") == may(database_url, role, "strangers_numbered") == []
        asked = (
            f"select has_sequence_privilege('{role}', 'strangers_numbered_id_seq', 'usage'),"
            f" has_function_privilege('{role}', 'strangers_secret()', 'execute'),"
            f" has_sequence_privilege('{role}', 'job_event_ids', 'usage')"
        )
        assert list(ask(database_url, asked)[0]) == [False, False, True]


def test_an_owner_without_superuser_migrates_beside_another_roles_view_in_the_schema(empty_url: str, role: str) -> None:
    owner, other = f"owner_{secrets.token_hex(4)}", f"other_{secrets.token_hex(4)}"
    administer(
        empty_url,
        f"create role {owner}; create role {other}; grant create, usage on schema public to {owner}, {other}",
        f"set role {other}; create view their_view as select 1 as one; create table their_table (id integer); reset role",
    )
    as_owner = with_setting(empty_url, "role", owner)
    try:
        with all_taken_back(empty_url, role):
            migrate(as_owner)

            grant(as_owner, role)

            assert may(empty_url, role, "jobs") == [*rights("jobs")]
            assert may(empty_url, role, "their_view") == may(empty_url, role, "their_table") == []
    finally:
        administer(empty_url, f"drop owned by {owner}, {other} cascade; drop role {owner}, {other}")


def test_rights_are_granted_in_the_schema_that_has_the_tables(empty_url: str, role: str) -> None:
    name = urlsplit(empty_url).path.removeprefix("/")
    administer(
        empty_url,
        'create schema "The ""tables"""; create table public.jobs (strangers text)',
        f'alter database {name} set search_path = "The ""tables""", public',
        "alter default privileges revoke usage on types from public",
    )
    migrate(empty_url)
    with all_taken_back(empty_url, role):
        grant(empty_url, role)

        ours = ask(empty_url, "select tablename from pg_tables where schemaname = 'The \"tables\"'")
        assert {row[0] for row in ours} == TABLES.keys()
        assert may(empty_url, role, "public.jobs") == []
        assert asyncio.run(positions_of_a_job_of(with_setting(empty_url, "role", role))) == 3


async def positions_of_a_job_of(url: str) -> int:
    """Runs a job and gives its events positions in the log. Returns the number of positions."""
    database = Database(url)
    await database.connect()
    async with open_store(url) as store:
        job = await store.create(new(), actor="user:x")
        job = await store.append(job, starting(), actor="worker:w1")
        await store.append(job, completing(), actor="worker:w1")
    sealed = await seal(database)
    await database.disconnect()
    return sealed


def test_a_newer_schema_that_comes_first_on_the_search_path_gets_no_tables(empty_url: str) -> None:
    upgrade(empty_url, "0007")
    name = urlsplit(empty_url).path.removeprefix("/")
    administer(empty_url, f"create schema since; alter database {name} set search_path = since, public")

    migrate(empty_url)

    in_since = "select relname from pg_class where relnamespace = 'since'::regnamespace"
    assert ask(empty_url, in_since) == []


def test_rights_beyond_those_that_the_service_needs_are_revoked(database_url: str, role: str) -> None:
    with all_taken_back(database_url, role):
        quoted = '"{}"'.format(role.replace('"', '""'))
        administer(database_url, f"grant all on job_events, alembic_version to {quoted}")

        grant(database_url, role)

        assert [right for right in may(database_url, role, "job_events") if right not in ("references", "trigger")] == [
            "select", "insert",
        ]  # fmt: skip
