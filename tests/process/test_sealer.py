"""Which processes seal the log: `rireki seal` and `rireki serve`, and never a worker."""

import asyncio
import secrets
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2 as httpx
import pytest
from structlog.testing import capture_logs

from events.database import Database
from events.database_faults import UnsuitableDatabase
from events.store import Store
from migrations.migrate import grant
from service.config import Settings
from service.process import assembly, serve
from tests.conftest import with_database
from tests.histories import new, until
from tests.http_client import http_client
from tests.process.test_migrations import with_setting
from tests.process.test_processes import Rireki, sandbox, sync, variables  # noqa: F401
from tests.process.test_start_faults import is_one_line, run
from workers.chatwork.sandbox import Sandbox

PLACED = "select count(*) from job_event_log"

# A heartbeat that came two seconds after the end of a job leaves time to seal four times.
BEATEN_SINCE_A_JOB = """
select exists (select from workers w join jobs j on j.finished_at < w.last_seen - interval '2 seconds')
"""


async def test_rireki_seal_gives_positions_until_it_is_asked_to_end(database: Database, store: Store, tmp_path: Path) -> None:
    job = await store.create(new(), actor="user:x")
    async with Rireki.running("seal", home=tmp_path, DATABASE_URL=database.url) as process:
        await until(lambda: _placed(database, 1), seconds=60)
        await store.create(new(), actor="user:x")
        await until(lambda: _placed(database, 2), seconds=60)

        process.send(signal.SIGTERM)

        assert await process.ended() == 0
    assert await database.fetch_val("select count(*) from workers") == 0
    assert (await store.history.events(job.id))[0].position == 1


async def test_rireki_seal_in_production_needs_only_a_database(database: Database, store: Store, tmp_path: Path) -> None:
    await store.create(new(), actor="user:x")
    async with Rireki.running("seal", home=tmp_path, SEALER_DATABASE_URL=database.url, APP_ENV="production") as process:
        await until(lambda: _placed(database, 1), seconds=60)

        process.send(signal.SIGINT)

        assert await process.ended() == 0


async def test_a_worker_runs_jobs_and_never_seals(
    database: Database,
    store: Store,
    sandbox: Sandbox,  # noqa: F811
    redis_url: str,
    tmp_path: Path,
) -> None:
    # A worker that read this address would refuse it.
    settings = variables(
        database, sandbox, REDIS_URL=redis_url, SEALER_DATABASE_URL="mysql://unread", AUDIT_CHECKPOINT_URL="unread:"
    )
    async with Rireki.running("worker", home=tmp_path, **settings):
        await sync(store)
        await until(lambda: database.fetch_val(BEATEN_SINCE_A_JOB), seconds=90)

        assert await database.fetch_val(PLACED) == 0


async def test_serve_without_a_sealer_leaves_positions_to_another_process(
    database: Database, store: Store, tmp_path: Path
) -> None:
    settings = {"DATABASE_URL": database.url, "JOB_WORKER_ENABLED": "false"}
    await store.create(new(), actor="user:x")
    async with Rireki.running("serve", home=tmp_path, **settings, SEALER_ENABLED="false") as process:
        async with http_client(await process.address()) as client:
            await until(lambda: _lag_is_over(client, 1.5), seconds=60)
        assert await database.fetch_val(PLACED) == 0

        async with Rireki.running("serve", home=tmp_path, **settings):
            await until(lambda: _placed(database, 1), seconds=60)


async def test_serve_seals_over_the_sealers_own_address(database: Database, store: Store) -> None:
    await store.create(new(), actor="user:x")
    apart = f"{database.url}{'&' if '?' in database.url else '?'}application_name=sealer"
    settings = Settings(app_env="test", database_url=database.url, sealer_database_url=apart)

    async with assembly.opened(settings, database.url, seals=True) as core:
        await until(lambda: _placed(database, 1))

        assert core.sealer is not None
        assert core.sealer.url == apart


