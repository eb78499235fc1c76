"""Database faults that an operator must mend are reported as faults, not as outages."""

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import httpx2 as httpx
import pytest
from structlog.testing import capture_logs

from events.bus import Bus
from events.database import Connection, Database, connect
from events.database_faults import UnsuitableDatabase, fault
from events.store import Store
from migrations.migrate import grant, newest_revision
from projections.seal import keep_sealing
from service.accounts.users import Role, add_user
from service.config import Settings
from service.process.assembly import opened
from service.readiness import look_at
from tests.commands import run_command
from tests.histories import new, until
from tests.http_client import http_client
from tests.process.test_migrations import with_setting
from tests.service_fixture import make_context, serving

THROW_OUT = "select pg_terminate_backend(pid) from pg_stat_activity where datname = $1 and pid <> pg_backend_pid()"
COMPANY = {"name": "株式会社サンプル"}

BROKEN = [
    # Each case: SQL that breaks the database, SQL that repairs it, a request that meets the fault,
    # and the reported cause.
    (
        "alter table job_events rename to elsewhere", "alter table elsewhere rename to job_events",
        ("GET", "/api/jobs/{job}/events", None), "the schema lacks job_events: run `rireki migrate`",
    ),
    (
        "alter table jobs rename column max_attempts to gone", "alter table jobs rename column gone to max_attempts",
        ("GET", "/api/jobs", None), "the schema lacks jobs.max_attempts",
    ),
    (
        "alter type job_move_row rename to elsewhere", "alter type elsewhere rename to job_move_row",
        ("POST", "/api/jobs/{job}/cancel", None), "the schema lacks job_move_row",
    ),
    (
        "revoke insert on job_events from {role}", "grant insert on job_events to {role}",
        ("POST", "/api/jobs/{job}/cancel", None), "lacks insert on job_events",
    ),
    (
        "revoke select on jobs from {role}", "grant select on jobs to {role}",
        ("GET", "/api/jobs", None), "lacks select on jobs",
    ),
    (
        "revoke insert on companies from {role}", "grant insert on companies to {role}",
        ("POST", "/api/companies", COMPANY), "lacks insert on companies",
    ),
    (
        "alter table companies alter column name type varchar(300)", "alter table companies alter column name type text",
        None, "the schema lacks companies.name",
    ),
    (
        "update alembic_version set version_num = '0001'", "update alembic_version set version_num = '{newest}'",
        None, "the schema is at 0001, and this version needs {newest}: run `rireki migrate`",
    ),
    (
        "revoke usage on schema public from public, {role}", "grant usage on schema public to public, {role}",
        ("GET", "/api/jobs", None), "the tables are in schema public, which the role",
    ),
]  # fmt: skip


@pytest.fixture
async def owner(database_url: str) -> AsyncIterator[Connection]:
    connection = await connect(database_url)
    yield connection
    await connection.close()


@pytest.fixture
async def role(owner: Connection, database_url: str) -> AsyncIterator[str]:
    """A role with the rights of the service and no others."""
    name = f"rireki_app_{secrets.token_hex(4)}"
    await owner.execute(f"create role {name}")
    await asyncio.to_thread(grant, database_url, name)
    yield name
    await owner.execute(f"drop owned by {name}; drop role {name}")


@asynccontextmanager
async def served(url: str) -> AsyncIterator[tuple[httpx.AsyncClient, Store]]:
    """Runs the API on this database. Yields a client of an admin."""
    database = Database(url)
    await database.connect()
    store = Store(database, Bus())
    await store.start()
    context = make_context(database, Bus(), store.with_time_limit(5.0))
    admin = await add_user(database, "admin@example.com", Role.ADMIN, "correct horse battery staple", "A")
    headers = {"Authorization": f"Bearer {context.users.new_token(admin)}"}
    async with serving(context) as address, http_client(address, headers=headers, timeout=30) as client:
        yield client, store
    await store.stop()
    await database.disconnect()


