"""A cancel at any moment of an attempt, and several reasons to stop at once."""

import asyncio
import random
import time
from collections import defaultdict
from datetime import timedelta
from typing import Any

import pytest

from events import job as rules
from events.bus import Bus
from events.database import Database
from events.job import JSON, Failed, Job, NotAllowed, Status
from events.store import Store
from tests.job_types import (
    HANG,
    QUICK,
    cancel,
    claim_of,
    ended,
    events_of,
    hang,
    job_type,
    lives_on,
    must_fold,
    new_worker,
    queue,
    row_locked,
    running,
    swallow_cancellation,
    until,
    until_waiting_for_locks,
    words,
    working,
)
from workers.attempt.attempt import Interruption
from workers.delivery.wire import LocalWire
from workers.job_type import Context


async def test_a_job_that_was_canceled_while_queued_is_never_run(
    database: Database, store: Store, bus: Bus, wire: LocalWire
) -> None:
    job = await queue(store, wire, QUICK)
    await cancel(store, job)

    async with working(database, store, bus, wire, [QUICK]) as worker:
        await ended(database, await queue(store, wire, QUICK))
        await lives_on(worker, store, database)

    assert await words(store, job) == ["queued", "canceled"]


@pytest.mark.parametrize("first", ["cancel", "started"])
async def test_a_cancel_while_started_is_being_written_ends_the_job_in_either_order(
    database: Database, store: Store, bus: Bus, wire: LocalWire, first: str
) -> None:
    # The cancel goes through another store, because one store would never write the cancel and
    # `started` together.
    elsewhere = Store(database, bus)
    await elsewhere.start()
    async with working(database, store, bus, wire, [HANG]) as worker:
        job = await queue(store, None, HANG, delay=timedelta(hours=1))
        async with row_locked(database, job):
            if first == "cancel":
                canceling = asyncio.create_task(cancel(elsewhere, job))
                await until_waiting_for_locks(database, 1)
                worker.runner.run(claim_of(job), started=lambda: None)
            else:
                worker.runner.run(claim_of(job), started=lambda: None)
                await until_waiting_for_locks(database, 1)
                canceling = asyncio.create_task(cancel(elsewhere, job))
            await until_waiting_for_locks(database, 2)

        assert (await canceling).status is Status.CANCELED
        await lives_on(worker, store, database)

    assert await words(store, job) == (["queued", "canceled"] if first == "cancel" else ["queued", "started", "canceled"])
    await elsewhere.stop()


async def test_an_attempt_is_not_started_if_the_job_waits_for_another_attempt(
    database: Database, store: Store, bus: Bus, wire: LocalWire
) -> None:
    seen: list[int] = []

    async def note(context: Context, payload: Any) -> JSON:
        seen.append(context.attempt)
        return None

    notes = job_type("notes", note)
    async with working(database, store, bus, wire, [notes]) as worker:
        job = await queue(store, None, notes, delay=timedelta(hours=1))
        canceled = await cancel(store, job)
        async with row_locked(database, job):
            retrying = asyncio.create_task(store.append(canceled, rules.retry, actor="user:test"))
            await until_waiting_for_locks(database, 1)
            # The worker still has the hint from before the cancel.
            worker.runner.run(claim_of(job), started=lambda: None)
        await retrying

        await ended(database, job)
        await lives_on(worker, store, database)

    assert seen == [2]
    assert await words(store, job) == ["queued", "canceled", "queued: manual_retry", "started", "completed"]


