"""The table of states and events, cell by cell: for the decisions, and for the fold of what was recorded."""

import copy
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from events.job import (
    ACTIVE,
    ENDED,
    EVENT_TYPES,
    RETRYABLE,
    BrokenHistory,
    Canceled,
    Completed,
    Event,
    Failed,
    Job,
    JobError,
    NotAllowed,
    Progress,
    Queued,
    Reason,
    Recorded,
    Started,
    Status,
    cancel,
    complete,
    evolve,
    fail,
    fold,
    force_fail,
    give_up,
    hand_back,
    progress,
    queue,
    rescue,
    retry,
    start,
    word,
)
from tests.histories import ALICE, AT, ERROR, EXAMPLES, JOB_ID, STEP, every_reason, given, next_recorded, queued, recorded

Decide = Callable[[Job], list[Event]]

STATES: dict[str, tuple[Event, ...]] = {
    "queued": (queued(),),
    "processing": (queued(), Started("w1")),
    "completed": (queued(), Started("w1"), Completed({"done": 2})),
    "failed": (queued(), Started("w1"), Failed(ERROR, will_retry=False)),
    "canceled": (queued(), Started("w1"), Canceled("asked")),
}

# The table of docs/architecture.md as it stands there. What is missing is an empty cell.
TABLE = {
    ("none", "queued"): "queued",
    ("queued", "started"): "processing",
    ("queued", "canceled"): "canceled",
    ("processing", "queued"): "queued",
    ("processing", "progress"): "processing",
    ("processing", "completed"): "completed",
    ("processing", "failed"): "failed",
    ("processing", "canceled"): "canceled",
    ("failed", "queued"): "queued",
    ("canceled", "queued"): "queued",
}

# Every decision that makes an event of this type, said by the worker that runs the attempt where a worker says it.
DECISIONS: dict[str, dict[str, Decide]] = {
    "queued": {
        "retry": retry,
        "hand_back": lambda job: hand_back(job, attempt=job.attempt, worker="w1"),
    },
    "started": {"start": lambda job: start(job, attempt=job.attempt, worker="w1")},
    "progress": {"progress": lambda job: progress(job, attempt=job.attempt, worker="w1", result={"done": 1})},
    "completed": {"complete": lambda job: complete(job, attempt=job.attempt, worker="w1", result={"done": 2})},
    "failed": {
        "fail": lambda job: fail(job, attempt=job.attempt, worker="w1", error=ERROR, retry_in=None),
        "rescue": lambda job: rescue(job, attempt=job.attempt, worker="w1", error=ERROR, retry_in=None),
        "force_fail": lambda job: force_fail(job, error=ERROR),
    },
    "canceled": {
        "cancel": lambda job: cancel(job, reason="asked"),
        "give_up": lambda job: give_up(job, attempt=job.attempt, worker="w1", reason="asked"),
    },
}

# Where more than one decision makes an event, not each of them may be made in every state that allows the event.
ONLY_IN = {"retry": {"failed", "canceled"}, "hand_back": {"processing"}, "give_up": {"processing"}}

CELLS = [(state, event) for state in STATES for event in EVENT_TYPES]
ALL_DECISIONS = [(event, name) for event, decisions in DECISIONS.items() for name in decisions]


def job_in(state: str) -> Job:
    return given(*STATES[state])


def event_for(state: str, type: str) -> Event:
    """An event of this type, as it would be after this state where it is allowed at all."""
    if type == "queued":
        job = job_in(state)
        reason: Reason = "worker_shutdown" if state == "processing" else "manual_retry"
        return queued(reason, max_attempts=job.max_attempts + 1)
    return EXAMPLES[type]


def after(job: Job, *events: Event) -> Job:
    for event in events:
        job = evolve(job, next_recorded(job, event))
    return job


def changed(before: Job, later: Job) -> dict[str, Any]:
    """The fields that differ, and what they are now. `seq` and `updated_at` differ after every event."""
    old, new = before._asdict(), later._asdict()
    return {name: new[name] for name in new if new[name] != old[name] and name not in ("seq", "updated_at")}


# The table ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("state", "event"), CELLS)
def test_what_was_recorded_leads_where_the_table_says_or_is_refused(state: str, event: str) -> None:
    job = job_in(state)
    next_event = next_recorded(job, event_for(state, event))

    if (state, event) in TABLE:
        later = evolve(job, next_event)

        assert later.status == TABLE[state, event]
        assert (later.seq, later.updated_at) == (job.seq + 1, next_event.at)
    else:
        with pytest.raises(BrokenHistory, match=f"{event} .* may not follow {state} "):
            evolve(job, next_event)