@pytest.mark.parametrize(("breaks", "mends", "asked", "said"), BROKEN, ids=[each[0] for each in BROKEN])
async def test_a_fault_that_a_changed_database_causes_is_named_while_the_service_runs(
    owner: Connection,
    database_url: str,
    role: str,
    breaks: str,
    mends: str,
    asked: tuple[str, str, Any] | None,
    said: str,
) -> None:
    words = {"role": role, "newest": newest_revision()}
    async with served(with_setting(database_url, "role", role)) as (client, store):
        job = await store.create(new(), actor="user:x")
        assert (await client.get("/readyz")).json() == {"status": "ok"}

        await owner.execute(breaks.format(**words))
        ready = await client.get("/readyz")
        with capture_logs() as logs:
            answers = [await client.request(asked[0], asked[1].format(job=job.id), json=asked[2])] if asked else []
        alive = await client.get("/healthz")
        await owner.execute(mends.format(**words))

        assert ready.status_code == 503
        assert said.format(**words) in ready.json()["detail"]
        assert "\n" not in ready.json()["detail"]
        for answer in answers:
            assert (answer.status_code, "retry-after" in answer.headers) == (500, False)
            assert "away" not in answer.json()["detail"]
            told = [log for log in logs if log["event"] == "the database cannot be used"]
            assert len(told) == 1
            assert "\n" not in told[0]["cause"]
            assert told[0]["log_level"] == "error"
        assert alive.status_code == 200
        assert (await client.get("/readyz")).status_code == 200
        if asked:
            assert (await client.request(asked[0], asked[1].format(job=job.id), json=asked[2])).is_success


async def test_a_request_fails_at_once_and_a_worker_waits_while_the_database_refuses_connections(
    database_url: str, postgres_url: str
) -> None:
    name = urlsplit(database_url).path.removeprefix("/")
    elsewhere = await connect(postgres_url)
    async with served(database_url) as (client, store):
        await until_done(elsewhere, f"alter database {name} rename to {name}_renamed", name)
        with capture_logs() as logs:
            patient = asyncio.create_task(store.create(new(), actor="user:x"))
            with pytest.raises(asyncpg.InvalidCatalogNameError):
                await asyncio.wait_for(store.with_time_limit(60.0).create(new(), actor="user:x"), 30)
        answer, ready = await client.get("/api/companies"), await client.get("/readyz")
        await until_done(elsewhere, f"alter database {name}_renamed rename to {name}", f"{name}_renamed")

        assert (await asyncio.wait_for(patient, 30)).seq == 1
        told = [log for log in logs if log["event"] == "group commit: cannot write events to PostgreSQL"]
        assert told[0]["cause"].startswith(f'the database does not exist (database "{name}" does not exist')
        assert (answer.status_code, ready.status_code) == (500, 503)
        assert "the database does not exist" in ready.json()["detail"]
    await elsewhere.close()


async def until_done(connection: Connection, statement: str, name: str) -> None:
    """Repeats a statement until it succeeds. Ends all connections to the database before.

    PostgreSQL refuses the statement while the database has connections.
    """

    async def tried() -> bool:
        await connection.execute(THROW_OUT, name)
        try:
            await connection.execute(statement)
        except asyncpg.ObjectInUseError:
            return False
        return True

    await until(tried, seconds=30)


