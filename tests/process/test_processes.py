"""`rireki serve` and `rireki worker` as an operator runs and ends them: SIGTERM, Ctrl-C."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from redis.asyncio import Redis
from structlog.testing import capture_logs

from events.database import Database
from events.job import Job, Queued, Started
from events.store import Store
from events.writes import NewJob
from service.config import ConfigError, Settings
from service.process import serve
from tests.chatwork_server import sandbox_of
from tests.http_client import http_client
from tests.job_types import ended, events_of, running, until, words
from tests.proxy import proxy_before
from workers.chatwork.sandbox import Sandbox
from workers.delivery.tick import Delivery
from workers.liveness.heartbeat import LEASE, Heartbeat
from workers.worker import Worker

HANDED_BACK = ["queued", "started", "queued: worker_shutdown"]


class Rireki:
    """A process of the service that was started by its command."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    @contextlib.asynccontextmanager
    async def running(
        cls, *arguments: str, home: Path, module: str = "service.cli", **variables: str
    ) -> AsyncIterator["Rireki"]:
        environment = {name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "REDIS_URL")}
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", module, *arguments,
            env=environment | {"APP_ENV": "test", "PORT": "0", "RIREKI_HOME": str(home)} | variables,
            cwd=Path(__file__).parents[2], stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
            stderr=(home / f"{arguments[0]}.log").open("ab"),
        )  # fmt: skip
        try:
            yield cls(process)
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def address(self) -> str:
        assert self._process.stdout is not None
        line = await asyncio.wait_for(self._process.stdout.readline(), 60)
        return line.decode().split()[-1]

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    async def ended(self) -> int:
        return await asyncio.wait_for(self._process.wait(), 60)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.returncode is None


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with sandbox_of({"10": ["おはよう"]}) as sandbox:
        yield sandbox


def variables(database: Database, sandbox: Sandbox, **more: str) -> dict[str, str]:
    return {
        "DATABASE_URL": database.url,
        "CHATWORK_API_BASE_URL": sandbox.base_url,
        "CHATWORK_API_TOKEN": sandbox.token,
        "CHATWORK_RATE_LIMIT": "100000",
        **more,
    }


async def sync(store: Store) -> Job:
    return await store.create(NewJob("chatwork_rooms_sync", {}, None, max_attempts=5), actor="system:test")


@pytest.mark.parametrize(
    ("number", "grace"), [(signal.SIGTERM, "0.2"), (signal.SIGINT, "600")], ids=["SIGTERM after its grace", "Ctrl-C at once"]
)
async def test_jobs_that_run_inside_the_api_are_handed_back_when_it_is_stopped(
    database: Database, store: Store, sandbox: Sandbox, tmp_path: Path, number: signal.Signals, grace: str
) -> None:
    sandbox.hang(times=100)
    settings = variables(database, sandbox, WORKER_SHUTDOWN_GRACE_SECONDS=grace)
    async with Rireki.running("serve", home=tmp_path, **settings) as process:
        address = await process.address()
        job = await running(database, await sync(store))
        async with http_client(address) as client:
            assert (await client.get("/readyz")).status_code == 200

        process.send(number)

        assert await process.ended() == 0
    assert await words(store, job) == HANDED_BACK
    assert await database.fetch_val("select count(*) from workers where gone_at is null") == 0


async def test_a_job_that_ends_within_the_grace_time_is_completed_and_not_handed_back(
    database: Database, store: Store, sandbox: Sandbox, tmp_path: Path
) -> None:
    held = sandbox.hold()
    settings = variables(database, sandbox, WORKER_SHUTDOWN_GRACE_SECONDS="60")
    async with Rireki.running("serve", home=tmp_path, **settings) as process:
        address = await process.address()
        job = await running(database, await sync(store))
        process.send(signal.SIGTERM)
        async with http_client(address) as client:
            await until(lambda: _not_ready(client))

        held.release()

        assert await process.ended() == 0
    assert await words(store, job) == ["queued", "started", "completed"]


