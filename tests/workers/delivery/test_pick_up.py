"""A worker gets a due job at once by its hint, or else by the tick, even behind a backlog."""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from events.bus import Bus, Change
from events.database import DATABASE_ERRORS, Database
from events.job import JSON
from events.store import Store
from events.writes import new_job_id
from projections.jobs import JobsView
from tests.job_types import (
    QUICK,
    cancel,
    capacity_for,
    ended,
    fail_in_first_attempt,
    job_type,
    new_worker,
    queue,
    row_locked,
    running,
    until,
    working,
)
from tests.proxy import Fault, proxy_before
from tests.workers.delivery.deliveries import NEVER
from workers.delivery import enqueue as enqueuing
from workers.delivery import tick as deliver
from workers.delivery import wire as wire_module
from workers.delivery.enqueue import enqueue_many
from workers.delivery.redis_wire import RedisWire
from workers.delivery.tick import Delivery
from workers.delivery.wire import AttemptId, Capacity, Claim, Hint, LocalWire, Wire
from workers.job_type import Backoff, Context


async def test_a_job_is_picked_up_without_waiting_for_the_tick(
    database: Database, store: Store, bus: Bus, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliver, "TICK", NEVER)
    started: dict[str, float] = {}

    def note_start(change: Change) -> None:
        if change.status == "processing":
            started[change.job_id] = time.monotonic()

    bus.listen(note_start)

    async with working(database, store, bus, wire, [QUICK]):
        latencies = []
        for n in range(20):
            job = await queue(store, wire, QUICK, {"n": n})
            queued = time.monotonic()
            assert (await ended(database, job)).result == {"n": n}
            latencies.append(started[job.id] - queued)

    assert sorted(latencies)[10] < 0.2, latencies


async def test_a_job_queued_while_another_is_being_claimed_is_picked_up_at_once(
    database: Database, store: Store, bus: Bus, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliver, "TICK", NEVER)
    latencies = []

    async with working(database, store, bus, wire, [QUICK]):
        for n in range(20):
            first, second = [await queue(store, None, QUICK) for _ in range(2)]
            wire.push([Hint.of(first)])
            for _ in range(10 * n):
                await asyncio.sleep(0)

            wire.push([Hint.of(second)])

            pushed = time.monotonic()
            await ended(database, first)
            await ended(database, second)
            latencies.append(time.monotonic() - pushed)

    assert max(latencies) < 0.6, latencies


async def test_a_job_that_was_handed_back_is_picked_up_without_waiting_for_the_tick(
    database: Database, store: Store, bus: Bus, over_redis: RedisWire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliver, "TICK", NEVER)

    async def once_for_ever(context: Context, payload: Any) -> JSON:
        if context.attempt == 1:
            await asyncio.Event().wait()
        return context.attempt

    once_for_ever_type = job_type("once_for_ever", once_for_ever)
    async with working(database, store, bus, over_redis, [once_for_ever_type]):
        job = await running(database, await queue(store, over_redis, once_for_ever_type))
        other = new_worker(database, store, bus, over_redis, [once_for_ever_type])
        await other.start()
    # The first worker has stopped and handed the job back, so the other worker runs it.
    assert (await ended(database, job)).result == 2
    await other.stop(grace=0)


async def test_jobs_that_were_queued_before_the_worker_started_are_found_in_the_log(
    database: Database, store: Store, bus: Bus, wire: Wire
) -> None:
    jobs = [await queue(store, None, QUICK, {"n": n}) for n in range(5)]

    async with working(database, store, bus, wire, [QUICK]):
        assert [(await ended(database, job)).result for job in jobs] == [{"n": n} for n in range(5)]


async def test_a_delayed_job_starts_when_it_is_due_and_not_before(
    database: Database, store: Store, bus: Bus, wire: Wire
) -> None:
    async with working(database, store, bus, wire, [QUICK]):
        jobs = [await queue(store, wire, QUICK, delay=timedelta(seconds=seconds)) for seconds in (0.5, 0.2, 1.0)]

        for job in [await ended(database, job) for job in jobs]:
            assert job.started_at is not None
            assert timedelta(0) <= job.started_at - job.run_at < timedelta(seconds=1)