async def test_a_refused_statement_fails_the_waiting_request_and_leaves_no_connection_behind(
    database: Database, owner: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A regression test: on PostgreSQL 15, the first statement of each new connection failed."""
    monkeypatch.setattr("events.batch_writer.CHOOSE_PLANS", "select from nowhere at all")
    store = Store(database, Bus())
    await store.start()
    waiting = store.with_time_limit(60.0)

    for _ in range(5):
        with pytest.raises(asyncpg.PostgresSyntaxError):
            await asyncio.wait_for(waiting.create(new(), actor="user:x"), 30)

    lanes = "select count(*) < 3 from pg_stat_activity where query like '%nowhere at all%' and pid <> pg_backend_pid()"
    await until(lambda: owner.fetchval(lanes))
    await store.stop()


async def test_a_background_task_logs_a_fault_that_an_operator_must_mend(database: Database) -> None:
    await database.execute("alter table job_event_log_cursor rename to elsewhere")

    with capture_logs() as logs:
        sealing = asyncio.create_task(keep_sealing(database))
        await until(lambda: something(lambda: bool(logs)))
        sealing.cancel()

    assert logs[0]["log_level"] == "error"
    assert logs[0]["cause"].startswith("the schema is not the one that this version needs (relation")


async def something(holds: Callable[[], bool]) -> bool:
    return holds()


async def test_a_database_that_is_read_only_for_a_while_is_an_outage(database_url: str, owner: Connection) -> None:
    async with served(database_url) as (client, store):
        job = await store.create(new(), actor="user:x")
        name = urlsplit(database_url).path.removeprefix("/")
        await owner.execute(f"alter database {name} set default_transaction_read_only = on")
        await owner.execute(THROW_OUT, name)

        answer = await client.post(f"/api/jobs/{job.id}/cancel")

        assert (answer.status_code, "retry-after" in answer.headers) == (503, True)
        await owner.execute(
            f"set default_transaction_read_only = off; alter database {name} reset default_transaction_read_only"
        )
        await owner.execute(THROW_OUT, name)


@pytest.mark.parametrize(
    "error",
    [
        ConnectionRefusedError(),
        TimeoutError(),
        asyncpg.CannotConnectNowError("the database system is starting up"),
        asyncpg.AdminShutdownError("terminating connection"),
        asyncpg.TooManyConnectionsError("sorry, too many clients already"),
        asyncpg.DiskFullError("no space left on device"),
        asyncpg.ReadOnlySQLTransactionError("cannot execute UPDATE in a read-only transaction"),
        asyncpg.LockNotAvailableError("canceling statement due to lock timeout"),
        asyncpg.QueryCanceledError("canceling statement due to statement timeout"),
        asyncpg.DeadlockDetectedError("deadlock detected"),
        asyncpg.SerializationError("could not serialize access"),
        asyncpg.InvalidCachedStatementError("cached statement plan is invalid"),
        asyncpg.UniqueViolationError("duplicate key value"),
        asyncpg.NumericValueOutOfRangeError("integer out of range"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_outage_or_a_bad_value_is_not_reported_as_a_database_fault(error: Exception) -> None:
    assert fault(error) is None


@pytest.mark.parametrize("breaks", ["update alembic_version set version_num = '0001'", "alter table jobs drop column worker"])
async def test_a_process_does_not_start_on_a_schema_of_another_version(
    database_url: str, owner: Connection, breaks: str
) -> None:
    await owner.execute(breaks)

    with pytest.raises(UnsuitableDatabase, match="run `rireki migrate`"):
        async with opened(Settings(app_env="test"), database_url):
            pass


@pytest.mark.parametrize("command", ["serve", "worker"])
async def test_in_production_a_process_reports_an_old_schema_in_one_line(
    database_url: str, redis_url: str, owner: Connection, tmp_path: Path, command: str
) -> None:
    await owner.execute("update alembic_version set version_num = '0001'")
    variables = {
        "APP_ENV": "production", "DATABASE_URL": database_url, "REDIS_URL": redis_url, "JWT_SECRET": "x" * 40, "PORT": "0",
        "RIREKI_HOME": str(tmp_path),
    }  # fmt: skip

    status, _, errors = await run_command(command, environment=os.environ | variables)

    complaints = [line for line in errors.splitlines() if line.startswith("rireki: ")]
    assert (status, "Traceback" in errors) == (2, False)
    assert complaints == [
        f"rireki: DATABASE_URL: the schema is at 0001, and this version needs {newest_revision()}: run `rireki migrate`"
    ]


async def test_a_newer_schema_is_served_with_a_warning(database: Database, owner: Connection) -> None:
    """In a rolling upgrade, processes of the old version run on the new schema for a while."""
    await owner.execute("update alembic_version set version_num = '9999'")

    readiness = await look_at(database, production=False)

    assert readiness.fault is None
    assert readiness.warnings[0].startswith("the schema is at 9999, which is newer than ")


async def test_a_server_with_fsync_off_causes_a_warning_in_production(database: Database, owner: Connection) -> None:
    unsafe = await owner.fetchval("select current_setting('fsync') = 'off'")

    warnings = (await look_at(database, production=True)).warnings

    assert [
        warning.startswith("PostgreSQL runs with fsync and full_page_writes off") for warning in warnings if "fsync" in warning
    ] == [True] * unsafe
    assert (await look_at(database, production=False)).warnings == []