async def test_a_second_signal_ends_the_process_without_waiting(
    database: Database, store: Store, sandbox: Sandbox, tmp_path: Path, redis_url: str
) -> None:
    sandbox.hang(times=100)
    settings = variables(database, sandbox, WORKER_SHUTDOWN_GRACE_SECONDS="600", REDIS_URL=redis_url)
    async with Rireki.running("worker", home=tmp_path, **settings) as process:
        job = await running(database, await sync(store))
        process.send(signal.SIGTERM)
        await until(lambda: b'"stopping"' in (tmp_path / "worker.log").read_bytes().replace(b"'", b'"'))
        assert process.alive

        process.send(signal.SIGTERM)

        assert await process.ended() == 1
    assert (await words(store, job))[:2] == ["queued", "started"]


@pytest.mark.parametrize("host", ["http://127.0.0.1", "127.0.0.1:80", "nowhere.invalid", "192.0.2.1"])
def test_a_host_that_is_not_this_machine_is_refused_in_a_line_that_names_it(host: str) -> None:
    with pytest.raises(ConfigError) as refused:
        serve.listen(Settings(app_env="test", host=host, port=0))

    assert str(refused.value).startswith(f"HOST: cannot listen on '{host}': ")
    assert "\n" not in str(refused.value)


def test_a_port_in_use_is_refused_in_a_line_that_names_it() -> None:
    with serve.listen(Settings(app_env="test", port=0)) as first:
        port = first.getsockname()[1]

        with pytest.raises(
            serve.CannotListen, match=f"^PORT: cannot listen on 127.0.0.1:{port}: another program listens there."
        ):
            serve.listen(Settings(app_env="test", port=port))


async def test_tasks_cut_off_by_a_second_signal_print_no_tracebacks(
    database: Database, sandbox: Sandbox, tmp_path: Path
) -> None:
    async with Rireki.running("serve", home=tmp_path, **variables(database, sandbox)) as process:
        address = await process.address()
        _, writer = await asyncio.open_connection("127.0.0.1", int(address.rpartition(":")[2]))
        head = b"POST /api/auth/login HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 10\r\n\r\n"
        writer.write(head + b"{")
        async with http_client(address) as client:
            assert (await client.get("/healthz")).status_code == 200
        process.send(signal.SIGTERM)
        await until(lambda: b"stopping" in (tmp_path / "serve.log").read_bytes())

        process.send(signal.SIGTERM)

        assert await process.ended() == 1
        writer.close()
    said = (tmp_path / "serve.log").read_text()
    assert "Traceback" not in said
    assert said.endswith("rireki: stopped without waiting\n")


async def test_a_second_signal_ends_a_process_although_postgresql_hangs(
    database: Database, store: Store, sandbox: Sandbox, tmp_path: Path
) -> None:
    sandbox.hang(times=100)
    async with proxy_before(database.url) as proxy:
        settings = variables(database, sandbox, WORKER_SHUTDOWN_GRACE_SECONDS="600") | {"DATABASE_URL": proxy.url}
        async with Rireki.running("serve", home=tmp_path, **settings) as process:
            await process.address()
            await running(database, await sync(store))
            proxy.hang()
            process.send(signal.SIGTERM)
            await until(lambda: b"stopping" in (tmp_path / "serve.log").read_bytes())

            process.send(signal.SIGTERM)

            async with asyncio.timeout(25):
                assert await process.ended() == 1


async def test_a_process_ends_although_a_handler_ignores_its_cancellation_and_keeps_its_connection(
    database: Database, store: Store, sandbox: Sandbox, tmp_path: Path
) -> None:
    settings = variables(database, sandbox, WORKER_SHUTDOWN_GRACE_SECONDS="0.2")
    async with Rireki.running("serve", module="tests.deaf_process", home=tmp_path, **settings) as process:
        await process.address()
        job = await running(database, await store.create(NewJob("deaf", {}, None, max_attempts=5), actor="system:test"))

        process.send(signal.SIGTERM)

        async with asyncio.timeout(25):
            assert await process.ended() == 0
    assert await words(store, job) == HANDED_BACK


