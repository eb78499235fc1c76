"""Tests of the campaign's checks: they accept legal histories and report broken histories.

The checks use a second implementation of the fold (`tests/chaos/history.py`).
"""

from collections import Counter
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings

from events import job as rules
from events.database import Database
from events.job import Completed, Failed, Progress, Queued, Recorded, Started, word
from events.store import Store
from events.stored import event_data
from events.writes import Idempotency, NewJob
from projections.seal import seal_everything
from service.api.documents import job_json
from tests.chaos.faults import SETTLED, SETTLED_IDS
from tests.chaos.history import Event, differences, fold, highest_in_any_window
from tests.chaos.plan import FULL, LAP, SHORT, Kind, Size, lap, plan
from tests.histories import ALICE, AT, JOB_ID, STEP
from tests.rules.test_events_roundtrip import legal_histories

Row = tuple[str, int, str, dict[str, Any]]
"""Type, attempt, actor and data of an event."""

NEW: Row = (
    "queued", 1, f"user:{ALICE}",
    {"reason": "new", "runAt": "2026-11-23T09:00:00.000000Z", "maxAttempts": 2, "type": "t", "payload": {"n": 1}, "userId": ALICE},
)  # fmt: skip
STARTED: Row = ("started", 1, "worker:w1", {"worker": "w1"})
PROGRESS: Row = ("progress", 1, "worker:w1", {"result": {"done": 1}})
COMPLETED: Row = ("completed", 1, "worker:w1", {"result": {"done": 2}})
CANCELED: Row = ("canceled", 1, f"user:{ALICE}", {"reason": "asked"})
STARTED_AGAIN: Row = ("started", 2, "worker:w2", {"worker": "w2"})


def failed(actor: str = "worker:w1", *, will_retry: bool) -> Row:
    return "failed", 1, actor, {"error": {"name": "E", "message": "m", "stack": None}, "willRetry": will_retry}


def again(reason: str, actor: str, *, max_attempts: int = 2) -> Row:
    return "queued", 2, actor, {"reason": reason, "runAt": "2026-11-23T09:00:05.000000Z", "maxAttempts": max_attempts}


def history(*rows: Row) -> list[Event]:
    return [
        Event(JOB_ID, place, attempt, type, data, actor, AT + place * STEP, place)
        for place, (type, attempt, actor, data) in enumerate(rows, start=1)
    ]


def broken(events: list[Event]) -> list[int | str]:
    return [violation.invariant for violation in fold(events).violations]


@pytest.mark.parametrize(
    "rows",
    [
        (NEW, STARTED, PROGRESS, PROGRESS, COMPLETED),
        (NEW, CANCELED),
        (NEW, STARTED, ("canceled", 1, "worker:w1", {"reason": "nothing to do"})),
        (NEW, STARTED, failed(will_retry=True), again("retry", "worker:w1"), STARTED_AGAIN),
        (NEW, STARTED, failed("system:rescue", will_retry=True), again("worker_lost", "system:rescue"), STARTED_AGAIN),
        (NEW, STARTED, again("worker_shutdown", "worker:w1", max_attempts=3), STARTED_AGAIN),
        (NEW, STARTED, failed(f"user:{ALICE}", will_retry=False), again("manual_retry", f"user:{ALICE}", max_attempts=3)),
        (NEW, CANCELED, again("manual_retry", f"user:{ALICE}", max_attempts=3), STARTED_AGAIN),
    ],
)
def test_a_history_that_the_contract_allows_has_no_violation(rows: tuple[Row, ...]) -> None:
    assert broken(history(*rows)) == []


@pytest.mark.parametrize(
    ("rows", "invariant"),
    [
        ((NEW, STARTED, COMPLETED, COMPLETED), 4),
        ((NEW, STARTED, CANCELED, COMPLETED), 4),
        ((NEW, STARTED, STARTED), 6),
        ((NEW, STARTED, COMPLETED, again("manual_retry", f"user:{ALICE}", max_attempts=3)), 4),
        ((NEW, STARTED, failed(will_retry=True)), 4),
        ((NEW, STARTED, failed(will_retry=True), STARTED), 4),
        ((NEW, STARTED, failed(will_retry=False), again("retry", "worker:w1")), 4),
        ((NEW, STARTED, failed(will_retry=True), again("retry", "worker:w1", max_attempts=3)), 4),
        ((NEW, STARTED, again("retry", "worker:w1")), 4),
        ((NEW, STARTED, again("worker_shutdown", "worker:w1")), 4),
        ((NEW, STARTED, again("worker_shutdown", "worker:w2", max_attempts=3)), 7),
        ((NEW, STARTED, failed(will_retry=True), again("retry", "worker:w1"), COMPLETED), 4),
        ((NEW, STARTED, failed(will_retry=True), again("retry", "worker:w1"), STARTED_AGAIN, COMPLETED), 4),
        ((NEW, STARTED, ("progress", 1, "worker:w2", {"result": 1})), 7),
        ((NEW, STARTED, ("completed", 1, "system:rescue", {"result": 1})), 7),
        ((NEW, STARTED, failed("worker:w2", will_retry=False)), 7),
        ((NEW, STARTED, failed("system:sweeper", will_retry=False)), 7),
        ((NEW, STARTED, failed(f"user:{ALICE}", will_retry=True), again("retry", f"user:{ALICE}")), 7),
        ((NEW, STARTED, ("canceled", 1, "worker:w2", {"reason": "asked"})), 7),
        ((NEW, ("started", 1, "worker:w2", {"worker": "w1"})), 7),
        ((STARTED,), 4),
        ((NEW, NEW), 4),
    ],
)
def test_a_history_that_the_contract_forbids_is_reported(rows: tuple[Row, ...], invariant: int) -> None:
    assert invariant in broken(history(*rows))


