"""An attempt ends as completed, failed, retried, given up or timed out."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from events.bus import Bus, Change
from events.database import Database
from events.job import JSON, Canceled, Failed, Queued, Status
from events.store import Store
from tests.job_types import (
    FAIL_ONCE,
    QUICK,
    ended,
    events_of,
    fail_for_good,
    give_up,
    hang,
    job_type,
    queue,
    row_locked,
    starts,
    until_waiting_for_locks,
    words,
    working,
)
from tests.workers.attempt.attempts import run_one
from workers.attempt import failures
from workers.delivery.wire import Hint, LocalWire
from workers.job_type import Backoff, Context
from workers.outcomes import GiveUp


async def test_a_job_is_started_and_completed(database: Database, store: Store, bus: Bus, wire: LocalWire) -> None:
    async with working(database, store, bus, wire, [QUICK]) as worker:
        job = await ended(database, await queue(store, wire, QUICK, {"n": 7}))

        assert await words(store, job) == ["queued", "started", "completed"]
        assert await starts(store, job) == [(1, worker.runner.worker_id)]
        assert (job.status, job.result, job.error, job.attempt) == (Status.COMPLETED, {"n": 7}, None, 1)
        actors = [recorded.actor for recorded in await store.history.events(job.id)]
        assert actors == ["system:test", *[f"worker:{worker.runner.worker_id}"] * 2]


async def test_a_failing_job_is_retried_with_backoff_until_its_attempts_are_used_up(
    database: Database, store: Store, bus: Bus
) -> None:
    async def fail(context: Context, payload: Any) -> JSON:
        raise ValueError(f"attempt {context.attempt} fails")

    fails = job_type("fails", fail, max_attempts=3, backoff=Backoff(first=0.1, ceiling=10, jitter=0))

    job = await run_one(database, store, bus, fails)

    attempt = ["started", "failed, retried", "queued: retry"]
    assert await words(store, job) == ["queued", *attempt, *attempt, "started", "failed"]
    history = await store.history.events(job.id)
    assert [recorded.attempt for recorded in history] == [1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert [event.delay for event in await events_of(store, job, Queued)][1:] == [
        timedelta(seconds=0.1),
        timedelta(seconds=0.2),
    ]
    for queued, started in ((history[3], history[4]), (history[6], history[7])):
        assert isinstance(queued.event, Queued)
        assert started.at >= queued.at + queued.event.delay
    assert job.error is not None
    assert (job.status, job.error.name, job.error.message) == (Status.FAILED, "ValueError", "attempt 3 fails")
    assert "in fail" in (job.error.stack or "")


async def test_an_error_of_an_earlier_attempt_is_cleared_by_completion(database: Database, store: Store, bus: Bus) -> None:
    job = await run_one(database, store, bus, FAIL_ONCE)

    assert await words(store, job) == ["queued", "started", "failed, retried", "queued: retry", "started", "completed"]
    assert (job.error, job.result, job.max_attempts) == (None, {"attempt": 2}, 5)


async def test_a_failure_and_its_retry_become_visible_together(
    database: Database, store: Store, bus: Bus, wire: LocalWire
) -> None:
    seen: list[Change] = []
    bus.listen(seen.append)

    async with working(database, store, bus, wire, [FAIL_ONCE]):
        job = await ended(database, await queue(store, wire, FAIL_ONCE))

    assert [change.status for change in seen if change.job_id == job.id] == [
        "queued", "processing", "queued", "processing", "completed"
    ]  # fmt: skip
    transactions = "select count(distinct xid) from job_events where job_id = :id and seq in (3, 4)"
    assert await database.fetch_val(transactions, {"id": job.id}) == 1


async def test_an_error_that_forbids_a_retry_ends_the_job_at_once(database: Database, store: Store, bus: Bus) -> None:
    job = await run_one(database, store, bus, job_type("hopeless", fail_for_good))

    assert await words(store, job) == ["queued", "started", "failed"]
    assert job.error is not None
    assert (job.error.name, job.error.message) == ("NotWorthAnotherTry", "this error forbids a retry")


async def test_a_handler_that_gives_up_cancels_its_job(database: Database, store: Store, bus: Bus) -> None:
    job = await run_one(database, store, bus, job_type("gives_up", give_up))

    assert await words(store, job) == ["queued", "started", "canceled"]
    assert await events_of(store, job, Canceled) == [Canceled("the handler gives up")]


@pytest.mark.parametrize(
    "reason", ["a \ud800 half", "nothing \x00 at all", "long " * 200_000], ids=["a lone surrogate", "NUL", "a megabyte"]
)
async def test_a_handler_may_give_up_with_any_text_as_its_reason(
    database: Database, store: Store, bus: Bus, reason: str
) -> None:
    async def give_up(context: Context, payload: Any) -> JSON:
        raise GiveUp(reason)

    job = await run_one(database, store, bus, job_type("gives_up", give_up))

    assert await words(store, job) == ["queued", "started", "canceled"]
    (canceled,) = await events_of(store, job, Canceled)
    assert "\x00" not in canceled.reason
    assert len(canceled.reason) <= failures.LONGEST_MESSAGE


async def test_an_attempt_that_passes_its_deadline_times_out_and_is_retried(database: Database, store: Store, bus: Bus) -> None:
    job = await run_one(database, store, bus, job_type("endless", hang, deadline=0.1, max_attempts=2))

    assert await words(store, job) == ["queued", "started", "failed, retried", "queued: retry", "started", "failed"]
    assert {event.error.name for event in await events_of(store, job, Failed)} == {"Timeout"}
    assert job.error is not None
    assert job.error.message == "the attempt did not end within 0.1 seconds"


async def test_a_result_that_a_handler_returns_after_its_deadline_is_ignored(
    database: Database, store: Store, bus: Bus
) -> None:
    async def return_when_told_to_stop(context: Context, payload: Any) -> JSON:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "here you are"

    job = await run_one(database, store, bus, job_type("late", return_when_told_to_stop, deadline=0.1, max_attempts=1))

    assert await words(store, job) == ["queued", "started", "failed"]
    assert job.error is not None
    assert (job.error.name, job.result) == ("Timeout", None)


async def test_a_handler_is_called_only_after_started_is_committed(
    database: Database, store: Store, bus: Bus, wire: LocalWire
) -> None:
    entered: list[int] = []

    async def enter(context: Context, payload: Any) -> JSON:
        entered.append(context.attempt)
        return None

    enters = job_type("enters", enter)
    async with working(database, store, bus, wire, [enters]):
        job = await queue(store, None, enters, delay=timedelta(hours=1))
        async with row_locked(database, job):
            wire.push([Hint.of(job)])
            await until_waiting_for_locks(database, 1)

            assert entered == []

        await ended(database, job)
        assert entered == [1]
