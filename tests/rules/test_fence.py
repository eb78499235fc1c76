"""The fence: a worker may write only for a running attempt that it has started."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from events.job import (
    Canceled,
    Event,
    Failed,
    Job,
    NotAllowed,
    Started,
    cancel,
    complete,
    fail,
    force_fail,
    give_up,
    hand_back,
    progress,
    rescue,
    start,
)
from tests.histories import ERROR, job_after, queued

BY_A_WORKER: dict[str, Callable[[Job, int, str], list[Event]]] = {
    "progress": lambda job, attempt, worker: progress(job, attempt=attempt, worker=worker, result={}),
    "complete": lambda job, attempt, worker: complete(job, attempt=attempt, worker=worker, result={}),
    "fail": lambda job, attempt, worker: fail(job, attempt=attempt, worker=worker, error=ERROR, retry_in=timedelta(0)),
    "give_up": lambda job, attempt, worker: give_up(job, attempt=attempt, worker=worker, reason="own wish"),
    "hand_back": lambda job, attempt, worker: hand_back(job, attempt=attempt, worker=worker),
    "rescue": lambda job, attempt, worker: rescue(job, attempt=attempt, worker=worker, error=ERROR, retry_in=timedelta(0)),
}


@pytest.mark.parametrize("name", BY_A_WORKER)
def test_a_late_worker_may_not_write_for_a_job_that_moved_on_to_another_worker(name: str) -> None:
    job = job_after(queued(), Started("w1"), Failed(ERROR, will_retry=True), queued("retry"), Started("w2"))

    with pytest.raises(NotAllowed, match="processing in attempt 2"):
        BY_A_WORKER[name](job, 1, "w1")


@pytest.mark.parametrize("name", BY_A_WORKER)
def test_a_worker_may_not_write_for_its_own_earlier_attempt(name: str) -> None:
    job = job_after(queued(), Started("w1"), Failed(ERROR, will_retry=True), queued("retry"), Started("w1"))

    with pytest.raises(NotAllowed):
        BY_A_WORKER[name](job, 1, "w1")


@pytest.mark.parametrize("name", BY_A_WORKER)
def test_a_worker_may_not_write_for_the_worker_that_started_the_attempt(name: str) -> None:
    job = job_after(queued(), Started("w1"))

    with pytest.raises(NotAllowed):
        BY_A_WORKER[name](job, 1, "w2")


@pytest.mark.parametrize("name", BY_A_WORKER)
def test_a_worker_may_not_write_for_a_later_attempt(name: str) -> None:
    job = job_after(queued(), Started("w1"))

    with pytest.raises(NotAllowed):
        BY_A_WORKER[name](job, 2, "w1")


@pytest.mark.parametrize("name", BY_A_WORKER)
def test_a_worker_may_not_write_for_a_job_that_was_canceled_and_queued_again(name: str) -> None:
    job = job_after(queued(), Started("w1"), Canceled("asked"), queued("manual_retry"))

    for attempt in (1, 2):
        with pytest.raises(NotAllowed):
            BY_A_WORKER[name](job, attempt, "w1")


@pytest.mark.parametrize("attempt", [0, 1, 3])
def test_only_the_attempt_that_is_queued_may_be_started(attempt: int) -> None:
    job = job_after(queued(), Started("w1"), Failed(ERROR, will_retry=True), queued("retry"))

    with pytest.raises(NotAllowed, match="queued in attempt 2"):
        start(job, attempt=attempt, worker="w1")


def test_an_attempt_is_started_once_even_by_the_same_worker() -> None:
    job = job_after(queued(), Started("w1"))

    with pytest.raises(NotAllowed):
        start(job, attempt=1, worker="w1")


def test_a_cancel_and_a_force_fail_need_no_attempt() -> None:
    job = job_after(queued(), Started("w1"), Failed(ERROR, will_retry=True), queued("retry"), Started("w2"))

    assert cancel(job, reason="asked") == [Canceled("asked")]
    assert force_fail(job, error=ERROR) == [Failed(ERROR, will_retry=False)]