async def test_a_retry_starts_when_its_backoff_is_over(database: Database, store: Store, bus: Bus, wire: Wire) -> None:
    fails_once = job_type("fails_once", fail_in_first_attempt, backoff=Backoff(first=0.4, jitter=0))
    async with working(database, store, bus, wire, [fails_once]):
        job = await ended(database, await queue(store, wire, fails_once))

    assert job.started_at is not None
    assert job.attempt == 2
    assert timedelta(0) <= job.started_at - job.run_at < timedelta(seconds=1)


async def test_the_backlog_of_one_type_does_not_starve_another(
    database: Database, store: Store, bus: Bus, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    _set_window(monkeypatch, 30)
    monkeypatch.setattr(deliver, "DELIVER_AGAIN", NEVER)
    ran: list[str] = []

    async def note(context: Context, payload: Any) -> JSON:
        ran.append(payload.kind)
        await asyncio.sleep(0.02)
        return None

    many, few = job_type("many", note), job_type("few", note)
    jobs = [await queue(store, None, many, {"kind": "many"}) for _ in range(60)]
    jobs += [await queue(store, None, few, {"kind": "few"}) for _ in range(2)]

    async with working(database, store, bus, wire, [many, few], slots=1):
        for job in jobs[-2:]:
            await ended(database, job)

    # The two types take turns, although there is only one slot.
    assert ran[:4].count("few") == 2, ran


async def test_a_type_keeps_its_turn_while_the_end_of_its_last_attempt_is_being_written(
    database: Database, store: Store, bus: Bus, wire: Wire
) -> None:
    ran: list[str] = []
    may_end = asyncio.Event()

    async def note(context: Context, payload: Any) -> JSON:
        ran.append(payload.kind)
        if ran == ["few"]:
            await may_end.wait()
        return None

    few, many = job_type("few", note), job_type("many", note)
    first, second = [await queue(store, None, few, {"kind": "few"}) for _ in range(2)]
    other, *_ = [await queue(store, None, many, {"kind": "many"}) for _ in range(4)]

    async with working(database, store, bus, wire, [few, many], slots=1):
        await running(database, first)
        async with row_locked(database, first):
            may_end.set()
            await ended(database, other)
            await ended(database, second)

    assert ran[:3] == ["few", "many", "few"], ran


async def test_a_backlog_is_delivered_completely_in_parts(
    database: Database, store: Store, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    _set_window(monkeypatch, 20)
    monkeypatch.setattr(deliver, "DELIVER_AGAIN", NEVER)
    jobs = [await queue(store, None, QUICK) for _ in range(75)]
    delivery = Delivery(database, JobsView(database), wire, _quick_only)
    taken: list[Claim] = []

    while len(taken) < len(jobs):
        await delivery.deliver_due_jobs()
        claims = await until(lambda: wire.claim(capacity_for(7, "quick")))
        for claim in claims:
            # Acts as if the job were started: it is not due, and its hint is removed.
            await database.execute("update jobs set status = 'completed' where id = :id", {"id": claim.id.job_id})
            wire.settle(claim)
        taken += claims
        assert await wire.length("quick") <= 30

    assert sorted(claim.id.job_id for claim in taken) == sorted(job.id for job in jobs)


async def test_a_job_that_becomes_due_before_the_reached_place_is_found_by_the_next_pass(
    database: Database, store: Store, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    _set_window(monkeypatch, 20)
    jobs = [await queue(store, None, QUICK) for _ in range(50)]
    delivery = Delivery(database, JobsView(database), wire, _quick_only)
    await delivery.deliver_due_jobs()
    late = await queue(store, None, QUICK)
    await database.execute("update jobs set run_at = :first where id = :id", {"first": jobs[3].run_at, "id": late.id})

    async def more_comes() -> bool:
        await delivery.deliver_due_jobs()
        return await wire.length("quick") > 20

    assert await until(lambda: wire.length("quick")) == 20
    await until(more_comes)
    assert late.id in [claim.id.job_id for claim in await wire.claim(capacity_for(100, "quick"))]


async def test_due_jobs_that_a_failed_tick_has_read_are_delivered_by_the_next_tick(
    database: Database, store: Store, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _set_window(monkeypatch, 20)
    monkeypatch.setattr(deliver, "DELIVER_AGAIN", NEVER)
    jobs = [await queue(store, None, QUICK) for _ in range(50)]
    wire = LocalWire()
    async with proxy_before(database_url) as proxy:
        far = Database(proxy.url)
        await far.connect()
        delivery = Delivery(far, JobsView(far), wire, _quick_only)
        # Breaks the query that follows the one for due jobs.
        proxy.once("order by run_at limit 1", Fault.CUT_BEFORE)
        with pytest.raises(DATABASE_ERRORS):
            await delivery.deliver_due_jobs()

        await delivery.deliver_due_jobs()

        await far.disconnect()
    assert proxy.faults_met
    claims = await wire.claim(capacity_for(100, "quick"))
    assert [claim.id.job_id for claim in claims] == [job.id for job in jobs[:20]]


async def _quick_only() -> list[str]:
    return ["quick"]


async def test_many_jobs_queued_by_one_call_all_run_and_the_wire_holds_a_limited_number(
    database: Database, store: Store, bus: Bus, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (deliver, enqueuing):
        monkeypatch.setattr(module, "WINDOW", 20)

    jobs = await enqueue_many(store, wire, QUICK, [{"n": n} for n in range(50)], user_id=None, actor="system:test")

    assert await until(lambda: wire.length("quick")) == 20
    async with working(database, store, bus, wire, [QUICK]):
        assert [(await ended(database, job)).result for job in jobs] == [{"n": n} for n in range(50)]


async def test_long_jobs_of_one_type_leave_a_slot_to_another(database: Database, store: Store, bus: Bus, wire: Wire) -> None:
    finish = asyncio.Event()

    async def wait(context: Context, payload: Any) -> JSON:
        await finish.wait()
        return None

    endless = job_type("endless", wait)
    async with working(database, store, bus, wire, [endless, QUICK], slots=4) as worker:
        jobs = [await queue(store, wire, endless) for _ in range(10)]
        await until(lambda: worker.runner.free == 1)

        for _ in range(3):
            await ended(database, await queue(store, wire, QUICK))

        # Every slot that becomes free is used.
        await cancel(store, jobs[0])
        await cancel(store, jobs[1])
        await until(lambda: {jobs[n].id for n in (2, 3, 4)} == set(worker.runner.attempts))
        finish.set()
        for job in jobs[2:]:
            await ended(database, job)


@pytest.mark.parametrize(
    ("waiting", "room", "expected"),
    [
        ({"a": 5, "b": 5}, Capacity(4, 0, ["a", "b"], []), ["a", "a", "b", "b"]),
        ({"a": 5, "b": 1}, Capacity(4, 0, ["b", "a"], []), ["a", "a", "a", "b"]),
        ({"a": 5, "b": 5}, Capacity(1, 0, ["b", "a"], ["a", "b"]), ["b"]),
        ({"a": 5, "b": 5}, Capacity(1, 0, ["b", "a"], ["a"]), ["a"]),
        ({"a": 5}, Capacity(3, 2, ["a", "b", "c"], ["b", "c"]), ["a"]),
        ({"a": 5}, Capacity(3, 1, ["a", "b", "c"], ["b", "c"]), ["a", "a"]),
        ({"a": 5, "b": 5}, Capacity(3, 2, ["a", "b", "c"], ["a", "b", "c"]), ["a", "b"]),
        ({"a": 5}, Capacity(1, 5, ["a", "b"], ["b"]), []),
        ({"a": 5}, Capacity(0, 0, ["a"], ["a"]), []),
        ({}, Capacity(3, 1, ["a", "b"], ["a"]), []),
    ],
)
async def test_a_claim_takes_from_every_queue_in_turn_and_keeps_slots_for_types_that_do_not_run(
    wire: Wire, waiting: dict[str, int], room: Capacity, expected: list[str]
) -> None:
    now = datetime.now(UTC)
    wire.push([Hint(AttemptId(new_job_id(), 1), type, now) for type, hints in waiting.items() for _ in range(hints)])
    await until(lambda: _has_arrived(wire, sum(waiting.values())))

    claims = await wire.claim(room)

    assert sorted(claim.type for claim in claims) == expected


async def _has_arrived(wire: Wire, hints: int) -> bool:
    if isinstance(wire, LocalWire):
        return True
    assert isinstance(wire, RedisWire)
    return sum([int(await wire.redis.zcard(queue)) async for queue in wire.redis.scan_iter("arq:queue/*")]) == hints


def _set_window(monkeypatch: pytest.MonkeyPatch, hints: int) -> None:
    for module in (deliver, wire_module):
        monkeypatch.setattr(module, "WINDOW", hints)
