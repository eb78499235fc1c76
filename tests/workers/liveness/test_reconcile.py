"""A worker compares the log with the attempts that it runs, and repairs the difference."""

import asyncio
import time
from typing import Any

from events.bus import Bus, RedisBus
from events.database import Database
from events.job import JSON
from events.store import Store
from tests.job_types import (
    HANG,
    QUICK,
    cancel,
    ended,
    job_type,
    lives_on,
    queue,
    row_locked,
    running,
    starts,
    until,
    words,
    working,
)
from tests.workers.liveness.rescues import HEARTBEAT, RESCUED, _held_by, _pass, other_process
from workers.delivery.redis_wire import RedisWire
from workers.delivery.wire import LocalWire
from workers.job_type import Context


async def test_a_worker_that_was_declared_gone_stops_its_handlers_and_goes_on_under_a_new_id(
    database: Database, store: Store, bus: Bus, wire: LocalWire
) -> None:
    stopped: list[int] = []

    async def wait(context: Context, payload: Any) -> JSON:
        if context.attempt > 1:
            return "again"
        try:
            await asyncio.Event().wait()
        finally:
            stopped.append(context.attempt)

    waits = job_type("waits", wait)
    async with working(database, store, bus, wire, [waits]) as worker:
        job = await running(database, await queue(store, wire, waits))
        before = worker.runner.worker_id

        await database.execute("update workers set gone_at = now() where id = :id", {"id": before})

        await until(lambda: stopped)
        job = await ended(database, job)
        assert worker.runner.worker_id != before
        await lives_on(worker, store, database)
        assert await words(store, job) == RESCUED
        assert [worker_id for _, worker_id in await starts(store, job)] == [before, worker.runner.worker_id]
        actors = [recorded.actor for recorded in await store.history.events(job.id)][2:4]
        assert actors == ["system:rescue", "system:rescue"]


async def test_a_worker_that_was_declared_gone_stops_before_its_jobs_are_rescued(
    database: Database, store: Store, bus: Bus, wire: LocalWire
) -> None:
    stopped_as: list[str] = []

    async def wait(context: Context, payload: Any) -> JSON:
        if context.attempt == 1:
            try:
                await asyncio.Event().wait()
            finally:
                stopped_as.append(worker.runner.worker_id)
        return None

    waits = job_type("waits", wait)
    async with working(database, store, bus, wire, [waits]) as worker:
        job = await running(database, await queue(store, wire, waits))
        await until(lambda: worker.runner.attempts)
        name = worker.runner.worker_id

        async with row_locked(database, job):
            await database.execute("update workers set gone_at = now()")

            await until(lambda: stopped_as)

        await ended(database, job)
    assert await words(store, job) == RESCUED
    # The attempt stopped while the worker had its old id. So the cause was that the worker was
    # declared gone, not that the job belongs to another id.
    assert stopped_as == [name]


async def test_a_cancel_stops_a_handler_in_another_process_at_once_without_a_heartbeat(
    database: Database, database_url: str, redis: str
) -> None:
    bus = RedisBus(redis)
    await bus.start()
    store = Store(database, bus)
    await store.start()
    wire = RedisWire(redis)
    await wire.start()
    latencies: list[float] = []
    async with other_process(database_url, redis=redis, heartbeat=600, lease=600) as process:
        for _ in range(10):
            job = await queue(store, wire, HANG)
            await process.says("running", job.id, 1)

            await cancel(store, job)

            canceled = time.monotonic()
            await process.says("stopped", job.id, 1)
            latencies.append(time.monotonic() - canceled)
            assert await words(store, job) == ["queued", "started", "canceled"]
    await wire.stop()
    await store.stop()
    await bus.stop()
    # Benchmarks measure a few milliseconds. The limit is higher because other tests may run too.
    assert sorted(latencies)[5] < 0.2, latencies


async def test_a_cancel_that_the_bus_lost_is_found_at_the_next_heartbeat(
    database: Database, store: Store, bus: Bus, wire: LocalWire
) -> None:
    stopped: list[float] = []

    async def wait(context: Context, payload: Any) -> JSON:
        try:
            await asyncio.Event().wait()
        finally:
            stopped.append(time.monotonic())

    waits = job_type("waits", wait)
    in_silence = Store(database, Bus())
    await in_silence.start()
    async with working(database, store, bus, wire, [waits]) as worker:
        job = await running(database, await queue(store, wire, waits))
        await until(lambda: worker.runner.attempts)
        asked = time.monotonic()

        await cancel(in_silence, job)

        await until(lambda: stopped)
        assert stopped[0] - asked < HEARTBEAT + 1
        await lives_on(worker, store, database)
    assert await words(store, job) == ["queued", "started", "canceled"]
    await in_silence.stop()


async def test_a_job_that_a_worker_started_without_knowing_it_is_rescued_after_two_heartbeats(
    database: Database, store: Store, bus: Bus, wire: LocalWire
) -> None:
    async with working(database, store, bus, wire, [QUICK]) as worker:
        # The log says that this worker started the job, but the worker never got that answer.
        job = await _held_by(store, worker.runner.worker_id, QUICK)

        job = await ended(database, job)

    assert await words(store, job) == RESCUED
    history = await store.history.events(job.id)
    assert (history[2].at - history[1].at).total_seconds() >= HEARTBEAT


async def test_a_running_job_is_not_rescued_by_its_own_worker(
    database: Database, store: Store, bus: Bus, wire: LocalWire
) -> None:
    async with working(database, store, bus, wire, [HANG], slots=30):
        jobs = [await running(database, await queue(store, wire, HANG)) for _ in range(20)]

        await _pass(database, 5 * HEARTBEAT)

        assert [await words(store, job) for job in jobs] == [["queued", "started"]] * 20
