"""The jobs of workers that are killed, frozen or cut off are retried or failed."""

import asyncio

import pytest

from events.bus import Bus
from events.concurrency import elapsed
from events.database import Database
from events.job import Failed, Job, Status
from events.store import Store
from tests.job_types import (
    COSTLY,
    QUICK,
    claim_of,
    ended,
    events_of,
    hang,
    job_type,
    lives_on,
    must_fold,
    queue,
    quick,
    row_locked,
    starts,
    until,
    until_waiting_for_locks,
    words,
    working,
)
from tests.workers.liveness.rescues import NOT_FOR_A_WHILE, RESCUED, WORKER, _gone, _held_by, other_process
from workers.delivery.redis_wire import RedisWire
from workers.delivery.wire import Hint, LocalWire
from workers.liveness import heartbeat as rescue


async def test_jobs_of_a_killed_worker_are_retried_or_failed_as_their_type_says(
    database: Database, store: Store, bus: Bus, database_url: str, wire: LocalWire
) -> None:
    async with other_process(database_url) as process:
        hanging, costly, once = [
            await queue(store, None, job_type(name, hang, max_attempts=attempts))
            for name, attempts in (("hang", 5), ("costly", 5), ("once", 1))
        ]
        for job in (hanging, costly, once):
            await process.says("running", job.id, 1)

        process.kill()

    here = [job_type("hang", quick), job_type("costly", quick, retry_when_worker_lost=False), job_type("once", quick)]
    async with working(database, store, bus, wire, here) as worker:
        hanging, costly, once = [await ended(database, job) for job in (hanging, costly, once)]

        assert await words(store, hanging) == RESCUED
        assert [attempt for attempt, _ in await starts(store, hanging)] == [1, 2]
        assert (await starts(store, hanging))[1][1] == worker.runner.worker_id
        assert (hanging.attempt, hanging.max_attempts) == (2, 5)
    for job in (costly, once):
        assert await words(store, job) == ["queued", "started", "failed"]
    for job in (hanging, costly, once):
        (failed,) = await events_of(store, job, Failed)
        assert failed.error.name == "WorkerLost"
        assert process.worker_id in failed.error.message
        await must_fold(database, store, job)
        assert [r.actor for r in await store.history.events(job.id) if isinstance(r.event, Failed)] == ["system:rescue"]


async def test_a_handler_that_crashes_its_process_uses_up_one_attempt(
    database: Database, store: Store, database_url: str, redis: str
) -> None:
    async with other_process(database_url, redis=redis), other_process(database_url, redis=redis):
        job = await ended(database, await queue(store, None, job_type("crash", hang)))

    assert await words(store, job) == RESCUED
    assert job.result == {"attempt": 2}


async def test_a_frozen_worker_that_was_declared_gone_stops_its_handlers_and_registers_anew(
    database: Database, store: Store, bus: Bus, database_url: str, redis: str, wire: LocalWire
) -> None:
    async with other_process(database_url, redis=redis) as process:
        slow, hanging = [await queue(store, None, job_type(name, hang)) for name in ("slow", "hang")]
        for job in (slow, hanging):
            await process.says("running", job.id, 1)
        before = process.worker_id

        process.freeze()
        async with working(database, store, bus, wire, [job_type("slow", quick), job_type("hang", quick)]):
            slow, hanging = await ended(database, slow), await ended(database, hanging)
        gone_at = (await database.fetch_one(WORKER, {"id": before}) or {})["gone_at"]
        waiting = [await queue(store, None, QUICK) for _ in range(5)]
        process.thaw()

        for job in (slow, hanging):
            await process.says("stopped", job.id, 1)
        waiting = [await ended(database, job) for job in waiting]
        anew = "select id from workers where gone_at is null"
        after = await database.fetch_val(anew)
        assert after is not None
        assert after != before
    assert await words(store, hanging) == RESCUED
    assert [word for word in await words(store, slow) if word != "progress"] == RESCUED
    assert {(await starts(store, job))[-1][1] for job in waiting} == {after}
    written_later = "select count(*) from job_events where actor = :actor and at > :gone_at"
    assert await database.fetch_val(written_later, {"actor": f"worker:{before}", "gone_at": gone_at}) == 0


async def test_a_worker_whose_event_loop_is_blocked_is_declared_gone_and_its_late_result_refused(
    database: Database, store: Store, bus: Bus, database_url: str, wire: LocalWire
) -> None:
    async with other_process(database_url) as process:
        job = await queue(store, None, job_type("block", hang), {"seconds": 2})
        await process.says("running", job.id, 1)

        async with working(database, store, bus, wire, [job_type("block", quick)]):
            job = await ended(database, job)

        await process.says("stopped", job.id, 1)
        # The process goes on. It registers under a new id and runs the next job.
        await ended(database, await queue(store, None, QUICK))
    assert await words(store, job) == RESCUED
    assert (await store.history.events(job.id))[-1].actor != f"worker:{process.worker_id}"


