"""A worker that stops hands its jobs back, which uses up no attempt."""

import asyncio
from typing import Any

from events.bus import Bus
from events.database import Database
from events.job import JSON, Status
from events.store import Store
from tests.histories import open_store
from tests.job_types import (
    HANG,
    QUICK,
    cancel,
    ended,
    hang,
    job_type,
    must_fold,
    new_worker,
    queue,
    quick,
    running,
    until,
    wait_deaf_to_cancellation,
    words,
    working,
)
from tests.workers.liveness.rescues import LEASE, WORKER, _held_by, _pass, other_process
from workers.delivery.wire import LocalWire
from workers.job_type import Context
from workers.liveness import heartbeat as rescue


async def test_a_worker_that_stops_hands_its_jobs_back_without_using_up_an_attempt(
    database: Database, store: Store, bus: Bus, wire: LocalWire
) -> None:
    once = job_type("once", hang, max_attempts=1)
    worker = new_worker(database, store, bus, wire, [once])
    await worker.start()
    job = await running(database, await queue(store, wire, once))

    await worker.stop(grace=0)

    assert await words(store, job) == ["queued", "started", "queued: worker_shutdown"]
    assert (await database.fetch_one(WORKER, {"id": worker.runner.worker_id}) or {})["gone"]
    async with working(database, store, bus, LocalWire(), [job_type("once", quick)]):
        job = await ended(database, job)
    assert (job.status, job.attempt, job.max_attempts) == (Status.COMPLETED, 2, 2)
    await must_fold(database, store, job)


async def test_a_stopping_worker_takes_no_more_jobs_and_waits_for_its_own_within_the_grace_time(
    database: Database, store: Store, bus: Bus, wire: LocalWire
) -> None:
    finish = asyncio.Event()

    async def wait(context: Context, payload: Any) -> JSON:
        await finish.wait()
        return "in time"

    waits = job_type("waits", wait)
    worker = new_worker(database, store, bus, wire, [waits])
    await worker.start()
    job = await running(database, await queue(store, wire, waits))

    stopping = asyncio.create_task(worker.stop(grace=30))
    await until(lambda: worker._taking is not None and worker._taking.done())
    late = await queue(store, wire, waits)
    beat = "select last_seen > now() - make_interval(secs => :lease) from workers where id = :id"
    await _pass(database, LEASE)
    assert await database.fetch_val(beat, {"lease": LEASE / 2, "id": worker.runner.worker_id})
    finish.set()
    await stopping

    assert (await ended(database, job)).result == "in time"
    assert await words(store, late) == ["queued"]


async def test_a_cancel_stops_a_handler_while_its_worker_is_stopping(
    database: Database, store: Store, bus: Bus, wire: LocalWire
) -> None:
    worker = new_worker(database, store, bus, wire, [HANG])
    await worker.start()
    jobs = [await running(database, await queue(store, wire, HANG)) for _ in range(3)]
    stopping = asyncio.create_task(worker.stop(grace=600))
    await until(lambda: worker.runner.attempts)

    for job in jobs:
        await cancel(store, job)

    # No job is running, so the worker stops long before its grace time of 600 seconds is over.
    await asyncio.wait_for(stopping, 20)
    assert [await words(store, job) for job in jobs] == [["queued", "started", "canceled"]] * 3


async def test_a_cancel_during_a_rescue_ends_the_job_in_either_order(
    database: Database, database_url: str, store: Store
) -> None:
    jobs = [await _held_by(store, "w-dead", QUICK) for _ in range(40)]

    async with open_store(database_url) as elsewhere:
        rescuing = [rescue.rescue_job(elsewhere, {"quick": QUICK}, job) for job in jobs]
        await asyncio.gather(*rescuing, *[cancel(store, job) for job in jobs])

    for job in jobs:
        await must_fold(database, store, job)
        assert await words(store, job) in (
            ["queued", "started", "canceled"],
            ["queued", "started", "failed, retried", "queued: worker_lost", "canceled"],
        )


async def test_a_worker_stops_although_a_handler_does_not(database: Database, store: Store, bus: Bus, wire: LocalWire) -> None:
    release = asyncio.Event()

    async def be_deaf(context: Context, payload: Any) -> JSON:
        await wait_deaf_to_cancellation(release)
        return "much later"

    deaf = job_type("deaf", be_deaf)
    worker = new_worker(database, store, bus, wire, [deaf])
    await worker.start()
    job = await running(database, await queue(store, wire, deaf))

    async with asyncio.timeout(5):
        await worker.stop(grace=0)

    release.set()
    await until(lambda: not worker.runner.slots.stuck)
    assert await words(store, job) == ["queued", "started", "queued: worker_shutdown"]


async def test_a_process_that_gets_sigterm_hands_back_its_running_jobs(
    database: Database, store: Store, database_url: str, redis: str
) -> None:
    async with other_process(database_url, redis=redis) as process:
        jobs = [await queue(store, None, job_type(name, hang)) for name in ("hang", "slow", "costly")]
        for job in jobs:
            await process.says("running", job.id, 1)

        assert await process.stop() == 0

    for job in jobs:
        history = [word for word in await words(store, job) if word != "progress"]
        assert history == ["queued", "started", "queued: worker_shutdown"]
    assert await database.fetch_val("select count(*) from workers where gone_at is null") == 0
