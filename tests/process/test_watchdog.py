"""A process ends when asked to, even if its event loop or interpreter is blocked."""

import asyncio
import contextlib
import math
import os
import signal
import time
from pathlib import Path

import pytest

from events.database import Database
from events.job import Job
from events.store import Store
from events.writes import NewJob
from service.process.shutdown import LAST_MOMENTS
from service.process.watchdog import ENDING, Watch
from tests.http_client import http_client
from tests.job_types import until
from tests.process.test_processes import Rireki, sandbox, variables
from workers.chatwork.sandbox import Sandbox

__all__ = ["sandbox"]

BLOCKED = "tests.blocked_process"
TERM, INT = signal.SIGTERM, signal.SIGINT


async def blocked(store: Store, home: Path) -> Job:
    """Starts a job that blocks its process, and returns the job once it is running."""
    job = await store.create(NewJob("blocked", {}, None, max_attempts=5), actor="system:test")
    await until((home / "blocked").exists, within=60)
    return job


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def alive(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


@pytest.mark.parametrize("command", ["serve", "worker"])
@pytest.mark.parametrize(("number", "grace"), [(TERM, "0.5"), (INT, "600")], ids=["SIGTERM", "Ctrl-C"])
async def test_a_blocked_process_ends_within_its_grace_time(
    database: Database, store: Store, sandbox: Sandbox, redis_url: str, tmp_path: Path, command: str, number: signal.Signals,
    grace: str,
) -> None:  # fmt: skip
    settings = variables(database, sandbox, WORKER_SHUTDOWN_GRACE_SECONDS=grace, REDIS_URL=redis_url)
    async with Rireki.running(command, home=tmp_path, module=BLOCKED, **settings) as process:
        await blocked(store, tmp_path)
        began = time.monotonic()

        process.send(number)

        assert await process.ended() == ENDING
        assert time.monotonic() - began < 15
    assert "the watchdog kills the process" in (tmp_path / f"{command}.log").read_text()


async def test_a_blocked_process_ends_soon_after_a_second_signal(
    database: Database, store: Store, sandbox: Sandbox, tmp_path: Path
) -> None:
    settings = variables(database, sandbox, WORKER_SHUTDOWN_GRACE_SECONDS="600")
    async with Rireki.running("serve", home=tmp_path, module=BLOCKED, **settings) as process:
        await blocked(store, tmp_path)
        process.send(TERM)
        await asyncio.sleep(LAST_MOMENTS + 1)
        assert process.alive

        process.send(TERM)

        assert await process.ended() == ENDING


async def test_a_process_that_blocks_after_it_got_the_signal_ends_too(
    database: Database, store: Store, sandbox: Sandbox, tmp_path: Path
) -> None:
    settings = variables(database, sandbox, WORKER_SHUTDOWN_GRACE_SECONDS="600")
    held = sandbox.hold()
    async with Rireki.running("serve", home=tmp_path, module=BLOCKED, **settings) as process:
        await process.address()
        await store.create(NewJob("chatwork_rooms_sync", {}, None, max_attempts=5), actor="system:test")
        await until(lambda: database.fetch_val("select true from jobs where status = 'processing'"))
        job = await store.create(NewJob("blocked", {}, None, max_attempts=5), actor="system:test")
        await until((tmp_path / "blocked").exists)
        process.send(TERM)

        process.send(INT)

        assert await process.ended() == ENDING
    held.release()
    assert (await store.history.events(job.id))[-1].seq == 2


@pytest.mark.parametrize("how", ["asked to end", "killed"])
async def test_the_watchdog_ends_with_its_process_and_keeps_none_of_its_files_open(
    database: Database, sandbox: Sandbox, tmp_path: Path, how: str
) -> None:
    async with Rireki.running("serve", home=tmp_path, **variables(database, sandbox)) as process:
        address = await process.address()
        [dog] = children_of(process.pid)
        links = {os.readlink(f"/proc/{dog}/fd/{fd}") for fd in os.listdir(f"/proc/{dog}/fd")}
        assert len([link for link in links if link.startswith("socket:")]) == 2
        assert os.readlink(f"/proc/{dog}/fd/1") == "/dev/null"
        assert os.getsid(dog) == dog

        for number in (TERM, INT, signal.SIGHUP):  # A supervisor sends such signals to the whole process group.
            os.kill(dog, number)
        async with http_client(address) as client:
            assert (await client.get("/healthz")).status_code == 200
        assert alive(dog)
        process.send(TERM if how == "asked to end" else signal.SIGKILL)

        assert await process.ended() == (0 if how == "asked to end" else -9)
        await until(lambda: not alive(dog))


async def test_a_process_without_its_watchdog_serves_and_ends_as_usual(
    database: Database, sandbox: Sandbox, tmp_path: Path
) -> None:
    async with Rireki.running("serve", home=tmp_path, **variables(database, sandbox)) as process:
        address = await process.address()
        [dog] = children_of(process.pid)

        os.kill(dog, signal.SIGKILL)

        async with http_client(address) as client:
            assert (await client.get("/healthz")).status_code == 200
        process.send(TERM)
        assert await process.ended() == 0


def watch() -> Watch:
    return Watch(asked_end=45, interrupted_end=20, last_moments=3)


def test_a_process_is_not_killed_before_it_was_asked_to_end() -> None:
    assert watch().deadline == math.inf


def test_a_signal_that_the_blocked_process_cannot_handle_counts_once_from_its_arrival() -> None:
    dog = watch()

    dog.see([TERM], 100)
    dog.see([TERM], 110)

    assert dog.deadline == 145


def test_ctrl_c_has_no_grace_time_and_a_second_signal_leaves_only_seconds() -> None:
    dog = watch()

    dog.see([INT], 100)
    assert dog.deadline == 120
    dog.see([INT, TERM], 101)

    assert dog.deadline == 104


def test_after_a_handled_signal_an_unhandled_one_counts_as_the_second() -> None:
    dog = watch()

    dog.see([TERM], 100)
    dog.tell(45, 100.1)
    dog.see([], 100.2)
    assert dog.deadline == 145
    dog.see([TERM], 102)

    assert dog.deadline == 105