def test_a_missing_a_repeated_and_a_backdated_event_are_reported() -> None:
    events = history(NEW, STARTED, PROGRESS, COMPLETED)

    assert 2 in broken([events[0], *events[2:]])
    assert 2 in broken([*events[:2], events[1], *events[2:]])
    assert "time" in broken([*events[:3], events[3]._replace(at=AT)])


def test_more_attempts_than_allowed_are_reported() -> None:
    last = (failed(will_retry=True), again("retry", "worker:w1"), STARTED_AGAIN)
    third = [
        ("failed", 2, "worker:w2", failed(will_retry=True)[3]),
        ("queued", 3, "worker:w2", again("retry", "worker:w2")[3]),
    ]

    assert 6 in broken(history(NEW, STARTED, *last, *third))


@given(legal_histories())
@settings(max_examples=200, deadline=None)
def test_both_implementations_of_the_fold_agree_on_every_generated_history(recorded: list[Recorded]) -> None:
    events = rows_of(recorded)
    job = rules.fold(recorded)
    assert job is not None

    folded = fold(events)

    assert folded.violations == []
    assert differences(folded.state, dict(job_json(job, with_stack=True))) == []


def rows_of(recorded: list[Recorded]) -> list[Event]:
    """Returns the events as rows of the log. Each row has an actor that may write its event."""
    rows, worker = [], ""
    for event, following in pairwise([*recorded, None]):
        assert event is not None
        match event.event:
            case Started(started_by):
                worker = actor = f"worker:{started_by}"
            case Queued("worker_lost"):
                actor = "system:rescue"
            case Failed(will_retry=True) if following is not None and following.event.reason == "worker_lost":  # type: ignore[union-attr]
                actor = "system:rescue"
            case Progress() | Completed() | Failed(will_retry=True) | Queued("worker_shutdown" | "retry"):
                actor = worker
            case _:
                actor = f"user:{ALICE}"
        data = event_data(event.event, event.at)
        rows.append(Event(JOB_ID, event.seq, event.attempt, word(event.event), data, actor, event.at))
    return rows


def test_values_are_compared_as_json_not_as_python_objects() -> None:
    assert differences({"result": 1}, {"result": 1}) == []
    assert differences({"result": 1}, {"result": True}) != []
    assert differences({"result": 1}, {"result": 1.0}) != []
    assert differences({"result": None}, {}) == []
    assert differences({"error": {"name": "E", "stack": "s"}}, {"error": {"name": "E"}}) == []
    assert differences({"error": {"name": "E", "stack": "s"}}, {"error": {"name": "F"}}) != []


@pytest.mark.parametrize(
    ("times", "most"),
    [
        ([], 0),
        ([5.0], 1),
        ([0.0, 10.0], 1),
        ([0.0, 9.999], 2),
        ([3.0, 1.0, 2.0], 3),
        ([0, 1, 2, 10.5, 11.5, 11.9, 12.1, 30], 4),
    ],
)
def test_the_period_with_the_most_requests_is_found_wherever_it_begins(times: list[float], most: int) -> None:
    assert highest_in_any_window(times, 10) == most


@pytest.mark.parametrize("size", [SHORT, FULL])
def test_the_same_seed_gives_the_same_plan_and_another_seed_another(size: Size) -> None:
    faults = plan(size, 1)

    assert plan(size, 1) == faults
    assert plan(size, 2) != faults
    assert Counter(fault.kind for fault in faults) == Counter(size.faults)
    assert all(earlier.at <= later.at for earlier, later in pairwise(faults))
    assert all(0 <= fault.at < size.seconds + 6 for fault in faults)


def test_a_further_round_has_the_missing_faults_beside_the_usual_ones() -> None:
    faults = Counter(fault.kind for fault in lap(FULL, 1, {Kind.KILL_REDIS: 7}))

    usual = {kind: round(number * LAP / FULL.seconds) for kind, number in FULL.faults.items()}
    assert faults == Counter(usual) + Counter({Kind.KILL_REDIS: 7})


@pytest.mark.parametrize("seed", range(5))
def test_workers_are_frozen_while_postgresql_runs_so_that_they_can_be_declared_gone(seed: int) -> None:
    faults = plan(FULL, seed)

    kills = [fault.at for fault in faults if fault.kind is Kind.KILL_POSTGRES]
    stops = [fault for fault in faults if fault.kind is Kind.STOP_WORKER]
    assert not [stop for stop in stops if any(stop.at - 8 < kill < stop.at + stop.lasts for kill in kills)]


def test_more_faults_are_planned_than_are_required() -> None:
    assert all(FULL.faults[kind] > number for kind, number in FULL.required.items())


@pytest.mark.parametrize(
    "change",
    [
        "delete from idempotency_keys",
        "update jobs set result = '[]' where status = 'completed'",
        "alter table log_tail disable trigger user; delete from log_tail",
    ],
)
async def test_a_flushall_that_changes_rows_of_ended_jobs_is_reported(database: Database, store: Store, change: str) -> None:
    new = NewJob("t", {}, ALICE, 1, idempotency=Idempotency("a key", "a hash"))
    job = await store.append(
        await store.create(new, actor=f"user:{ALICE}"), lambda job: rules.start(job, attempt=1, worker="w1"), actor="worker:w1"
    )
    await store.append(job, lambda job: rules.complete(job, attempt=1, worker="w1", result={}), actor="worker:w1")
    await seal_everything(database)

    async with database.raw() as connection:
        ids = tuple(*await connection.fetch(SETTLED_IDS))
        before, again = [await connection.fetch(SETTLED, *ids) for _ in range(2)]
        await connection.execute(change)
        after = await connection.fetch(SETTLED, *ids)

    assert None not in before[0].values()
    assert before == again
    assert before != after