@pytest.mark.parametrize("event", EVENT_TYPES)
def test_a_history_begins_with_queued_and_with_nothing_else(event: str) -> None:
    first = queued() if event == "queued" else EXAMPLES[event]

    if event == "queued":
        assert fold(recorded(first)) == given(queued())
    else:
        with pytest.raises(BrokenHistory, match=f"begins with {event}"):
            evolve(None, Recorded(JOB_ID, 1, 1, first, "system:test", AT))


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize(("event", "name"), ALL_DECISIONS)
def test_a_decision_leads_where_the_table_says_or_is_refused(state: str, event: str, name: str) -> None:
    job = job_in(state)
    decide = DECISIONS[event][name]

    if (state, event) in TABLE and state in ONLY_IN.get(name, STATES):
        events = decide(job)

        assert [word(each) for each in events] == [event]
        assert after(job, *events).status == TABLE[state, event]
    else:
        with pytest.raises(NotAllowed) as refused:
            decide(job)
        assert refused.value.job is job
        assert f"it is {state} " in str(refused.value)


def test_every_allowed_cell_can_be_reached_by_a_decision() -> None:
    reached = {
        (state, event)
        for event, name in ALL_DECISIONS
        for state in STATES
        if (state, event) in TABLE and state in ONLY_IN.get(name, STATES)
    }

    assert reached | {("none", "queued")} == set(TABLE)


def test_the_sets_beside_the_states_are_those_of_the_contract() -> None:
    assert {Status.QUEUED, Status.PROCESSING} == ACTIVE
    assert {Status.FAILED, Status.CANCELED} == RETRYABLE
    assert {Status.COMPLETED, Status.FAILED, Status.CANCELED} == ENDED
    assert EVENT_TYPES == ("queued", "started", "progress", "completed", "failed", "canceled")


# What each event sets, keeps and clears -----------------------------------------------------------------------------------------


def test_a_new_job_has_what_its_first_event_says_and_nothing_else() -> None:
    [event] = queue(type="rooms", payload={"n": 1}, user_id=ALICE, max_attempts=3, delay=timedelta(seconds=5))

    job = evolve(None, Recorded(JOB_ID, 1, 1, event, "user:x", AT))

    assert job == Job(
        id=JOB_ID,
        type="rooms",
        status=Status.QUEUED,
        payload={"n": 1},
        result=None,
        error=None,
        user_id=ALICE,
        attempt=1,
        max_attempts=3,
        worker=None,
        seq=1,
        run_at=AT + timedelta(seconds=5),
        started_at=None,
        finished_at=None,
        created_at=AT,
        updated_at=AT,
    )


def test_a_job_of_the_system_has_no_user() -> None:
    [event] = queue(type="rooms", payload={}, user_id=None, max_attempts=1)

    job = evolve(None, Recorded(JOB_ID, 1, 1, event, "system:schedule", AT))

    assert job.user_id is None
    assert job.run_at == AT


def test_started_sets_the_worker_and_the_start_of_this_attempt() -> None:
    job = given(queued())

    later = after(job, Started("w1"))

    assert changed(job, later) == {"status": "processing", "worker": "w1", "started_at": job.updated_at + STEP}


def test_progress_sets_the_result_and_nothing_else() -> None:
    job = given(queued(), Started("w1"))

    later = after(job, Progress({"done": 1}))

    assert changed(job, later) == {"result": {"done": 1}}


def test_completed_sets_the_result_and_the_end_and_clears_the_error() -> None:
    job = given(queued(), Started("w1"), Failed(ERROR, will_retry=True), queued("retry"), Started("w2"), Progress(1))

    later = after(job, Completed({"done": 2}))

    assert job.error == ERROR
    assert changed(job, later) == {
        "status": "completed",
        "result": {"done": 2},
        "error": None,
        "worker": None,
        "finished_at": job.updated_at + STEP,
    }


def test_failed_sets_the_error_and_the_end_and_leaves_the_result() -> None:
    job = given(queued(), Started("w1"), Progress({"done": 1}))

    later = after(job, Failed(ERROR, will_retry=False))

    assert changed(job, later) == {
        "status": "failed",
        "error": ERROR,
        "worker": None,
        "finished_at": job.updated_at + STEP,
    }
    assert later.result == {"done": 1}


