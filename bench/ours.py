"""Measures Rireki beside other queues: `python -m bench.ours '<json>'` (bench/measure.py).

Each job has three durable events in PostgreSQL. Redis delivers the jobs.
"""

import asyncio
import contextlib
import importlib.metadata
import logging
from collections.abc import AsyncIterator

import asyncpg
import uvloop

from bench.measure import Clock, Contestant, Parameters, run
from events.bus import RedisBus
from events.concurrency import end, lasting
from events.database import Database
from events.job import Job, cancel
from events.store import Store
from projections.seal import keep_sealing
from service.http.logs import configure_logs
from service.process.assembly import keep_what_is_loaded
from workers.delivery.enqueue import enqueue, enqueue_many
from workers.delivery.redis_wire import RedisWire
from workers.job_type import Context, JobType, Payload
from workers.resources import Resources
from workers.worker import Worker

ACTOR = "system:bench"
BULK = 2_000


class Number(Payload):
    n: int


class Ours(Contestant):
    can_bulk = can_cancel = True

    def __init__(
        self, parameters: Parameters, clock: Clock, database: Database, store: Store, bus: RedisBus, wire: RedisWire
    ) -> None:
        super().__init__(parameters, clock)
        self._database, self._store, self._bus, self._wire = database, store, bus, wire
        self._nothing = JobType("nothing", Number, self._do_nothing, deadline=60)
        self._endless = JobType("endless", Number, self._wait_for_ever, deadline=60)
        self._running: dict[int, str] = {}
        self._elsewhere: Store | None = None
        # This counts only jobs whose end is committed, because the bus announces a change after its commit.
        bus.listen(lambda change: clock.finish() if change.status == "completed" else None)

    async def _do_nothing(self, context: Context, payload: Number) -> dict[str, bool]:
        self.clock.start(payload.n)
        return {"ok": True}

    async def _wait_for_ever(self, context: Context, payload: Number) -> None:
        self.clock.start(payload.n)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.clock.cancel(payload.n)
            raise

    async def enqueue(self, number: int) -> None:
        await self._enqueue(self._nothing, number)

    async def enqueue_bulk(self, numbers: range) -> None:
        payloads = [{"n": number} for number in numbers]
        for first in range(0, len(payloads), BULK):
            await enqueue_many(
                self._store, self._wire, self._nothing, payloads[first : first + BULK], user_id=None, actor=ACTOR
            )

    async def enqueue_endless(self, number: int) -> None:
        self._running[number] = (await self._enqueue(self._endless, number)).id

    async def cancel(self, number: int) -> None:
        assert self._elsewhere is not None
        await self._elsewhere.append(self._running[number], lambda job: cancel(job, reason="bench"), actor=ACTOR)

    @contextlib.asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        worker = Worker(
            database=self._database, store=self._store, bus=self._bus, wire=self._wire,
            resources=Resources(self._database, None, None),  # type: ignore[arg-type]
            job_types={"nothing": self._nothing, "endless": self._endless}, **self.parameters.settings,
        )  # fmt: skip
        await worker.start()
        try:
            yield
        finally:
            await worker.stop(grace=5)

    @contextlib.asynccontextmanager
    async def working_cancelably(self) -> AsyncIterator[None]:
        async with self.working(), _elsewhere(self.parameters) as self._elsewhere:
            yield

    async def analyze(self) -> None:
        connection = await asyncpg.connect(self.parameters.postgres_url)
        await connection.execute("analyze")
        await connection.close()

    async def _enqueue(self, job_type: JobType[Number], number: int) -> Job:
        return await enqueue(self._store, self._wire, job_type, {"n": number}, user_id=None, actor=ACTOR)


@contextlib.asynccontextmanager
async def ours(parameters: Parameters, clock: Clock) -> AsyncIterator[Ours]:
    configure_logs(logging.WARNING)
    async with _connected(parameters) as (database, store, bus):
        wire = RedisWire(parameters.redis_url)
        await wire.start()
        sealing = lasting(keep_sealing(database), "sealer")
        keep_what_is_loaded()
        try:
            yield Ours(parameters, clock, database, store, bus, wire)
        finally:
            await end(sealing)
            await wire.stop()


@contextlib.asynccontextmanager
async def _elsewhere(parameters: Parameters) -> AsyncIterator[Store]:
    """Opens a second store with a separate bus, as another process would."""
    async with _connected(parameters) as (_, store, _):
        yield store


@contextlib.asynccontextmanager
async def _connected(parameters: Parameters) -> AsyncIterator[tuple[Database, Store, RedisBus]]:
    async with contextlib.AsyncExitStack() as stack:
        database = Database(parameters.postgres_url)
        await database.connect()
        stack.push_async_callback(database.disconnect)
        bus = RedisBus(parameters.redis_url)
        await bus.start()
        stack.push_async_callback(bus.stop)
        store = Store(database, bus)
        await store.start()
        stack.push_async_callback(store.stop)
        yield database, store, bus


def versions() -> dict[str, str]:
    return {name: importlib.metadata.version(name) for name in ("rireki", "asyncpg", "redis", "uvloop")}


if __name__ == "__main__":
    run(ours, versions, uvloop.run)