@pytest.mark.parametrize(
    ("where", "name", "part"),
    [
        (Delivery, "run", "delivery"),
        (Heartbeat, "run", "heartbeat"),
        (Worker, "_take_some", "taking jobs"),
    ],
)
async def test_a_process_ends_with_the_error_of_a_background_task_that_fails(
    database: Database, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, where: object, name: str, part: str
) -> None:
    async def do_no_more(anything: object) -> None:
        raise RuntimeError("this part of the process fails")

    monkeypatch.setattr(where, name, do_no_more)
    monkeypatch.setattr(serve, "keep_what_is_loaded", lambda: None)

    async with asyncio.timeout(30):
        with capture_logs() as logs, pytest.raises(RuntimeError, match="this part of the process fails"):
            await serve.work(Settings(app_env="test"), database.url)

    assert [line["part"] for line in logs if line["log_level"] == "critical"] == [part]


async def test_a_rolling_restart_of_three_workers_under_load_fails_and_delays_no_job(
    database: Database, store: Store, sandbox: Sandbox, tmp_path: Path, redis_url: str
) -> None:
    async with Redis.from_url(redis_url) as client:
        await client.flushdb()
    settings = variables(database, sandbox, WORKER_SHUTDOWN_GRACE_SECONDS="0.1", REDIS_URL=redis_url)
    async with contextlib.AsyncExitStack() as stack:

        async def worker() -> Rireki:
            return await stack.enter_async_context(Rireki.running("worker", home=tmp_path, **settings))

        fleet = [await worker() for _ in range(3)]
        await until(lambda: _alive(database, 3), within=60)
        jobs: list[Job] = []
        loading = asyncio.create_task(_load(store, jobs))
        for old in fleet:
            seen = len(jobs)
            await until(lambda seen=seen: len(jobs) > seen + 20)  # type: ignore[misc]
            held = sandbox.hold(times=1000)
            since = await database.fetch_val("select now()")
            await until(lambda old=old, since=since: _has_started(database, old, since))  # type: ignore[misc]
            old.send(signal.SIGTERM)
            assert await old.ended() == 0
            held.release()
            sandbox.stop_faults()
            await worker()
            await until(lambda: _alive(database, 3), within=60)
        loading.cancel()
        for job in jobs:
            assert (await ended(database, job, within=60)).status == "completed"

    await _check_handed_back_jobs(store, jobs, at_least=len(fleet))
    # A slow machine may delay one attempt in twenty, but no attempt may wait until a lease expires.
    waits = sorted([wait for job in jobs for wait in await _waits(store, job)])
    assert waits[len(waits) * 95 // 100] < 1, waits
    assert waits[-1] < LEASE, waits


async def _check_handed_back_jobs(store: Store, jobs: list[Job], *, at_least: int) -> None:
    """Checks that at least `at_least` jobs were handed back, each to another worker."""
    told = [await words(store, job) for job in jobs]
    assert sum("queued: worker_shutdown" in history for history in told) >= at_least
    for history in told:
        assert not {word for word in history if word.startswith("failed") or "worker_lost" in word}, history
    # A job that was handed back was then run by another worker.
    for job in jobs:
        starts = await events_of(store, job, Started)
        assert len({started.worker for started in starts}) == len(starts)


async def _load(store: Store, jobs: list[Job]) -> None:
    while True:
        jobs.append(await sync(store))
        await asyncio.sleep(0.05)


async def _waits(store: Store, job: Job) -> list[float]:
    """Returns, for each attempt, the seconds from the time when it was due until its start."""
    due, waits = job.run_at, []
    for recorded in await store.history.events(job.id):
        match recorded.event:
            case Queued(delay=delay):
                due = recorded.at + delay
            case Started():
                waits.append((recorded.at - due).total_seconds())
    return waits


async def _has_started(database: Database, worker: Rireki, since: datetime) -> bool:
    """Whether this worker runs an attempt that it started after this time."""
    runs = """
    select count(*) > 0 from jobs j join workers w on w.id = j.worker
    where j.status = 'processing' and w.pid = :pid and j.started_at > :since
    """
    return bool(await database.fetch_val(runs, {"pid": worker.pid, "since": since}))


async def _alive(database: Database, workers: int) -> bool:
    return bool(await database.fetch_val("select count(*) >= :n from workers where gone_at is null", {"n": workers}))


async def _not_ready(client: httpx.AsyncClient) -> Any:
    try:
        return (await client.get("/readyz")).status_code == 503
    except httpx.TransportError:
        return True