def test_failed_replaces_the_error_of_an_attempt_before() -> None:
    job = given(queued(), Started("w1"), Failed(ERROR, will_retry=True), queued("retry"), Started("w1"))
    other = JobError("KeyError", "another", None)

    later = after(job, Failed(other, will_retry=False))

    assert later.error == other


def test_a_failure_that_will_be_retried_is_not_an_end() -> None:
    job = given(queued(), Started("w1"))

    later = after(job, Failed(ERROR, will_retry=True))

    assert later.status is Status.FAILED
    assert later.finished_at is None


@pytest.mark.parametrize("events", [(queued(),), (queued(), Started("w1"), Progress({"done": 1}))])
def test_canceled_sets_the_end_and_leaves_result_and_error(events: tuple[Event, ...]) -> None:
    job = given(*events)

    later = after(job, Canceled("asked"))

    assert {name: value for name, value in changed(job, later).items() if name != "worker"} == {
        "status": "canceled",
        "finished_at": job.updated_at + STEP,
    }
    assert later.worker is None


def test_canceled_keeps_the_error_of_an_attempt_before() -> None:
    job = given(queued(), Started("w1"), Failed(ERROR, will_retry=True), queued("retry"))

    later = after(job, Canceled("asked"))

    assert later.error == ERROR


def test_a_retry_of_a_failed_job_clears_what_belonged_to_the_attempt_and_keeps_the_error() -> None:
    job = given(queued(), Started("w1"), Progress({"done": 1}), Failed(ERROR, will_retry=False))
    delay = timedelta(minutes=1)

    later = after(job, Queued("manual_retry", 4, delay))

    assert changed(job, later) == {
        "status": "queued",
        "result": None,
        "started_at": None,
        "finished_at": None,
        "attempt": 2,
        "max_attempts": 4,
        "run_at": job.updated_at + STEP + delay,
    }
    assert later.error == ERROR


def test_a_hand_back_clears_worker_result_and_start() -> None:
    job = given(queued(), Started("w1"), Progress({"done": 1}))

    later = after(job, queued("worker_shutdown", max_attempts=4))

    assert (later.worker, later.result, later.started_at, later.finished_at) == (None, None, None, None)
    assert later.run_at == later.updated_at


def test_what_a_job_was_made_with_never_changes() -> None:
    job = given(queued())

    last = given(
        queued(), Started("w1"), Failed(ERROR, will_retry=True), queued("retry"), Canceled("x"), queued("manual_retry"),
        Started("w2"), Progress(1), Completed(2),
    )  # fmt: skip

    for field in ("id", "type", "payload", "user_id", "created_at"):
        assert getattr(last, field) == getattr(job, field)


@pytest.mark.parametrize("state", STATES)
def test_a_worker_stands_there_only_while_it_runs_the_attempt(state: str) -> None:
    assert (job_in(state).worker is not None) == (state == "processing")


@pytest.mark.parametrize("state", STATES)
def test_an_end_has_its_time(state: str) -> None:
    job = job_in(state)

    assert job.finished_at == (job.updated_at if job.status in ENDED else None)


# Attempts -----------------------------------------------------------------------------------------------------------------------


def test_a_failure_with_an_attempt_left_is_queued_again_in_the_same_breath() -> None:
    job = given(queued(), Started("w1"))
    delay = timedelta(seconds=2)

    events = fail(job, attempt=1, worker="w1", error=ERROR, retry_in=delay)

    assert events == [Failed(ERROR, will_retry=True), Queued("retry", 3, delay)]
    later = after(job, *events)
    assert (later.status, later.attempt, later.max_attempts) == ("queued", 2, 3)


def test_a_lost_worker_spends_an_attempt() -> None:
    job = given(queued(), Started("w1"))

    events = rescue(job, attempt=1, worker="w1", error=ERROR, retry_in=timedelta(0))

    assert events == [Failed(ERROR, will_retry=True), Queued("worker_lost", 3)]
    later = after(job, *events)
    assert (later.status, later.attempt, later.max_attempts) == ("queued", 2, 3)


def test_a_manual_retry_raises_what_is_allowed_with_the_attempt() -> None:
    for job in (job_in("failed"), job_in("canceled")):
        events = retry(job)

        assert events == [Queued("manual_retry", 4)]
        later = after(job, *events)
        assert (later.attempt, later.max_attempts) == (2, 4)