async def test_serve_works_with_two_roles_of_which_only_one_may_seal(database: Database, two_roles: tuple[str, str]) -> None:
    service, sealer = two_roles
    settings = Settings(app_env="test", database_url=service, sealer_database_url=sealer)

    async with assembly.opened(settings, service, seals=True) as core:
        await core.store.create(new(), actor="user:x")
        await until(lambda: _placed(database, 1))

    with pytest.raises(UnsuitableDatabase, match="so it may not seal: set SEALER_DATABASE_URL"):
        async with assembly.opened(Settings(app_env="test", database_url=service), service, seals=True):
            pass
    async with assembly.opened(Settings(app_env="test", database_url=service), service) as core:
        assert core.sealer is None


async def test_rireki_seal_runs_under_the_sealers_role_alone(
    database: Database, store: Store, two_roles: tuple[str, str], tmp_path: Path
) -> None:
    await store.create(new(), actor="user:x")
    async with Rireki.running("seal", home=tmp_path, SEALER_DATABASE_URL=two_roles[1]) as process:
        await until(lambda: _placed(database, 1), seconds=60)

        process.send(signal.SIGTERM)

        assert await process.ended() == 0


async def test_an_export_by_a_role_that_may_not_seal_names_what_it_leaves_out(
    database: Database, store: Store, two_roles: tuple[str, str], tmp_path: Path
) -> None:
    await store.create(new(), actor="user:x")
    variables = {"DATABASE_URL": two_roles[0], "REDIS_URL": "redis://127.0.0.1:1", "JWT_SECRET": "x" * 40}

    ended = await run("audit", "export", home=tmp_path, APP_ENV="production", **variables)

    assert ended == (0, "", "rireki: 1 events have no position yet and are left out, because this role may not seal\n")


@pytest.fixture
async def two_roles(database: Database) -> AsyncIterator[tuple[str, str]]:
    """The addresses of the service's role and of the sealer's."""
    names = [f"rireki_{name}_{secrets.token_hex(4)}" for name in ("service", "sealer")]
    for name in names:
        await database.execute(f"create role {name}")
    await asyncio.to_thread(grant, database.url, names[0], sealer=names[1])
    service, sealer = (with_setting(database.url, "role", name) for name in names)
    yield service, sealer
    await database.execute(f"drop owned by {', '.join(names)}")
    await database.execute(f"drop role {', '.join(names)}")


async def test_a_sealers_address_of_another_database_is_refused(
    database: Database, postgres_url: str, template: str, tmp_path: Path
) -> None:
    variables = {"DATABASE_URL": database.url, "SEALER_DATABASE_URL": with_database(postgres_url, template)}

    ended = await run("serve", home=tmp_path, **variables)

    is_one_line(*ended, named="SEALER_DATABASE_URL", about="leads to another database than DATABASE_URL")


@pytest.mark.parametrize("command", ["serve", "seal"])
async def test_a_sealers_address_where_nobody_listens_is_a_line_that_names_it(
    database: Database, tmp_path: Path, command: str
) -> None:
    variables = {"DATABASE_URL": database.url, "SEALER_DATABASE_URL": "postgresql://127.0.0.1:1/db"}

    ended = await run(command, home=tmp_path, **variables)

    is_one_line(*ended, named="SEALER_DATABASE_URL", about="127.0.0.1:1, where no server listens")


async def test_a_sealer_ends_by_the_error_of_its_loop(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    async def do_no_more(anything: object) -> None:
        raise RuntimeError("no more of it")

    monkeypatch.setattr(assembly, "keep_sealing", do_no_more)

    async with asyncio.timeout(30):
        with capture_logs() as logs, pytest.raises(RuntimeError, match="no more of it"):
            await serve.seal(Settings(app_env="test"), database.url)

    assert [line["part"] for line in logs if line["log_level"] == "critical"] == ["sealer"]


async def _placed(database: Database, events: int) -> bool:
    return bool(await database.fetch_val(PLACED) == events)


async def _lag_is_over(client: httpx.AsyncClient, seconds: float) -> bool:
    lines = (await client.get("/metrics")).text.splitlines()
    lag = next(line for line in lines if line.startswith("rireki_seal_lag_seconds "))
    return float(lag.split()[1]) > seconds