async def test_a_handler_whose_job_was_canceled_before_it_began_is_never_called(
    database: Database, store: Store, bus: Bus, wire: LocalWire, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered: list[int] = []
    on_its_way: asyncio.Future[Job | None] = asyncio.get_running_loop().create_future()
    start_attempt = store.start_attempt

    async def enter(context: Context, payload: Any) -> JSON:
        entered.append(context.attempt)
        return None

    enters = job_type("enters", enter)
    async with working(database, store, bus, wire, [enters]) as worker:
        # The job is not due yet, so that the tick does not deliver it.
        job = await queue(store, None, enters, delay=timedelta(hours=1))
        answers: list[asyncio.Future[Job | None]] = []

        def start_late(*facts: Any, **more: Any) -> asyncio.Future[Job | None]:
            answers.append(start_attempt(*facts, **more))
            return on_its_way

        monkeypatch.setattr(store, "start_attempt", start_late)
        worker.runner.run(claim_of(job), started=lambda: None)
        started = await answers[0]

        # The bus announces the cancel before the worker gets the answer to its own write.
        await cancel(store, job)
        on_its_way.set_result(started)

        await until(lambda: not worker.runner.in_hand)

    assert entered == []


async def test_a_running_handler_is_canceled_at_once(database: Database, store: Store, bus: Bus, wire: LocalWire) -> None:
    canceled: list[float] = []

    async def wait(context: Context, payload: Any) -> JSON:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            canceled.append(time.monotonic())
            raise
        return None

    waits = job_type("waits", wait)
    async with working(database, store, bus, wire, [waits]) as worker:
        latencies = []
        for _ in range(10):
            job = await running(database, await queue(store, wire, waits))
            canceled.clear()
            asked = time.monotonic()

            job = await cancel(store, job)

            await until(lambda: canceled)
            latencies.append(canceled[0] - asked)
            assert job.status is Status.CANCELED
        assert sorted(latencies)[5] < 0.15, latencies
        await lives_on(worker, store, database)
    assert await words(store, job) == ["queued", "started", "canceled"]


async def test_a_cancel_and_a_completion_at_once_have_one_winner_and_the_loser_gets_the_state(
    database: Database, store: Store, bus: Bus, wire: LocalWire
) -> None:
    finish: dict[str, asyncio.Event] = defaultdict(asyncio.Event)
    started: dict[str, asyncio.Event] = defaultdict(asyncio.Event)
    elsewhere = Store(database, bus)
    await elsewhere.start()

    async def wait(context: Context, payload: Any) -> JSON:
        started[context.job_id].set()
        await finish[context.job_id].wait()
        return "done"

    waits = job_type("waits", wait)
    async with working(database, store, bus, wire, [waits], slots=100) as worker:
        jobs = [await queue(store, None, waits) for _ in range(100)]
        for job in jobs:
            worker.runner.run(claim_of(job), started=lambda: None)
        await asyncio.gather(*(started[job.id].wait() for job in jobs))

        told = await asyncio.gather(*(_finish_and_cancel(elsewhere, job, finish[job.id]) for job in jobs))

        await until(lambda: not worker.runner.in_hand)
        for job, status in zip(jobs, told, strict=True):
            assert await words(store, job) == ["queued", "started", status.value]
            await must_fold(database, store, job)
        assert worker.runner.free == 100
    assert set(told) <= {Status.CANCELED, Status.COMPLETED}
    await elsewhere.stop()


async def _finish_and_cancel(store: Store, job: Job, finish: asyncio.Event) -> Status:
    """Lets the handler return and cancels the job at about the same time. Returns its status."""
    if random.random() < 0.5:
        finish.set()
        canceling = asyncio.create_task(cancel(store, job))
    else:
        canceling = asyncio.create_task(cancel(store, job))
        for _ in range(random.randrange(4)):
            await asyncio.sleep(0)
        finish.set()
    try:
        return (await canceling).status
    except NotAllowed as refusal:
        return refusal.job.status


async def test_a_job_that_is_canceled_and_retried_runs_again_while_its_old_handler_is_still_stopping(
    database: Database, store: Store, bus: Bus, wire: LocalWire
) -> None:
    async def be_slow_to_stop(context: Context, payload: Any) -> JSON:
        if context.attempt == 1:
            return await swallow_cancellation(context, payload)
        return context.attempt

    slow_to_stop = job_type("slow_to_stop", be_slow_to_stop)
    async with working(database, store, bus, wire, [slow_to_stop]) as worker:
        job = await running(database, await queue(store, wire, slow_to_stop))
        job = await cancel(store, job)

        job = await store.append(job, rules.retry, actor="user:test")

        assert (await ended(database, job)).result == 2
        await lives_on(worker, store, database)
    assert await words(store, job) == ["queued", "started", "canceled", "queued: manual_retry", "started", "completed"]


async def test_a_handler_that_has_returned_when_the_worker_stops_is_completed_and_not_handed_back(
    database: Database, store: Store, bus: Bus, wire: LocalWire
) -> None:
    finish = asyncio.Event()

    async def wait(context: Context, payload: Any) -> JSON:
        await finish.wait()
        return "done"

    waits = job_type("waits", wait)
    worker = new_worker(database, store, bus, wire, [waits])
    await worker.start()
    job = await running(database, await queue(store, wire, waits))
    await until(lambda: worker.runner.attempts)
    # The task that takes jobs ends first, so that `stop` only has to deal with the running job.
    worker._stopping.set()
    await until(lambda: worker._taking is not None and worker._taking.done())

    asyncio.get_running_loop().call_soon(finish.set)
    await worker.stop(grace=0)

    assert await words(store, job) == ["queued", "started", "completed"]


@pytest.mark.parametrize(
    ("first", "then", "history"),
    [
        (Interruption.LOST, Interruption.STOPPING, ["queued", "started", "queued: worker_shutdown"]),
        (Interruption.STOPPING, Interruption.TIMEOUT, ["queued", "started", "failed"]),
        (Interruption.LOST, Interruption.TIMEOUT, ["queued", "started", "failed"]),
        (Interruption.TIMEOUT, Interruption.LOST, ["queued", "started", "failed"]),
    ],
    ids=lambda value: value.name.lower() if isinstance(value, Interruption) else "",
)
async def test_the_strongest_of_several_reasons_to_stop_is_recorded(
    database: Database, store: Store, bus: Bus, first: Interruption, then: Interruption, history: list[str]
) -> None:
    once = job_type("once", hang, max_attempts=1)
    async with working(database, store, bus, LocalWire(), [once]) as worker:
        job = await queue(store, None, once, delay=timedelta(hours=1))
        worker.runner.run(claim_of(job), started=lambda: None)
        await until(lambda: worker.runner.attempts)
        attempt = worker.runner.attempts[job.id]

        attempt.interrupt(first)
        attempt.interrupt(then)

        await until(lambda: worker.runner.attempts.get(job.id) is not attempt)
        assert (await words(store, job))[:3] == history
    assert [event.error.name for event in await events_of(store, job, Failed)] in ([], ["Timeout"])