def test_a_hand_back_raises_what_is_allowed_with_the_attempt() -> None:
    job = given(queued(), Started("w1"))

    events = hand_back(job, attempt=1, worker="w1")

    assert events == [Queued("worker_shutdown", 4)]
    later = after(job, *events)
    assert (later.attempt, later.max_attempts) == (2, 4)


@pytest.mark.parametrize("decide", [fail, rescue])
def test_the_last_attempt_is_not_retried(decide: Callable[..., list[Event]]) -> None:
    job = given(queued(max_attempts=1), Started("w1"))

    events = decide(job, attempt=1, worker="w1", error=ERROR, retry_in=timedelta(seconds=1))

    assert events == [Failed(ERROR, will_retry=False)]


@pytest.mark.parametrize("decide", [fail, rescue])
def test_what_is_not_to_be_retried_ends_although_attempts_are_left(decide: Callable[..., list[Event]]) -> None:
    job = given(queued(max_attempts=3), Started("w1"))

    events = decide(job, attempt=1, worker="w1", error=ERROR, retry_in=None)

    assert events == [Failed(ERROR, will_retry=False)]


def test_three_attempts_are_three_runs() -> None:
    job = given(queued(max_attempts=3))
    runs = 0

    while job.status is Status.QUEUED:
        job = after(job, *start(job, attempt=job.attempt, worker="w1"))
        job = after(job, *fail(job, attempt=job.attempt, worker="w1", error=ERROR, retry_in=timedelta(0)))
        runs += 1

    assert (runs, job.attempt, job.status) == (3, 3, "failed")


def test_a_manual_retry_of_a_job_out_of_attempts_gives_exactly_one_more() -> None:
    job = given(queued(max_attempts=1), Started("w1"), Failed(ERROR, will_retry=False), queued("manual_retry"), Started("w1"))

    events = fail(job, attempt=2, worker="w1", error=ERROR, retry_in=timedelta(0))

    assert events == [Failed(ERROR, will_retry=False)]


def test_hand_backs_spend_none_of_the_attempts() -> None:
    job = given(queued(max_attempts=2))

    for _ in range(5):
        job = after(job, *start(job, attempt=job.attempt, worker="w1"))
        job = after(job, *hand_back(job, attempt=job.attempt, worker="w1"))
    job = after(job, *start(job, attempt=job.attempt, worker="w1"))
    first = fail(job, attempt=6, worker="w1", error=ERROR, retry_in=timedelta(0))
    job = after(job, *first)
    job = after(job, *start(job, attempt=job.attempt, worker="w1"))
    second = fail(job, attempt=7, worker="w1", error=ERROR, retry_in=timedelta(0))

    assert [word(event) for event in first] == ["failed", "queued"]
    assert [word(event) for event in second] == ["failed"]


# The fence ----------------------------------------------------------------------------------------------------------------------

BY_A_WORKER: dict[str, Callable[[Job, int, str], list[Event]]] = {
    "progress": lambda job, attempt, worker: progress(job, attempt=attempt, worker=worker, result={}),
    "complete": lambda job, attempt, worker: complete(job, attempt=attempt, worker=worker, result={}),
    "fail": lambda job, attempt, worker: fail(job, attempt=attempt, worker=worker, error=ERROR, retry_in=timedelta(0)),
    "give_up": lambda job, attempt, worker: give_up(job, attempt=attempt, worker=worker, reason="own wish"),
    "hand_back": lambda job, attempt, worker: hand_back(job, attempt=attempt, worker=worker),
    "rescue": lambda job, attempt, worker: rescue(job, attempt=attempt, worker=worker, error=ERROR, retry_in=timedelta(0)),
}


@pytest.mark.parametrize("name", BY_A_WORKER)
def test_a_late_worker_may_not_speak_for_a_job_that_moved_on_to_another_worker(name: str) -> None:
    job = given(queued(), Started("w1"), Failed(ERROR, will_retry=True), queued("retry"), Started("w2"))

    with pytest.raises(NotAllowed, match="processing in attempt 2"):
        BY_A_WORKER[name](job, 1, "w1")


@pytest.mark.parametrize("name", BY_A_WORKER)
def test_a_worker_may_not_speak_for_its_own_earlier_attempt(name: str) -> None:
    job = given(queued(), Started("w1"), Failed(ERROR, will_retry=True), queued("retry"), Started("w1"))

    with pytest.raises(NotAllowed):
        BY_A_WORKER[name](job, 1, "w1")


