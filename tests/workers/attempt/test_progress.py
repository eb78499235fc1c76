"""Progress reports are throttled and appended in order. The last report is never dropped."""

import asyncio
import time
from itertools import pairwise
from typing import Any

import pytest

from events.bus import Bus
from events.database import Database
from events.job import JSON, Job, Progress
from events.store import Store
from tests.job_types import (
    HANG,
    LONG,
    cancel,
    ended,
    events_of,
    job_type,
    lives_on,
    must_fold,
    queue,
    row_locked,
    until,
    until_job,
    until_waiting_for_locks,
    words,
    working,
)
from tests.workers.attempt.attempts import run_one
from workers.attempt import progress as progress_module
from workers.delivery.wire import LocalWire
from workers.job_type import Context
from workers.outcomes import Final


async def test_the_first_report_the_first_change_and_the_last_report_are_always_appended(
    database: Database, store: Store, bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress_module, "PROGRESS_EVERY", 0.3)
    began: list[float] = []

    async def report(context: Context, payload: Any) -> JSON:
        began.append(time.monotonic())
        await context.progress({"at": 0})
        n = 0
        while time.monotonic() < began[0] + 0.8:
            n += 1
            await context.progress({"at": n})
            await asyncio.sleep(0.005)
        await context.progress({"at": "the end"})
        raise Final("a job that only reports progress")

    job = await run_one(database, store, bus, job_type("reports", report))

    history = await store.history.events(job.id)
    reports = [(recorded.event.result["at"], recorded.at) for recorded in history if isinstance(recorded.event, Progress)]
    values = [value for value, _ in reports]
    assert values[:2] == [0, 1]
    assert values[-1] == "the end"
    assert values[2:-1] == sorted(values[2:-1])
    assert 4 <= len(values) <= 6
    times = [at for _, at in reports[1:-1]]
    gaps = [(after - before).total_seconds() for before, after in pairwise(times)]
    assert all(gap > 0.25 for gap in gaps), gaps
    assert job.result == {"at": "the end"}


async def test_a_throttled_report_is_appended_although_no_other_follows(
    database: Database, store: Store, bus: Bus, wire: LocalWire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress_module, "PROGRESS_EVERY", 0.2)

    async def report(context: Context, payload: Any) -> JSON:
        for n in range(5):
            await context.progress(n)
        await asyncio.Event().wait()
        return None

    reports = job_type("reports", report)
    async with working(database, store, bus, wire, [reports]):
        job = await queue(store, wire, reports)

        await until_job(database, job, lambda now: now.result == 4)

    assert await events_of(store, job, Progress) == [Progress(0), Progress(1), Progress(4)]


async def test_a_report_waits_while_another_one_is_being_appended(
    database: Database, store: Store, bus: Bus, wire: LocalWire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress_module, "PROGRESS_EVERY", 0.8)
    reported, report_more = asyncio.Event(), asyncio.Event()

    async def report(context: Context, payload: Any) -> JSON:
        for n in range(3):
            await context.progress(n)
        reported.set()
        await report_more.wait()
        await context.progress(3)
        await asyncio.Event().wait()
        return None

    reports = job_type("reports", report)
    async with working(database, store, bus, wire, [reports]):
        job = await queue(store, wire, reports)
        await reported.wait()
        async with row_locked(database, job):
            await until_waiting_for_locks(database, 1)
            report_more.set()
            for _ in range(20):
                await asyncio.sleep(0)
        await until_job(database, job, lambda now: now.result == 3)

    times = [recorded.at for recorded in await store.history.events(job.id) if isinstance(recorded.event, Progress)]
    assert len(times) == 4
    assert (times[3] - times[2]).total_seconds() > 0.7


async def test_a_report_keeps_the_values_of_the_moment_of_its_call(
    database: Database, store: Store, bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress_module, "PROGRESS_EVERY", 0.05)

    async def mutate(context: Context, payload: Any) -> JSON:
        rooms: list[int] = []
        for n in range(3):
            rooms.append(n)
            await context.progress({"rooms": rooms})
        rooms.append(99)
        raise Final("enough")

    job = await run_one(database, store, bus, job_type("mutates", mutate))

    reports = await events_of(store, job, Progress)
    assert [event.result["rooms"] for event in reports] == [[0], [0, 1], [0, 1, 2]]


@pytest.mark.parametrize("many", [2, 50])
async def test_reports_of_many_tasks_at_once_keep_their_order(database: Database, store: Store, bus: Bus, many: int) -> None:
    async def report(context: Context, payload: Any) -> JSON:
        await asyncio.gather(*(context.progress(n) for n in range(many)))
        raise Final("enough")

    job = await run_one(database, store, bus, job_type("reports", report))

    values = [event.result for event in await events_of(store, job, Progress)]
    assert values == sorted(values)
    assert values[-1] == many - 1


async def test_progress_after_a_cancel_is_refused(database: Database, store: Store, bus: Bus, wire: LocalWire) -> None:
    async def report_for_ever(context: Context, payload: Any) -> JSON:
        n = 0
        try:
            while True:
                await context.progress(n)
                n += 1
                await asyncio.sleep(0.001)
        finally:
            await context.progress("after the end")

    reports = job_type("reports", report_for_ever)
    async with working(database, store, bus, wire, [reports]) as worker:
        job = await until_job(database, await queue(store, wire, reports), lambda now: now.result == 1)

        await cancel(store, job)

        await lives_on(worker, store, database)
        assert (await words(store, job))[-1] == "canceled"
        await must_fold(database, store, job)


@pytest.mark.parametrize("end", ["fails", "times out"])
async def test_the_last_report_is_kept_although_it_is_being_appended_when_the_handler_ends(
    database: Database, store: Store, bus: Bus, wire: LocalWire, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    monkeypatch.setattr(progress_module, "PROGRESS_EVERY", 0.05 if end == "fails" else 0.0)
    reported, report_more, finish, ending = (asyncio.Event() for _ in range(4))

    async def report(context: Context, payload: Any) -> JSON:
        await context.progress("first")
        await context.progress("second")
        reported.set()
        await report_more.wait()
        try:
            await context.progress("last")
            await finish.wait()
        finally:
            ending.set()
        raise Final("enough")

    reports = job_type("reports", report, max_attempts=1, deadline=LONG if end == "fails" else 1.5)
    async with working(database, store, bus, wire, [reports]):
        others = [await queue(store, None, HANG) for _ in range(2)]
        job = await queue(store, wire, reports)
        await reported.wait()
        async with row_locked(database, *others):
            cancels = await _block_both_lanes(database, store, others)
            report_more.set()
            await until(lambda: store._commits._waiting)
            if end == "fails":
                finish.set()
            await ending.wait()
            for _ in range(20):
                await asyncio.sleep(0)
        await asyncio.gather(*cancels)

        job = await ended(database, job)

    assert [event.result for event in await events_of(store, job, Progress)] == ["first", "second", "last"]


async def _block_both_lanes(database: Database, store: Store, locked: list[Job]) -> list[asyncio.Task[Job]]:
    """Cancels two jobs whose rows are locked, so that the next append of the store waits.

    The store has two connections for appends.
    """
    cancels = []
    for waiting, job in enumerate(locked, 1):
        cancels.append(asyncio.create_task(cancel(store, job)))
        await until_waiting_for_locks(database, waiting)
    return cancels
