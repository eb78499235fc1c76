"""A slot is taken once, free when the handler has ended, and released exactly once."""

import asyncio
from collections import defaultdict
from datetime import timedelta
from typing import Any

import pytest

from events import job as rules
from events.bus import Bus
from events.database import Database
from events.job import JSON, Status
from events.store import Store
from tests.job_types import (
    QUICK,
    cancel,
    claim_of,
    ended,
    job_type,
    lives_on,
    queue,
    row_locked,
    running,
    until,
    until_waiting_for_locks,
    wait_deaf_to_cancellation,
    words,
    working,
)
from workers.attempt import attempt
from workers.attempt.slots import Slots
from workers.delivery.wire import AttemptId, LocalWire
from workers.job_type import Context

FIRST, SECOND, THIRD, FOURTH = (AttemptId("a job", number) for number in range(1, 5))


def test_a_slot_is_free_when_its_handler_has_ended_and_released_when_the_end_is_written() -> None:
    slots = Slots(1)

    slots.take(FIRST, "quick")
    assert (slots.free, slots.all_free, slots.running_types, slots.holds(FIRST)) == (0, False, {"quick"}, True)

    slots.record(FIRST)
    assert (slots.free, slots.all_free, slots.running_types, slots.holds(FIRST)) == (1, False, set(), True)

    slots.release(FIRST)
    assert (slots.free, slots.all_free, slots.running_types, slots.holds(FIRST)) == (1, True, set(), False)


def test_at_most_as_many_ends_wait_to_be_written_as_there_are_slots() -> None:
    slots = Slots(2)
    for attempt_id in (FIRST, SECOND):
        slots.take(attempt_id, "quick")
        slots.record(attempt_id)
    assert slots.free == 2

    slots.take(THIRD, "quick")
    slots.record(THIRD)
    slots.take(FOURTH, "quick")

    assert slots.free == 0


@pytest.mark.parametrize("step", ["record", "release"])
def test_each_step_that_frees_a_slot_wakes_the_tasks_that_wait_for_one(step: str) -> None:
    slots = Slots(1)
    slots.take(FIRST, "quick")
    assert not slots.freed.is_set()

    getattr(slots, step)(FIRST)

    assert slots.freed.is_set()


def test_an_attempt_cannot_be_released_twice() -> None:
    slots = Slots(1)
    slots.take(FIRST, "quick")
    slots.release(FIRST)

    with pytest.raises(KeyError):
        slots.release(FIRST)


async def test_while_an_end_is_being_written_one_more_attempt_runs_but_not_two(
    database: Database, store: Store, bus: Bus, wire: LocalWire
) -> None:
    entered: list[str] = []
    finish: dict[str, asyncio.Event] = defaultdict(asyncio.Event)

    async def wait(context: Context, payload: Any) -> JSON:
        entered.append(context.job_id)
        await finish[context.job_id].wait()
        return None

    async with working(database, store, bus, wire, [job_type("waits", wait)], slots=1) as worker:
        first, second, third = [await queue(store, wire, job_type("waits", wait)) for _ in range(3)]
        await until(lambda: entered == [first.id])
        async with row_locked(database, first):
            finish[first.id].set()
            await until(lambda: entered == [first.id, second.id])

            async with row_locked(database, second):
                finish[second.id].set()
                await until_waiting_for_locks(database, 2)
                assert worker.runner.free == 0
                assert worker.runner.in_hand.keys() == {first.id, second.id}
        await until(lambda: entered == [first.id, second.id, third.id])
        finish[third.id].set()
        for job in (first, second, third):
            assert (await ended(database, job)).status is Status.COMPLETED
        await lives_on(worker, store, database)


async def test_a_late_hint_of_an_attempt_whose_handler_is_still_stopping_releases_no_slot(
    database: Database, store: Store, bus: Bus, wire: LocalWire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempt, "PATIENCE", 60.0)  # otherwise a slow machine frees the slot before the late hint comes
    stop, finish = asyncio.Event(), asyncio.Event()
    settled: list[str] = []

    async def wait(context: Context, payload: Any) -> JSON:
        if context.attempt == 1:
            await wait_deaf_to_cancellation(stop)
        await finish.wait()
        return context.attempt

    waits = job_type("waits", wait)
    async with working(database, store, bus, wire, [waits], slots=2) as worker:
        first_attempt = await running(database, await queue(store, wire, waits))
        canceled = await cancel(store, first_attempt)
        await until(worker.runner.attempts[canceled.id].task.cancelling)
        second_attempt = await store.append(canceled, rules.retry, actor="user:test")
        await until(lambda: worker.runner.in_hand[canceled.id].number == 2)
        await running(database, second_attempt, attempt=2)

        worker.runner.run(claim_of(first_attempt), started=lambda: settled.append("late hint"))

        assert settled == ["late hint"]
        assert worker.runner.free == 0
        finish.set()
        stop.set()
        assert (await ended(database, second_attempt)).result == 2
        await lives_on(worker, store, database)


@pytest.mark.parametrize("refusal", ["the job was canceled", "the write to the log fails"])
async def test_a_start_that_fails_frees_its_slot_and_settles_its_hint_once(
    database: Database, store: Store, bus: Bus, wire: LocalWire, monkeypatch: pytest.MonkeyPatch, refusal: str
) -> None:
    settled: list[str] = []

    def break_the_log(*facts: Any, **more: Any) -> asyncio.Future[Any]:
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        answer.set_exception(OSError(refusal))
        return answer

    async with working(database, store, bus, wire, [QUICK], slots=1) as worker:
        job = await queue(store, None, QUICK, delay=timedelta(hours=1))
        if refusal == "the job was canceled":
            await cancel(store, job)
        else:
            monkeypatch.setattr(store, "start_attempt", break_the_log)

        worker.runner.run(claim_of(job), started=lambda: settled.append(job.id))

        assert worker.runner.free == 0
        await until(lambda: worker.runner.free == 1)
        assert settled == [job.id]
        assert worker.runner.slots.all_free
        assert not worker.runner.in_hand
        monkeypatch.undo()
        await lives_on(worker, store, database)
    assert "started" not in await words(store, job)