@pytest.mark.parametrize("name", BY_A_WORKER)
def test_a_worker_may_not_speak_for_another_in_the_same_attempt(name: str) -> None:
    job = given(queued(), Started("w1"))

    with pytest.raises(NotAllowed):
        BY_A_WORKER[name](job, 1, "w2")


@pytest.mark.parametrize("name", BY_A_WORKER)
def test_a_worker_may_not_speak_for_an_attempt_to_come(name: str) -> None:
    job = given(queued(), Started("w1"))

    with pytest.raises(NotAllowed):
        BY_A_WORKER[name](job, 2, "w1")


@pytest.mark.parametrize("name", BY_A_WORKER)
def test_a_worker_may_not_speak_for_a_job_that_was_canceled_and_queued_again(name: str) -> None:
    job = given(queued(), Started("w1"), Canceled("asked"), queued("manual_retry"))

    for attempt in (1, 2):
        with pytest.raises(NotAllowed):
            BY_A_WORKER[name](job, attempt, "w1")


@pytest.mark.parametrize("attempt", [0, 1, 3])
def test_only_the_attempt_that_is_queued_may_be_started(attempt: int) -> None:
    job = given(queued(), Started("w1"), Failed(ERROR, will_retry=True), queued("retry"))

    with pytest.raises(NotAllowed, match="queued in attempt 2"):
        start(job, attempt=attempt, worker="w1")


def test_an_attempt_is_started_once_even_by_the_same_worker() -> None:
    job = given(queued(), Started("w1"))

    with pytest.raises(NotAllowed):
        start(job, attempt=1, worker="w1")


def test_a_cancel_and_a_force_fail_need_no_attempt() -> None:
    job = given(queued(), Started("w1"), Failed(ERROR, will_retry=True), queued("retry"), Started("w2"))

    assert cancel(job, reason="asked") == [Canceled("asked")]
    assert force_fail(job, error=ERROR) == [Failed(ERROR, will_retry=False)]


# A history that nobody could have written ---------------------------------------------------------------------------------------


def misplaced(job: Job, event: Event, **places: Any) -> Recorded:
    return next_recorded(job, event)._replace(**places)


@pytest.mark.parametrize("seq", [0, 1, 2, 4, 5])
def test_an_event_out_of_its_place_is_refused(seq: int) -> None:
    job = given(queued(), Started("w1"))

    with pytest.raises(BrokenHistory):
        evolve(job, misplaced(job, Progress(1), seq=seq))


@pytest.mark.parametrize(("event", "attempt"), [(Progress(1), 0), (Progress(1), 2), (queued("worker_shutdown"), 1)])
def test_an_event_of_another_attempt_is_refused(event: Event, attempt: int) -> None:
    job = given(queued(), Started("w1"))
    event = replace(event, max_attempts=4) if isinstance(event, Queued) else event

    with pytest.raises(BrokenHistory):
        evolve(job, misplaced(job, event, attempt=attempt))


def test_an_attempt_is_never_skipped() -> None:
    job = given(queued(), Started("w1"))

    with pytest.raises(BrokenHistory):
        evolve(job, misplaced(job, queued("worker_shutdown", max_attempts=4), attempt=3))


def test_time_does_not_run_backwards_within_a_job_and_may_stand_still() -> None:
    job = given(queued(), Started("w1"))

    assert evolve(job, misplaced(job, Progress(1), at=job.updated_at)).updated_at == job.updated_at
    with pytest.raises(BrokenHistory):
        evolve(job, misplaced(job, Progress(1), at=job.updated_at - timedelta(microseconds=1)))


@pytest.mark.parametrize(("seq", "attempt"), [(2, 1), (1, 2), (0, 1), (1, 0)])
def test_a_first_event_that_is_not_the_first_is_refused(seq: int, attempt: int) -> None:
    with pytest.raises(BrokenHistory):
        evolve(None, Recorded(JOB_ID, seq, attempt, queued(), "system:test", AT))


def test_a_first_event_without_a_type_is_refused() -> None:
    with pytest.raises(BrokenHistory):
        evolve(None, Recorded(JOB_ID, 1, 1, Queued("new", 3), "system:test", AT))


