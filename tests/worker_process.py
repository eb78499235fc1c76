"""A worker in a separate process, which tests kill and freeze.

    python -m tests.worker_process '<json>'

The settings are `{"database", "redis", "slots", "heartbeat", "lease", "grace", "patience"}`, all of
them optional except the first. It prints one JSON array a line: first `["worker", id]`, then
`["running", job, attempt]` when a handler is called, and `["stopped", job, attempt]` when it ends.
It runs until SIGTERM.
"""

import asyncio
import json
import logging
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import structlog
import uvloop

from events.bus import Bus, RedisBus
from events.database import Database
from events.job import JSON
from events.store import Store
from tests.job_types import JOB_TYPES, new_worker
from workers.attempt import attempt as run
from workers.delivery.redis_wire import RedisWire
from workers.delivery.wire import LocalWire, Wire
from workers.job_type import Context, JobType
from workers.liveness import heartbeat as rescue


class WorkerProcess:
    """Starts and controls the worker process of a test."""

    def __init__(self, database_url: str, **settings: Any) -> None:
        self._process: subprocess.Popen[str] = subprocess.Popen(
            [sys.executable, "-m", "tests.worker_process", json.dumps({"database": database_url, **settings})],
            cwd=Path(__file__).parent.parent,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.said: list[list[Any]] = []

    @property
    def worker_id(self) -> str:
        """The id under which the worker registered last."""
        return str(next(line[1] for line in reversed(self.said) if line[0] == "worker"))

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    async def says(self, *line: Any) -> None:
        """Waits until the process prints an array that begins with these values."""
        while not any(said[: len(line)] == list(line) for said in self.said):
            assert self._process.stdout is not None
            text = await asyncio.wait_for(asyncio.to_thread(self._process.stdout.readline), 30)
            assert text, f"the worker ended with status {self._process.wait()} without printing {line}; it printed {self.said}"
            self.said.append(json.loads(text))

    def kill(self) -> None:
        """Kills the process, as `kill -9` does."""
        self._process.kill()
        self._process.wait()

    def freeze(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    async def stop(self) -> int:
        """Stops the process as an operator does (SIGTERM). Returns its exit status."""
        self._process.terminate()
        return await asyncio.to_thread(self._process.wait, 30)

    def end(self) -> None:
        self.kill()
        if self._process.stdout is not None:
            self._process.stdout.close()


@contextmanager
def worker_process(database_url: str, **settings: Any) -> Iterator[WorkerProcess]:
    process = WorkerProcess(database_url, **settings)
    try:
        yield process
    finally:
        process.end()


def _say(*line: Any) -> None:
    print(json.dumps(line), flush=True)


def _talking(job_type: JobType[Any]) -> JobType[Any]:
    async def handle(context: Context, payload: Any) -> JSON:
        _say("running", context.job_id, context.attempt)
        try:
            return await job_type.run(context, payload)
        finally:
            _say("stopped", context.job_id, context.attempt)

    return replace(job_type, run=handle)


async def _work(settings: dict[str, Any]) -> None:
    asked_to_stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, asked_to_stop.set)
    redis_url = settings.get("redis")
    database = Database(settings["database"])
    await database.connect()
    bus = RedisBus(redis_url) if redis_url else Bus()
    await bus.start()
    store = Store(database, bus)
    await store.start()
    wire: Wire = RedisWire(redis_url) if redis_url else LocalWire()
    await wire.start()
    job_types = [_talking(job_type) for job_type in JOB_TYPES]
    worker = new_worker(database, store, bus, wire, job_types, slots=settings.get("slots", 10))
    await worker.start()
    _say("worker", worker.runner.worker_id)
    asked = asyncio.ensure_future(asked_to_stop.wait())
    ended, _ = await asyncio.wait({asked, *worker.parts}, return_when=asyncio.FIRST_COMPLETED)
    for part in ended:
        part.result()
    await worker.stop(grace=settings.get("grace", 0))
    await wire.stop()
    await store.stop()
    await bus.stop()
    await database.disconnect()


def main() -> None:
    settings = json.loads(sys.argv[1])
    rescue.HEARTBEAT = settings.get("heartbeat", rescue.HEARTBEAT)
    rescue.LEASE = settings.get("lease", rescue.LEASE)
    run.PATIENCE = settings.get("patience", run.PATIENCE)
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    uvloop.run(_work(settings))


if __name__ == "__main__":
    main()
