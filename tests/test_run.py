"""One attempt, from start to end, whatever its handler does: the job ends in the right state, and the worker lives on."""

import asyncio
import contextlib
import math
import random
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import timedelta
from itertools import pairwise
from typing import Any

import orjson
import pytest
from structlog.testing import capture_logs

from events import job as rules
from events.bus import Bus, Change
from events.database import Database
from events.job import JSON, Canceled, Completed, Failed, Job, NotAllowed, Progress, Queued, Status
from events.store import Store
from tests.job_types import (
    FAIL_ONCE,
    HANG,
    LONG,
    QUICK,
    Numbered,
    cancel,
    claim_of,
    ended,
    events_of,
    fail_for_good,
    give_up,
    hang,
    job_type,
    lives_on,
    must_fold,
    new_worker,
    queue,
    row_locked,
    running,
    starts,
    swallow_cancellation,
    until,
    until_job,
    until_waiting_for_locks,
    wait_deaf_to_cancellation,
    words,
    working,
)
from workers import deliver, failures, rescue, run
from workers.deliver import Hint, LocalWire
from workers.job_type import AttemptOver, Backoff, Context, Final, GiveUp, JobType
from workers.run import Interruption


@pytest.fixture
def wire() -> LocalWire:
    return LocalWire()


@pytest.fixture(autouse=True)
def _quick_reactions(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(run, "PATIENCE", 0.2)
    monkeypatch.setattr(deliver, "TICK", 0.1)
    # So that an attempt that nobody recorded shows soon: as one that was rescued.
    monkeypatch.setattr(rescue, "HEARTBEAT", 0.2)
    with capture_logs():
        yield


async def run_one(database: Database, store: Store, bus: Bus, type: JobType[Any], payload: JSON = None) -> Job:
    """A job of this type after its end, under a worker that has proven to live on."""
    wire = LocalWire()
    async with working(database, store, bus, wire, [type], slots=3) as worker:
        job = await ended(database, await queue(store, wire, type, payload))
        await lives_on(worker, store, database)
    await must_fold(database, store, job)
    return job


async def run_all(database: Database, store: Store, bus: Bus, type: JobType[Any], kinds: Iterable[str]) -> dict[str, Job]:
    """As `run_one`, with a job for each kind: the payload's `kind`."""
    wire = LocalWire()
    async with working(database, store, bus, wire, [type]) as worker:
        jobs = {kind: await queue(store, wire, type, {"kind": kind}) for kind in kinds}
        jobs = {kind: await ended(database, job) for kind, job in jobs.items()}
        await lives_on(worker, store, database)
    return jobs


# How an attempt ends ----------------------------------------------------------------------------------------------------------


async def test_a_job_is_started_and_completed(database: Database, store: Store, bus: Bus, wire: LocalWire) -> None:
    async with working(database, store, bus, wire, [QUICK]) as worker:
        job = await ended(database, await queue(store, wire, QUICK, {"n": 7}))

        assert await words(store, job) == ["queued", "started", "completed"]
        assert await starts(store, job) == [(1, worker.runner.worker_id)]
        assert (job.status, job.result, job.error, job.attempt) == (Status.COMPLETED, {"n": 7}, None, 1)
        actors = [recorded.actor for recorded in await store.history(job.id)]
        assert actors == ["system:test", *[f"worker:{worker.runner.worker_id}"] * 2]


async def test_a_failing_job_is_retried_with_backoff_until_its_attempts_are_spent(
    database: Database, store: Store, bus: Bus
) -> None:
    async def fail(context: Context, payload: Any) -> JSON:
        raise ValueError(f"attempt {context.attempt} fails")

    type = job_type("fails", fail, max_attempts=3, backoff=Backoff(first=0.1, ceiling=10, jitter=0))

    job = await run_one(database, store, bus, type)

    attempt = ["started", "failed, retried", "queued: retry"]
    assert await words(store, job) == ["queued", *attempt, *attempt, "started", "failed"]
    history = await store.history(job.id)
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


async def test_nobody_sees_a_failure_that_is_being_retried_as_the_end(
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


async def test_a_final_error_ends_the_job_at_once(database: Database, store: Store, bus: Bus) -> None:
    job = await run_one(database, store, bus, job_type("hopeless", fail_for_good))

    assert await words(store, job) == ["queued", "started", "failed"]
    assert job.error is not None
    assert (job.error.name, job.error.message) == ("NotWorthAnotherTry", "it will never work")


async def test_a_handler_that_gives_up_cancels_its_job(database: Database, store: Store, bus: Bus) -> None:
    job = await run_one(database, store, bus, job_type("gives_up", give_up))

    assert await words(store, job) == ["queued", "started", "canceled"]
    assert await events_of(store, job, Canceled) == [Canceled("there is nothing to do")]


@pytest.mark.parametrize(
    "reason", ["a \ud800 half", "nothing \x00 at all", "long " * 200_000], ids=["a lone surrogate", "NUL", "a megabyte"]
)
async def test_whatever_reason_a_handler_gives_up_with_its_job_is_canceled(
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


async def test_what_a_handler_returns_after_its_deadline_does_not_count(database: Database, store: Store, bus: Bus) -> None:
    async def return_when_told_to_stop(context: Context, payload: Any) -> JSON:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "here you are"

    job = await run_one(database, store, bus, job_type("late", return_when_told_to_stop, deadline=0.1, max_attempts=1))

    assert await words(store, job) == ["queued", "started", "failed"]
    assert job.error is not None
    assert (job.error.name, job.result) == ("Timeout", None)


async def test_nothing_runs_before_its_started_is_durable(database: Database, store: Store, bus: Bus, wire: LocalWire) -> None:
    entered: list[int] = []

    async def enter(context: Context, payload: Any) -> JSON:
        entered.append(context.attempt)
        return None

    type = job_type("enters", enter)
    async with working(database, store, bus, wire, [type]):
        job = await queue(store, None, type, delay=timedelta(hours=1))
        async with row_locked(database, job):
            wire.push([Hint.of(job)])
            await until_waiting_for_locks(database, 1)

            assert entered == []

        await ended(database, job)
        assert entered == [1]


# Handlers that misbehave ------------------------------------------------------------------------------------------------------


class Strange(BaseException):
    pass


class Silent(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no")


class Explosive(Exception):
    def __str__(self) -> str:
        raise Strange("boom")


@pytest.mark.parametrize(
    ("error", "name", "ends_at_once"),
    [
        (SystemExit(3), "TriedToExit", True),
        (KeyboardInterrupt(), "TriedToExit", True),
        (GeneratorExit(), "GeneratorExit", False),
        (Strange("x"), "Strange", False),
        (asyncio.CancelledError(), "CancelledError", False),
        (StopIteration(1), "RuntimeError", False),
        (TimeoutError(), "TimeoutError", False),
        (AttemptOver("says the handler"), "AttemptOver", False),
        (ExceptionGroup("two", [ValueError("1"), OSError("2")]), "ExceptionGroup", False),
        (Silent(), "Silent", False),
        (Explosive(), "Explosive", False),
        (type("長い名前" * 2_000, (Exception,), {})(), "長い名前", False),
    ],
    ids=lambda value: type(value).__name__[:20] if isinstance(value, BaseException) else "",
)
async def test_whatever_a_handler_raises_ends_its_attempt(
    database: Database, store: Store, bus: Bus, error: BaseException, name: str, ends_at_once: bool
) -> None:
    async def misbehave(context: Context, payload: Any) -> JSON:
        await context.progress({"about to": "raise"})
        raise error

    job = await run_one(database, store, bus, job_type("misbehaves", misbehave, max_attempts=2))

    failures = await events_of(store, job, Failed)
    assert [event.error.name[: len(name)] for event in failures] == [name] * (1 if ends_at_once else 2)
    assert job.status is Status.FAILED


async def test_a_megabyte_of_unreadable_error_is_kept_cut_and_readable(database: Database, store: Store, bus: Bus) -> None:
    async def rant(context: Context, payload: Any) -> JSON:
        raise Final("\x00\ud800\udfff履歴 " * 150_000)

    job = await run_one(database, store, bus, job_type("rants", rant))

    assert job.error is not None
    assert len(job.error.message) <= failures.LONGEST_MESSAGE
    assert len(job.error.stack or "") <= failures.LONGEST_STACK
    assert "履歴" in job.error.message
    assert "\x00" not in job.error.message + (job.error.stack or "")
    job.error.message.encode()


def nested(depth: int) -> JSON:
    value: JSON = 1
    for _ in range(depth):
        value = [value]
    return value


NOT_JSON: dict[str, Any] = {
    "an object": object(),
    "bytes": b"bytes",
    "a set": {1, 2},
    "2^70": 2**70,
    "-2^63-1": -(2**63) - 1,
    "a number as key": {1: "one"},
    "a lone surrogate": {"half": "\ud800"},
    "nesting 300": nested(300),
    "NaN": math.nan,
    "infinity": {"in": [math.inf]},
}


@pytest.mark.parametrize("how", ["returned", "reported"])
async def test_what_is_not_json_is_refused_and_not_tried_again(
    database: Database, store: Store, bus: Bus, wire: LocalWire, how: str
) -> None:
    async def answer(context: Context, payload: Any) -> JSON:
        if how == "reported":
            await context.progress(NOT_JSON[payload.kind])
        return NOT_JSON[payload.kind]

    jobs = await run_all(database, store, bus, job_type("answers", answer), NOT_JSON)

    ends = {kind: (job.status, job.error and job.error.name, job.attempt, job.result) for kind, job in jobs.items()}
    assert ends == dict.fromkeys(NOT_JSON, (Status.FAILED, "NotJSON", 1, None))


async def test_a_result_is_stored_only_as_deep_as_it_can_be_read_again(database: Database, store: Store, bus: Bus) -> None:
    depths = {str(depth): nested(depth) for depth in (32, *range(240, 256))}

    async def answer(context: Context, payload: Any) -> JSON:
        return depths[payload.kind]

    jobs = await run_all(database, store, bus, job_type("answers", answer), depths)

    assert jobs["32"].result == nested(32)
    for job in jobs.values():
        assert await words(store, job) in (["queued", "started", "completed"], ["queued", "started", "failed"])
        orjson.dumps({"events": [{"data": {"result": job.result}}]})  # as the API answers


async def test_a_result_is_what_the_handler_returned(database: Database, store: Store, bus: Bus) -> None:
    results: list[JSON] = ["a NUL: \x00", 2**64 - 1, 0.1, "履歴 🎌", {"": [None, True, {}]}, None, "null"]
    values = {ascii(result): result for result in results}

    async def answer(context: Context, payload: Any) -> JSON:
        return values[payload.kind]

    jobs = await run_all(database, store, bus, job_type("answers", answer), values)

    assert {kind: job.result for kind, job in jobs.items()} == values
    for kind, job in jobs.items():
        assert await events_of(store, job, Completed) == [Completed(values[kind])]


async def test_a_stored_payload_of_another_version_fails_the_job_for_good(database: Database, store: Store, bus: Bus) -> None:
    job = await run_one(database, store, bus, job_type("numbered", hang, payload=Numbered), {"n": "not a number"})

    assert await words(store, job) == ["queued", "started", "failed"]
    assert job.error is not None
    assert job.error.name == "InvalidPayload"


async def test_a_handler_that_swallows_its_cancellation_gives_its_slot_back_and_is_counted_as_stuck(
    database: Database, store: Store, bus: Bus, wire: LocalWire
) -> None:
    release = asyncio.Event()
    late: list[BaseException | str] = []
    await database.execute("create table effects (attempt integer)")

    async def be_deaf(context: Context, payload: Any) -> JSON:
        if context.attempt == 2:
            return "second"
        await wait_deaf_to_cancellation(release)
        await context.progress({"written": "too late"})
        try:
            async with context.store():
                await context.database.execute("insert into effects values (1)")
        except AttemptOver as error:
            late.append(error)
        return "first"

    type = job_type("deaf", be_deaf, deadline=0.1, max_attempts=2)
    async with working(database, store, bus, wire, [type], slots=1) as worker:
        job = await ended(database, await queue(store, wire, type))

        assert len(worker.runner.stuck) == 1
        await lives_on(worker, store, database)
        assert len(worker.runner.stuck) == 1
        release.set()
        await until(lambda: not worker.runner.stuck)

    assert await words(store, job) == ["queued", "started", "failed, retried", "queued: retry", "started", "completed"]
    assert job.result == "second"
    assert len(late) == 1
    assert await database.fetch_val("select count(*) from effects") == 0
    await must_fold(database, store, job)


async def test_a_canceled_job_whose_handler_does_not_listen_stays_canceled(
    database: Database, store: Store, bus: Bus, wire: LocalWire
) -> None:
    type = job_type("deaf", swallow_cancellation)
    async with working(database, store, bus, wire, [type]) as worker:
        job = await running(database, await queue(store, wire, type))

        await cancel(store, job)

        await lives_on(worker, store, database)
        await until(lambda: not worker.runner.stuck)
        assert await words(store, job) == ["queued", "started", "canceled"]


# Progress ---------------------------------------------------------------------------------------------------------------------


async def test_the_first_report_and_the_first_change_are_appended_at_once_the_rest_now_and_then_the_last_always(
    database: Database, store: Store, bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "PROGRESS_EVERY", 0.3)
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
        raise Final("with nothing to show but progress")

    job = await run_one(database, store, bus, job_type("reports", report))

    history = await store.history(job.id)
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


async def test_a_report_is_appended_in_time_though_no_other_follows(
    database: Database, store: Store, bus: Bus, wire: LocalWire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "PROGRESS_EVERY", 0.2)

    async def report(context: Context, payload: Any) -> JSON:
        for n in range(5):
            await context.progress(n)
        await asyncio.Event().wait()
        return None

    type = job_type("reports", report)
    async with working(database, store, bus, wire, [type]):
        job = await queue(store, wire, type)

        await until_job(database, job, lambda now: now.result == 4)

    assert await events_of(store, job, Progress) == [Progress(0), Progress(1), Progress(4)]


async def test_a_report_that_comes_while_another_is_being_appended_waits_for_its_turn(
    database: Database, store: Store, bus: Bus, wire: LocalWire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "PROGRESS_EVERY", 0.8)
    reported, report_more = asyncio.Event(), asyncio.Event()

    async def report(context: Context, payload: Any) -> JSON:
        for n in range(3):
            await context.progress(n)
        reported.set()
        await report_more.wait()
        await context.progress(3)
        await asyncio.Event().wait()
        return None

    type = job_type("reports", report)
    async with working(database, store, bus, wire, [type]):
        job = await queue(store, wire, type)
        await reported.wait()
        async with row_locked(database, job):
            await until_waiting_for_locks(database, 1)
            report_more.set()
            for _ in range(20):
                await asyncio.sleep(0)
        await until_job(database, job, lambda now: now.result == 3)

    times = [recorded.at for recorded in await store.history(job.id) if isinstance(recorded.event, Progress)]
    assert len(times) == 4
    assert (times[3] - times[2]).total_seconds() > 0.7


async def test_progress_is_what_it_was_when_it_was_reported(
    database: Database, store: Store, bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "PROGRESS_EVERY", 0.05)

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

    type = job_type("reports", report_for_ever)
    async with working(database, store, bus, wire, [type]) as worker:
        job = await until_job(database, await queue(store, wire, type), lambda now: now.result == 1)

        await cancel(store, job)

        await lives_on(worker, store, database)
        assert (await words(store, job))[-1] == "canceled"
        await must_fold(database, store, job)


@pytest.mark.parametrize("end", ["fails", "times out"])
async def test_the_last_report_is_kept_though_its_append_is_on_its_way_when_the_handler_ends(
    database: Database, store: Store, bus: Bus, wire: LocalWire, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    monkeypatch.setattr(run, "PROGRESS_EVERY", 0.05 if end == "fails" else 0.0)
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

    type = job_type("reports", report, max_attempts=1, deadline=LONG if end == "fails" else 1.5)
    async with working(database, store, bus, wire, [type]):
        others = [await queue(store, None, HANG) for _ in range(2)]
        job = await queue(store, wire, type)
        await reported.wait()
        async with row_locked(database, *others):
            # Both lanes of the group commit are taken: what is appended now has to wait.
            cancels = []
            for waiting, other in enumerate(others, 1):
                cancels.append(asyncio.create_task(cancel(store, other)))
                await until_waiting_for_locks(database, waiting)
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


# Cancel -----------------------------------------------------------------------------------------------------------------------


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
async def test_a_cancel_while_started_is_in_flight_ends_the_job_whichever_is_first(
    database: Database, store: Store, bus: Bus, wire: LocalWire, first: str
) -> None:
    # The cancel comes from another process: in one's own process the two would never be in flight together.
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


async def test_an_attempt_that_is_no_longer_the_one_that_waits_is_not_started(
    database: Database, store: Store, bus: Bus, wire: LocalWire
) -> None:
    seen: list[int] = []

    async def note(context: Context, payload: Any) -> JSON:
        seen.append(context.attempt)
        return None

    type = job_type("notes", note)
    async with working(database, store, bus, wire, [type]) as worker:
        job = await queue(store, None, type, delay=timedelta(hours=1))
        canceled = await cancel(store, job)
        async with row_locked(database, job):
            retrying = asyncio.create_task(store.append(canceled, rules.retry, actor="user:test"))
            await until_waiting_for_locks(database, 1)
            # The hint that the worker was given before it was canceled.
            worker.runner.run(claim_of(job), started=lambda: None)
        await retrying

        await ended(database, job)
        await lives_on(worker, store, database)

    assert seen == [2]
    assert await words(store, job) == ["queued", "canceled", "queued: manual_retry", "started", "completed"]


async def test_a_handler_whose_job_was_canceled_before_it_began_is_never_entered(
    database: Database, store: Store, bus: Bus, wire: LocalWire, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered: list[int] = []
    on_its_way: asyncio.Future[Job | None] = asyncio.get_running_loop().create_future()
    start_attempt = store.start_attempt

    async def enter(context: Context, payload: Any) -> JSON:
        entered.append(context.attempt)
        return None

    type = job_type("enters", enter)
    async with working(database, store, bus, wire, [type]) as worker:
        job = await queue(store, None, type, delay=timedelta(hours=1))  # no tick may be quicker
        answers: list[asyncio.Future[Job | None]] = []

        def start_late(*facts: Any, **more: Any) -> asyncio.Future[Job | None]:
            answers.append(start_attempt(*facts, **more))
            return on_its_way

        monkeypatch.setattr(store, "start_attempt", start_late)
        worker.runner.run(claim_of(job), started=lambda: None)
        started = await answers[0]

        # The word of the cancel comes before the answer to our own write.
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

    type = job_type("waits", wait)
    async with working(database, store, bus, wire, [type]) as worker:
        latencies = []
        for _ in range(10):
            job = await running(database, await queue(store, wire, type))
            canceled.clear()
            asked = time.monotonic()

            job = await cancel(store, job)

            await until(lambda: canceled)
            latencies.append(canceled[0] - asked)
            assert job.status is Status.CANCELED
        assert sorted(latencies)[5] < 0.15, latencies
        await lives_on(worker, store, database)
    assert await words(store, job) == ["queued", "started", "canceled"]


async def test_of_a_cancel_and_a_completion_at_the_same_moment_one_wins_and_the_other_is_told_the_state(
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

    async def cancel_at_once(job: Job) -> Status:
        if random.random() < 0.5:
            finish[job.id].set()
            canceling = asyncio.create_task(cancel(elsewhere, job))
        else:
            canceling = asyncio.create_task(cancel(elsewhere, job))
            for _ in range(random.randrange(4)):
                await asyncio.sleep(0)
            finish[job.id].set()
        try:
            return (await canceling).status
        except NotAllowed as refusal:
            return refusal.job.status

    type = job_type("waits", wait)
    async with working(database, store, bus, wire, [type], slots=100) as worker:
        jobs = [await queue(store, None, type) for _ in range(100)]
        for job in jobs:
            worker.runner.run(claim_of(job), started=lambda: None)
        await asyncio.gather(*(started[job.id].wait() for job in jobs))

        told = await asyncio.gather(*(cancel_at_once(job) for job in jobs))

        await until(lambda: not worker.runner.in_hand)
        for job, status in zip(jobs, told, strict=True):
            assert await words(store, job) == ["queued", "started", status.value]
            await must_fold(database, store, job)
        assert worker.runner.free == 100
    assert set(told) <= {Status.CANCELED, Status.COMPLETED}
    await elsewhere.stop()


async def test_a_job_that_is_canceled_and_retried_runs_again_while_its_old_handler_is_still_stopping(
    database: Database, store: Store, bus: Bus, wire: LocalWire
) -> None:
    async def be_slow_to_stop(context: Context, payload: Any) -> JSON:
        if context.attempt == 1:
            return await swallow_cancellation(context, payload)
        return context.attempt

    type = job_type("slow_to_stop", be_slow_to_stop)
    async with working(database, store, bus, wire, [type]) as worker:
        job = await running(database, await queue(store, wire, type))
        job = await cancel(store, job)

        job = await store.append(job, rules.retry, actor="user:test")

        assert (await ended(database, job)).result == 2
        await lives_on(worker, store, database)
    assert await words(store, job) == ["queued", "started", "canceled", "queued: manual_retry", "started", "completed"]


async def test_a_handler_that_has_its_result_when_the_worker_stops_is_completed_and_not_handed_back(
    database: Database, store: Store, bus: Bus, wire: LocalWire
) -> None:
    finish = asyncio.Event()

    async def wait(context: Context, payload: Any) -> JSON:
        await finish.wait()
        return "done"

    type = job_type("waits", wait)
    worker = new_worker(database, store, bus, wire, [type])
    await worker.start()
    job = await running(database, await queue(store, wire, type))
    await until(lambda: worker.runner.attempts)
    # The part that takes jobs has ended: stopping is now only a matter of what runs.
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
async def test_of_reasons_to_stop_that_come_together_the_one_that_counts_more_is_recorded(
    database: Database, store: Store, bus: Bus, first: Interruption, then: Interruption, history: list[str]
) -> None:
    type = job_type("once", hang, max_attempts=1)
    async with working(database, store, bus, LocalWire(), [type]) as worker:
        job = await queue(store, None, type, delay=timedelta(hours=1))
        worker.runner.run(claim_of(job), started=lambda: None)
        await until(lambda: worker.runner.attempts)
        attempt = worker.runner.attempts[job.id]

        attempt.interrupt(first)
        attempt.interrupt(then)

        await until(lambda: worker.runner.attempts.get(job.id) is not attempt)
        assert (await words(store, job))[:3] == history
    assert [event.error.name for event in await events_of(store, job, Failed)] in ([], ["Timeout"])


# Effects ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("moved_on", ["canceled", "in a later attempt"])
async def test_effects_of_an_attempt_that_is_over_are_rolled_back_and_its_reports_refused(
    database: Database, store: Store, bus: Bus, wire: LocalWire, moved_on: str
) -> None:
    await database.execute("create table effects (attempt integer)")
    inside, leave, finish = asyncio.Event(), asyncio.Event(), asyncio.Event()
    raised: list[str] = []

    async def store_something(context: Context, payload: Any) -> JSON:
        if context.attempt > 1:
            await finish.wait()
            return context.attempt
        try:
            async with context.store():
                await context.database.execute("insert into effects values (1)")
                inside.set()
                await wait_deaf_to_cancellation(leave, at_most=4)
        except AttemptOver as error:
            await context.progress("too late")
            raised.append(str(error))
        return "too late"

    type = job_type("stores", store_something)
    async with working(database, store, bus, wire, [type]) as worker:
        job = await running(database, await queue(store, wire, type))
        await inside.wait()
        handler = worker.runner.attempts[job.id].task
        job = await cancel(store, job)
        await until(handler.cancelling)
        if moved_on == "in a later attempt":
            job = await running(database, await store.append(job, rules.retry, actor="user:test"), attempt=2)

        leave.set()

        await until(lambda: raised)
        finish.set()
        await lives_on(worker, store, database)
    assert await database.fetch_val("select count(*) from effects") == 0
    canceled = ["queued", "started", "canceled"]
    later = [*canceled, "queued: manual_retry", "started", "completed"]
    assert await words(store, job) == (canceled if moved_on == "canceled" else later)


async def test_effects_of_a_living_attempt_are_stored(database: Database, store: Store, bus: Bus) -> None:
    await database.execute("create table effects (attempt integer)")

    async def store_something(context: Context, payload: Any) -> JSON:
        async with context.store():
            await context.database.execute("insert into effects values (1)")
        return None

    await run_one(database, store, bus, job_type("stores", store_something))

    assert await database.fetch_val("select count(*) from effects") == 1


async def test_effects_are_rolled_back_where_the_handler_raises(database: Database, store: Store, bus: Bus) -> None:
    await database.execute("create table effects (attempt integer)")

    async def store_something(context: Context, payload: Any) -> JSON:
        async with context.store():
            await context.database.execute("insert into effects values (1)")
            raise Final("half way")

    await run_one(database, store, bus, job_type("stores", store_something))

    assert await database.fetch_val("select count(*) from effects") == 0


SLOW_COMMIT = """
create function be_slow() returns trigger language plpgsql as $$ begin perform pg_sleep(2); return null; end $$;
create table effects (attempt integer);
create constraint trigger slow after insert on effects deferrable initially deferred for each row execute function be_slow();
"""


async def test_a_transaction_that_is_canceled_at_any_moment_gives_its_connection_back(database_url: str) -> None:
    narrow = Database(database_url, pool_size=2)
    await narrow.connect()

    async def transact() -> None:
        async with narrow.transaction():
            await narrow.fetch_val("select 1")

    try:
        for moment in range(100):
            task = asyncio.create_task(transact())
            for _ in range(moment % 25):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait({task})

        async with asyncio.timeout(3):
            assert await asyncio.gather(*(narrow.fetch_val("select 1") for _ in range(2))) == [1, 1]
    finally:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(narrow.disconnect(), 2)


COMMITS_UNDER_WAY = """
select count(*) from pg_stat_activity
where datname = current_database() and query ilike 'commit%' and wait_event = 'PgSleep'
"""


async def test_cancels_in_the_middle_of_a_commit_leave_the_worker_its_connections(
    database: Database, store: Store, database_url: str, bus: Bus, wire: LocalWire
) -> None:
    async with database.raw() as connection:
        await connection.execute(SLOW_COMMIT)
    narrow = Database(database_url, pool_size=4)
    await narrow.connect()
    narrow_store = Store(narrow, bus)
    await narrow_store.start()

    async def store_something(context: Context, payload: Any) -> JSON:
        async with context.store():
            await context.database.execute("insert into effects values (1)")
        return None

    type = job_type("stores", store_something)
    try:
        # Without connections the worker cannot even be stopped.
        async with asyncio.timeout(12), working(narrow, narrow_store, bus, wire, [type]):
            for _ in range(4):
                job = await queue(store, wire, type)
                await until(lambda: database.fetch_val(COMMITS_UNDER_WAY), within=5, what="a commit is under way")
                await cancel(store, job)
                await until(lambda: _no_commit_is_under_way(database))

            async with asyncio.timeout(3):
                assert await narrow.fetch_val("select 1") == 1
    finally:
        await narrow_store.stop()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(narrow.disconnect(), 2)


async def _no_commit_is_under_way(database: Database) -> bool:
    return int(await database.fetch_val(COMMITS_UNDER_WAY)) == 0


# Slots ------------------------------------------------------------------------------------------------------------------------


async def test_while_the_end_of_one_is_being_written_the_next_runs_and_no_third(
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
