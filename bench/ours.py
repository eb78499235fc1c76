"""Our worker under the same tasks as arq's: a worker process of its own, over PostgreSQL and Redis."""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator

import structlog

from events.bus import RedisBus
from events.database import Database
from events.job import Job, cancel
from events.store import Store
from workers.enqueue import enqueue
from workers.job_type import Context, JobType, Payload
from workers.main import Worker
from workers.redis_wire import RedisWire
from workers.resources import Resources


class Empty(Payload):
    pass


async def _do_nothing(context: Context, payload: Empty) -> dict[str, bool]:
    return {"ok": True}


STOPPED: dict[str, float] = {}
"""When a canceled handler heard of it, by job id."""


async def _wait_for_ever(context: Context, payload: Empty) -> None:
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        STOPPED[context.job_id] = time.perf_counter()
        raise


NOTHING = JobType("nothing", Empty, _do_nothing, deadline=60)
ENDLESS = JobType("endless", Empty, _wait_for_ever, deadline=60)


class Ours:
    def __init__(self, redis: str, database: Database, store: Store, bus: RedisBus, wire: RedisWire, slots: int) -> None:
        self._redis = redis
        self._database, self._store, self._bus, self._wire, self._slots = database, store, bus, wire, slots
        self.started: dict[str, float] = {}
        self.completed = 0
        self._done = asyncio.Event()
        self._wanted = 0
        bus.listen(lambda change: self._hear(change.job_id, change.status))

    async def enqueue(self, job_type: JobType[Empty] = NOTHING) -> Job:
        return await enqueue(self._store, self._wire, job_type, {}, user_id=None, actor="system:bench")

    async def cancel_running(self, times: int) -> list[float]:
        """Milliseconds from the request to cancel until the handler hears of it; the request comes from a store and a bus of
        their own, so that the word goes over Redis."""
        latencies = []
        async with self.working(), _elsewhere(self._database.url, self._redis) as elsewhere:
            for _ in range(times):
                job = await self.enqueue(ENDLESS)
                while job.id not in self.started:  # noqa: ASYNC110
                    await asyncio.sleep(0.001)
                await asyncio.sleep(0.02)
                asked = time.perf_counter()
                await elsewhere.append(job, lambda job: cancel(job, reason="bench"), actor="system:bench")
                while job.id not in STOPPED:  # noqa: ASYNC110
                    await asyncio.sleep(0.0002)
                latencies.append((STOPPED.pop(job.id) - asked) * 1000)
        return latencies

    async def enqueue_many(self, jobs: int, callers: int) -> float:
        """Jobs a second."""
        left = iter(range(jobs))

        async def caller() -> None:
            for _ in left:
                await self.enqueue()

        began = time.perf_counter()
        await asyncio.gather(*(caller() for _ in range(callers)))
        return jobs / (time.perf_counter() - began)

    async def drain(self, jobs: int) -> float:
        """Jobs a second, from the start of a worker until the last of these queued jobs is completed."""
        self.completed, self._wanted = 0, jobs
        self._done.clear()
        began = time.perf_counter()
        async with self.working():
            await self._done.wait()
            return jobs / (time.perf_counter() - began)

    @contextlib.asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        worker = Worker(
            database=self._database, store=self._store, bus=self._bus, wire=self._wire,
            resources=Resources(self._database, None, None),  # type: ignore[arg-type]
            job_types={"nothing": NOTHING, "endless": ENDLESS}, slots=self._slots,
        )  # fmt: skip
        await worker.start()
        yield
        await worker.stop(grace=5)

    def _hear(self, job_id: str, status: str) -> None:
        if status == "processing":
            self.started.setdefault(job_id, time.perf_counter())
        elif status == "completed":
            self.completed += 1
            if self.completed == self._wanted:
                self._done.set()


@contextlib.asynccontextmanager
async def ours(url: str, redis: str, *, slots: int = 100) -> AsyncIterator[Ours]:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    async with contextlib.AsyncExitStack() as stack:
        database = Database(url)
        await database.connect()
        stack.push_async_callback(database.disconnect)
        bus = RedisBus(redis)
        await bus.start()
        stack.push_async_callback(bus.stop)
        store = Store(database, bus)
        await store.start()
        stack.push_async_callback(store.stop)
        wire = RedisWire(redis)
        await wire.start()
        stack.push_async_callback(wire.stop)
        yield Ours(redis, database, store, bus, wire, slots)


@contextlib.asynccontextmanager
async def _elsewhere(url: str, redis: str) -> AsyncIterator[Store]:
    bus = RedisBus(redis)
    await bus.start()
    database = Database(url)
    await database.connect()
    store = Store(database, bus)
    await store.start()
    yield store
    await store.stop()
    await database.disconnect()
    await bus.stop()