@pytest.mark.parametrize("reason", [reason for reason in every_reason() if reason != "new"])
def test_a_history_begins_with_no_reason_but_new(reason: Reason) -> None:
    with pytest.raises(BrokenHistory):
        evolve(None, Recorded(JOB_ID, 1, 1, replace(queued(), reason=reason), "system:test", AT))


AFTER: dict[str, tuple[tuple[Event, ...], set[Reason]]] = {
    "an attempt that runs": ((queued(), Started("w1")), {"worker_shutdown"}),
    "a failure that will be retried": ((queued(), Started("w1"), Failed(ERROR, will_retry=True)), {"retry", "worker_lost"}),
    "a failure that is the end": ((queued(), Started("w1"), Failed(ERROR, will_retry=False)), {"manual_retry"}),
    "a cancel": ((queued(), Started("w1"), Canceled("asked")), {"manual_retry"}),
}


@pytest.mark.parametrize("reason", every_reason())
@pytest.mark.parametrize("what", AFTER)
def test_a_later_attempt_is_opened_only_for_a_reason_that_a_decision_could_have_had(what: str, reason: Reason) -> None:
    events, reasons = AFTER[what]
    job = given(*events)
    again = Queued(reason, 4 if reason in ("manual_retry", "worker_shutdown") else 3)

    if reason in reasons:
        assert evolve(job, next_recorded(job, again)).status is Status.QUEUED
    else:
        with pytest.raises(BrokenHistory):
            evolve(job, next_recorded(job, again))


@pytest.mark.parametrize("max_attempts", [2, 4, 100])
def test_a_retry_that_changes_how_many_attempts_are_allowed_is_refused(max_attempts: int) -> None:
    job = given(queued(max_attempts=3), Started("w1"), Failed(ERROR, will_retry=True))

    with pytest.raises(BrokenHistory):
        evolve(job, next_recorded(job, Queued("retry", max_attempts)))


@pytest.mark.parametrize("max_attempts", [2, 3, 5])
def test_a_manual_retry_that_raises_the_attempts_by_more_or_less_than_one_is_refused(max_attempts: int) -> None:
    job = given(queued(max_attempts=3), Canceled("asked"))

    with pytest.raises(BrokenHistory):
        evolve(job, next_recorded(job, Queued("manual_retry", max_attempts)))


@pytest.mark.parametrize("max_attempts", [-1, 0])
def test_a_job_that_may_not_be_tried_even_once_is_refused(max_attempts: int) -> None:
    with pytest.raises(BrokenHistory):
        evolve(None, Recorded(JOB_ID, 1, 1, replace(queued(), max_attempts=max_attempts), "system:test", AT))


def test_a_failure_that_promises_a_retry_where_no_attempt_is_left_is_refused() -> None:
    job = given(queued(max_attempts=1), Started("w1"))

    with pytest.raises(BrokenHistory):
        evolve(job, next_recorded(job, Failed(ERROR, will_retry=True)))


def test_a_broken_history_names_the_job_the_event_and_the_state() -> None:
    job = given(queued(), Started("w1"), Completed(1))

    with pytest.raises(BrokenHistory) as broken:
        evolve(job, next_recorded(job, Started("w2")))

    told = str(broken.value)
    assert JOB_ID in told
    assert "started" in told
    assert "completed" in told


def test_no_events_are_no_job() -> None:
    assert fold([]) is None


def test_folding_up_to_any_event_is_the_job_as_it_was_then() -> None:
    history = recorded(queued(), Started("w1"), Progress(1), Completed(2))
    statuses = ["queued", "processing", "processing", "completed"]

    for length, status in enumerate(statuses, start=1):
        job = fold(history[:length])

        assert job is not None
        assert (job.seq, job.status, job.updated_at) == (length, status, history[length - 1].at)


def test_a_job_and_an_event_cannot_be_changed_in_place() -> None:
    job = given(queued())

    with pytest.raises(AttributeError):
        job.status = Status.FAILED  # type: ignore[misc]
    with pytest.raises(AttributeError):
        queued().max_attempts = 9  # type: ignore[misc]


def test_a_decision_leaves_the_job_as_it_was() -> None:
    job = given(queued(), Started("w1"))
    before = copy.deepcopy(job)

    fail(job, attempt=1, worker="w1", error=ERROR, retry_in=timedelta(0))
    cancel(job, reason="asked")

    assert job == before
    assert isinstance(job.updated_at, datetime)
