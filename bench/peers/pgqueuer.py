"""Measures pgqueuer on PostgreSQL: `python -m bench.peers.pgqueuer '<json>'`.

It uses asyncpg, as pgqueuer's benchmarks page recommends for speed. It uses logged tables (the
default), because unlogged tables would avoid the cost of fsync.

As documented: a pool of 5 to 20 connections (from pgqueuer's guide on performance tuning), and
`batch_size=20, max_concurrent_tasks=100` (the guide's example). At its best: larger batches; no limit
of tasks, which saves a count in each dequeue; and few connections for the callers. More connections
would not help, because each commit sends a notification, and PostgreSQL makes such commits one after
another.
"""

import asyncio
import contextlib
import importlib.metadata
import logging
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import uvloop
from pgqueuer.core.qm import QueueManager
from pgqueuer.db import AsyncpgPoolDriver
from pgqueuer.models import Context, Job
from pgqueuer.queries import Queries

from bench.measure import Clock, Contestant, Parameters, run

logging.getLogger("pgqueuer").setLevel(logging.CRITICAL)
BULK = 1_000


class CountingQueries(Queries):
    """Counts a job as ended when pgqueuer has written the end to its status log."""

    clock: Clock

    async def log_jobs(self, job_status: list[Any]) -> None:
        await super().log_jobs(job_status)
        self.clock.finish(len(job_status))


class PgQueuer(Contestant):
    can_bulk = can_cancel = True

    def __init__(self, parameters: Parameters, clock: Clock, pool: asyncpg.Pool, producer: Queries, elsewhere: Queries) -> None:
        super().__init__(parameters, clock)
        self._pool, self._producer, self._elsewhere = pool, producer, elsewhere
        self._ids: dict[int, Any] = {}

    async def enqueue(self, number: int) -> None:
        await self._producer.enqueue("nothing", str(number).encode())

    async def enqueue_bulk(self, numbers: range) -> None:
        for first in range(0, len(numbers), BULK):
            batch = numbers[first : first + BULK]
            names, payloads = ["nothing"] * len(batch), [str(number).encode() for number in batch]
            await self._producer.enqueue(names, payloads, [0] * len(batch))

    async def enqueue_endless(self, number: int) -> None:
        (self._ids[number],) = await self._producer.enqueue("endless", str(number).encode())

    async def cancel(self, number: int) -> None:
        await self._elsewhere.mark_job_as_cancelled([self._ids[number]])

    @contextlib.asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        queries = CountingQueries(AsyncpgPoolDriver(self._pool))
        queries.clock = self.clock
        manager = QueueManager(queries)
        manager.entrypoint("nothing")(self._do_nothing)
        manager.entrypoint("endless")(self._wait_for_ever)
        running = asyncio.create_task(manager.run(**self.parameters.settings["worker"]))
        try:
            yield
        finally:
            manager.shutdown.set()
            await asyncio.wait({running}, timeout=5)
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    async def analyze(self) -> None:
        await self._pool.execute("analyze")

    async def _do_nothing(self, job: Job) -> None:
        assert job.payload is not None
        self.clock.start(int(job.payload))

    async def _wait_for_ever(self, job: Job, context: Context) -> None:
        assert job.payload is not None
        number = int(job.payload)
        # pgqueuer's guide on cancellation uses this scope. The block ends when the job is canceled.
        with context.cancellation:
            self.clock.start(number)
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.clock.cancel(number)
                raise


@contextlib.asynccontextmanager
async def pgqueuer(parameters: Parameters, clock: Clock) -> AsyncIterator[PgQueuer]:
    def pool(name: str = "pool") -> Any:
        return asyncpg.create_pool(parameters.postgres_url, **parameters.settings.get(name, parameters.settings["pool"]))

    async with pool() as worker, pool("producer") as producer, pool() as elsewhere:
        queries = Queries(AsyncpgPoolDriver(producer))
        await queries.install()
        yield PgQueuer(parameters, clock, worker, queries, Queries(AsyncpgPoolDriver(elsewhere)))


def versions() -> dict[str, str]:
    return {name: importlib.metadata.version(name) for name in ("pgqueuer", "asyncpg", "uvloop")}


if __name__ == "__main__":
    run(pgqueuer, versions, uvloop.run)