async def test_a_job_that_two_workers_try_to_rescue_is_rescued_once(database: Database, store: Store, bus: Bus) -> None:
    elsewhere = Store(database, bus)
    await elsewhere.start()
    jobs = [await _held_by(store, "w-dead", QUICK) for _ in range(20)]

    async with (
        working(database, store, bus, LocalWire(), [QUICK]),
        working(database, elsewhere, bus, LocalWire(), [QUICK]),
    ):
        for job in jobs:
            await ended(database, job)

    assert [await words(store, job) for job in jobs] == [RESCUED] * 20
    await elsewhere.stop()


async def test_a_worker_does_not_rescue_jobs_of_types_that_it_does_not_know(database: Database, store: Store, bus: Bus) -> None:
    of_next_version = job_type("of_next_version", quick)
    job = await _held_by(store, "w-dead", of_next_version)

    async with working(database, store, bus, LocalWire(), [QUICK]):
        known = await _held_by(store, "w-dead", QUICK)
        await ended(database, known)

    async with working(database, store, bus, LocalWire(), [of_next_version]):
        assert (await ended(database, job)).status is Status.COMPLETED


async def test_lost_jobs_of_unknown_types_do_not_keep_a_worker_from_rescuing_known_ones(
    database: Database, store: Store, bus: Bus
) -> None:
    of_next_version = job_type("of_next_version", quick)
    await asyncio.gather(*(_held_by(store, "w-dead", of_next_version) for _ in range(rescue.MOST_AT_ONCE)))
    job = await _held_by(store, "w-dead", QUICK)

    async with working(database, store, bus, LocalWire(), [QUICK]):
        assert (await ended(database, job)).status is Status.COMPLETED


async def test_a_worker_declared_gone_while_it_started_a_job_hands_the_job_back_unrun(
    database: Database, store: Store, bus: Bus, database_url: str, redis: str
) -> None:
    waits = (
        "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
    )
    wire = RedisWire(redis)
    await wire.start()
    async with other_process(database_url, redis=redis) as process:
        job = await queue(store, None, COSTLY, delay=NOT_FOR_A_WHILE)
        before = process.worker_id
        async with row_locked(database, job):
            wire.push([Hint.of(job)])
            await until_waiting_for_locks(database, 1)
            process.freeze()
            # The test ends the connection that waits, so that the process must send its `started`
            # again.
            await database.fetch_all(waits)
        async with working(database, store, bus, LocalWire(), [COSTLY], slots=0):
            await until(lambda: _is_gone(database, before))

        process.thaw()

        await process.says("running", job.id, 2)
        assert ["running", job.id, 1] not in process.said
    await wire.stop()
    assert (await words(store, job))[:4] == ["queued", "started", "queued: worker_shutdown", "started"]
    assert [worker == before for _, worker in await starts(store, job)] == [True, False]


async def test_a_worker_that_may_have_been_declared_gone_starts_no_job_before_it_has_checked(
    database: Database, store: Store, bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rescue, "HEARTBEAT", 600)
    settled: list[Job] = []
    async with working(database, store, bus, LocalWire(), [QUICK]) as worker:
        job = await queue(store, None, QUICK, delay=NOT_FOR_A_WHILE)
        worker.runner.lease(until=elapsed())

        worker.runner.run(claim_of(job), started=lambda: settled.append(job))

        assert (worker.runner.free, worker.runner.in_hand, settled) == (0, {}, [])
        monkeypatch.setattr(rescue, "LEASE", 60)
        await worker._heart.beat()
        assert worker.runner.free == worker.runner.slots.size
        worker.runner.run(claim_of(job), started=lambda: settled.append(job))
        await ended(database, job)
        assert settled == [job]


async def test_jobs_that_a_worker_claims_while_it_registers_anew_are_left_to_other_workers(
    database: Database, store: Store, bus: Bus
) -> None:
    async with working(database, store, bus, LocalWire(), [QUICK]) as worker:
        job = await queue(store, None, QUICK, delay=NOT_FOR_A_WHILE)

        worker.runner.lose()
        worker.runner.run(claim_of(job), started=lambda: None)
        worker.runner.go_on(worker.runner.worker_id)

        assert worker.runner.in_hand == {}
        await lives_on(worker, store, database)
    assert await words(store, job) == ["queued"]


async def _is_gone(database: Database, worker_id: str) -> bool:
    return worker_id in await _gone(database)
