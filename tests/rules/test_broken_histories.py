"""`evolve` refuses an event that no decision could have produced."""

import copy
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from events.job import (
    BrokenHistory,
    Canceled,
    Completed,
    Event,
    Failed,
    Job,
    Progress,
    Queued,
    Reason,
    Recorded,
    Started,
    Status,
    cancel,
    evolve,
    fail,
    fold,
)
from tests.histories import AT, ERROR, JOB_ID, every_reason, job_after, next_recorded, queued, recorded


def misplaced(job: Job, event: Event, **places: Any) -> Recorded:
    return next_recorded(job, event)._replace(**places)


@pytest.mark.parametrize("seq", [0, 1, 2, 4, 5])
def test_an_event_whose_seq_is_not_the_next_one_is_refused(seq: int) -> None:
    job = job_after(queued(), Started("w1"))

    with pytest.raises(BrokenHistory):
        evolve(job, misplaced(job, Progress(1), seq=seq))


@pytest.mark.parametrize(("event", "attempt"), [(Progress(1), 0), (Progress(1), 2), (queued("worker_shutdown"), 1)])
def test_an_event_of_another_attempt_is_refused(event: Event, attempt: int) -> None:
    job = job_after(queued(), Started("w1"))
    event = replace(event, max_attempts=4) if isinstance(event, Queued) else event

    with pytest.raises(BrokenHistory):
        evolve(job, misplaced(job, event, attempt=attempt))


def test_an_attempt_is_never_skipped() -> None:
    job = job_after(queued(), Started("w1"))

    with pytest.raises(BrokenHistory):
        evolve(job, misplaced(job, queued("worker_shutdown", max_attempts=4), attempt=3))


def test_an_event_earlier_than_the_one_before_is_refused_and_an_equal_time_is_accepted() -> None:
    job = job_after(queued(), Started("w1"))

    assert evolve(job, misplaced(job, Progress(1), at=job.updated_at)).updated_at == job.updated_at
    with pytest.raises(BrokenHistory):
        evolve(job, misplaced(job, Progress(1), at=job.updated_at - timedelta(microseconds=1)))


@pytest.mark.parametrize(("seq", "attempt"), [(2, 1), (1, 2), (0, 1), (1, 0)])
def test_a_first_event_with_another_seq_or_attempt_than_1_is_refused(seq: int, attempt: int) -> None:
    with pytest.raises(BrokenHistory):
        evolve(None, Recorded(JOB_ID, seq, attempt, queued(), "system:test", AT))


def test_a_first_event_without_a_type_is_refused() -> None:
    with pytest.raises(BrokenHistory):
        evolve(None, Recorded(JOB_ID, 1, 1, Queued("new", 3), "system:test", AT))


@pytest.mark.parametrize("reason", [reason for reason in every_reason() if reason != "new"])
def test_a_first_event_with_another_reason_than_new_is_refused(reason: Reason) -> None:
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
def test_a_later_attempt_is_accepted_only_with_a_reason_that_fits_the_state(what: str, reason: Reason) -> None:
    events, reasons = AFTER[what]
    job = job_after(*events)
    again = Queued(reason, 4 if reason in ("manual_retry", "worker_shutdown") else 3)

    if reason in reasons:
        assert evolve(job, next_recorded(job, again)).status is Status.QUEUED
    else:
        with pytest.raises(BrokenHistory):
            evolve(job, next_recorded(job, again))


@pytest.mark.parametrize("max_attempts", [2, 4, 100])
def test_a_retry_that_changes_how_many_attempts_are_allowed_is_refused(max_attempts: int) -> None:
    job = job_after(queued(max_attempts=3), Started("w1"), Failed(ERROR, will_retry=True))

    with pytest.raises(BrokenHistory):
        evolve(job, next_recorded(job, Queued("retry", max_attempts)))


@pytest.mark.parametrize("max_attempts", [2, 3, 5])
def test_a_manual_retry_that_raises_the_attempts_by_more_or_less_than_one_is_refused(max_attempts: int) -> None:
    job = job_after(queued(max_attempts=3), Canceled("asked"))

    with pytest.raises(BrokenHistory):
        evolve(job, next_recorded(job, Queued("manual_retry", max_attempts)))


@pytest.mark.parametrize("max_attempts", [-1, 0])
def test_a_job_without_any_allowed_attempt_is_refused(max_attempts: int) -> None:
    with pytest.raises(BrokenHistory):
        evolve(None, Recorded(JOB_ID, 1, 1, replace(queued(), max_attempts=max_attempts), "system:test", AT))


def test_a_failure_with_will_retry_but_no_attempt_left_is_refused() -> None:
    job = job_after(queued(max_attempts=1), Started("w1"))

    with pytest.raises(BrokenHistory):
        evolve(job, next_recorded(job, Failed(ERROR, will_retry=True)))


def test_a_broken_history_names_the_job_the_event_and_the_state() -> None:
    job = job_after(queued(), Started("w1"), Completed(1))

    with pytest.raises(BrokenHistory) as broken:
        evolve(job, next_recorded(job, Started("w2")))

    told = str(broken.value)
    assert JOB_ID in told
    assert "started" in told
    assert "completed" in told


def test_a_history_without_events_gives_no_job() -> None:
    assert fold([]) is None


def test_folding_the_first_events_gives_the_job_as_it_was_after_them() -> None:
    history = recorded(queued(), Started("w1"), Progress(1), Completed(2))
    statuses = ["queued", "processing", "processing", "completed"]

    for length, status in enumerate(statuses, start=1):
        job = fold(history[:length])

        assert job is not None
        assert (job.seq, job.status, job.updated_at) == (length, status, history[length - 1].at)


def test_a_job_and_an_event_cannot_be_changed_in_place() -> None:
    job = job_after(queued())

    with pytest.raises(AttributeError):
        job.status = Status.FAILED  # type: ignore[misc]
    with pytest.raises(AttributeError):
        queued().max_attempts = 9  # type: ignore[misc]


def test_a_decision_does_not_change_the_job_object() -> None:
    job = job_after(queued(), Started("w1"))
    before = copy.deepcopy(job)

    fail(job, attempt=1, worker="w1", error=ERROR, retry_in=timedelta(0))
    cancel(job, reason="asked")

    assert job == before
    assert isinstance(job.updated_at, datetime)
