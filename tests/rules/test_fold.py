"""The fields of a job after each of the six events."""

from datetime import timedelta
from typing import Any

import pytest

from events.job import (
    ENDED,
    Canceled,
    Completed,
    Event,
    Failed,
    Job,
    JobError,
    Progress,
    Queued,
    Recorded,
    Started,
    Status,
    evolve,
    queue,
)
from tests.histories import ALICE, AT, ERROR, JOB_ID, STEP, job_after, queued
from tests.rules.jobs import STATES, after, job_in


def changed(before: Job, later: Job) -> dict[str, Any]:
    """Returns the fields that have changed, with their new values.

    `seq` and `updated_at` are left out, because they always change.
    """
    old, new = before._asdict(), later._asdict()
    return {name: new[name] for name in new if new[name] != old[name] and name not in ("seq", "updated_at")}


def test_a_new_job_has_only_the_values_of_its_first_event() -> None:
    [event] = queue(job_type="rooms", payload={"n": 1}, user_id=ALICE, max_attempts=3, delay=timedelta(seconds=5))

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
    [event] = queue(job_type="rooms", payload={}, user_id=None, max_attempts=1)

    job = evolve(None, Recorded(JOB_ID, 1, 1, event, "system:schedule", AT))

    assert job.user_id is None
    assert job.run_at == AT


def test_started_sets_the_worker_and_the_start_of_this_attempt() -> None:
    job = job_after(queued())

    later = after(job, Started("w1"))

    assert changed(job, later) == {"status": "processing", "worker": "w1", "started_at": job.updated_at + STEP}


def test_progress_sets_only_the_result() -> None:
    job = job_after(queued(), Started("w1"))

    later = after(job, Progress({"done": 1}))

    assert changed(job, later) == {"result": {"done": 1}}


def test_completed_sets_the_result_and_the_end_and_clears_the_error() -> None:
    job = job_after(queued(), Started("w1"), Failed(ERROR, will_retry=True), queued("retry"), Started("w2"), Progress(1))

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
    job = job_after(queued(), Started("w1"), Progress({"done": 1}))

    later = after(job, Failed(ERROR, will_retry=False))

    assert changed(job, later) == {
        "status": "failed",
        "error": ERROR,
        "worker": None,
        "finished_at": job.updated_at + STEP,
    }
    assert later.result == {"done": 1}


def test_failed_replaces_the_error_of_an_attempt_before() -> None:
    job = job_after(queued(), Started("w1"), Failed(ERROR, will_retry=True), queued("retry"), Started("w1"))
    other = JobError("KeyError", "another", None)

    later = after(job, Failed(other, will_retry=False))

    assert later.error == other


def test_a_failure_that_will_be_retried_is_not_an_end() -> None:
    job = job_after(queued(), Started("w1"))

    later = after(job, Failed(ERROR, will_retry=True))

    assert later.status is Status.FAILED
    assert later.finished_at is None


@pytest.mark.parametrize("events", [(queued(),), (queued(), Started("w1"), Progress({"done": 1}))])
def test_canceled_sets_the_end_and_leaves_result_and_error(events: tuple[Event, ...]) -> None:
    job = job_after(*events)

    later = after(job, Canceled("asked"))

    assert {name: value for name, value in changed(job, later).items() if name != "worker"} == {
        "status": "canceled",
        "finished_at": job.updated_at + STEP,
    }
    assert later.worker is None


def test_canceled_keeps_the_error_of_an_attempt_before() -> None:
    job = job_after(queued(), Started("w1"), Failed(ERROR, will_retry=True), queued("retry"))

    later = after(job, Canceled("asked"))

    assert later.error == ERROR


def test_a_retry_of_a_failed_job_clears_the_fields_of_the_attempt_and_keeps_the_error() -> None:
    job = job_after(queued(), Started("w1"), Progress({"done": 1}), Failed(ERROR, will_retry=False))
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
    job = job_after(queued(), Started("w1"), Progress({"done": 1}))

    later = after(job, queued("worker_shutdown", max_attempts=4))

    assert (later.worker, later.result, later.started_at, later.finished_at) == (None, None, None, None)
    assert later.run_at == later.updated_at


def test_the_creation_fields_of_a_job_never_change() -> None:
    job = job_after(queued())

    last = job_after(
        queued(), Started("w1"), Failed(ERROR, will_retry=True), queued("retry"), Canceled("x"), queued("manual_retry"),
        Started("w2"), Progress(1), Completed(2),
    )  # fmt: skip

    for field in ("id", "type", "payload", "user_id", "created_at"):
        assert getattr(last, field) == getattr(job, field)


@pytest.mark.parametrize("state", STATES)
def test_a_job_names_a_worker_only_while_it_is_processing(state: str) -> None:
    assert (job_in(state).worker is not None) == (state == "processing")


@pytest.mark.parametrize("state", STATES)
def test_only_an_ended_job_has_finished_at(state: str) -> None:
    job = job_in(state)

    assert job.finished_at == (job.updated_at if job.status in ENDED else None)
