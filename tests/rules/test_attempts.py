"""How failures, lost workers, manual retries and hand-backs count as attempts."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from events.job import (
    Event,
    Failed,
    Queued,
    Started,
    Status,
    fail,
    hand_back,
    rescue,
    retry,
    start,
    word,
)
from tests.histories import ERROR, job_after, queued
from tests.rules.jobs import after, job_in


def test_a_failure_with_an_attempt_left_is_queued_again_in_the_same_write() -> None:
    job = job_after(queued(), Started("w1"))
    delay = timedelta(seconds=2)

    events = fail(job, attempt=1, worker="w1", error=ERROR, retry_in=delay)

    assert events == [Failed(ERROR, will_retry=True), Queued("retry", 3, delay)]
    later = after(job, *events)
    assert (later.status, later.attempt, later.max_attempts) == ("queued", 2, 3)


def test_a_lost_worker_uses_up_an_attempt() -> None:
    job = job_after(queued(), Started("w1"))

    events = rescue(job, attempt=1, worker="w1", error=ERROR, retry_in=timedelta(0))

    assert events == [Failed(ERROR, will_retry=True), Queued("worker_lost", 3)]
    later = after(job, *events)
    assert (later.status, later.attempt, later.max_attempts) == ("queued", 2, 3)


def test_a_manual_retry_raises_max_attempts_with_the_attempt() -> None:
    for job in (job_in("failed"), job_in("canceled")):
        events = retry(job)

        assert events == [Queued("manual_retry", 4)]
        later = after(job, *events)
        assert (later.attempt, later.max_attempts) == (2, 4)


def test_a_hand_back_raises_max_attempts_with_the_attempt() -> None:
    job = job_after(queued(), Started("w1"))

    events = hand_back(job, attempt=1, worker="w1")

    assert events == [Queued("worker_shutdown", 4)]
    later = after(job, *events)
    assert (later.attempt, later.max_attempts) == (2, 4)


@pytest.mark.parametrize("decide", [fail, rescue])
def test_a_failure_of_the_last_attempt_is_not_retried(decide: Callable[..., list[Event]]) -> None:
    job = job_after(queued(max_attempts=1), Started("w1"))

    events = decide(job, attempt=1, worker="w1", error=ERROR, retry_in=timedelta(seconds=1))

    assert events == [Failed(ERROR, will_retry=False)]


@pytest.mark.parametrize("decide", [fail, rescue])
def test_a_failure_without_retry_ends_although_attempts_are_left(decide: Callable[..., list[Event]]) -> None:
    job = job_after(queued(max_attempts=3), Started("w1"))

    events = decide(job, attempt=1, worker="w1", error=ERROR, retry_in=None)

    assert events == [Failed(ERROR, will_retry=False)]


def test_a_job_with_three_attempts_runs_at_most_three_times() -> None:
    job = job_after(queued(max_attempts=3))
    runs = 0

    while job.status is Status.QUEUED:
        job = after(job, *start(job, attempt=job.attempt, worker="w1"))
        job = after(job, *fail(job, attempt=job.attempt, worker="w1", error=ERROR, retry_in=timedelta(0)))
        runs += 1

    assert (runs, job.attempt, job.status) == (3, 3, "failed")


def test_a_manual_retry_of_a_job_out_of_attempts_gives_exactly_one_more() -> None:
    job = job_after(
        queued(max_attempts=1), Started("w1"), Failed(ERROR, will_retry=False), queued("manual_retry"), Started("w1")
    )

    events = fail(job, attempt=2, worker="w1", error=ERROR, retry_in=timedelta(0))

    assert events == [Failed(ERROR, will_retry=False)]


def test_hand_backs_use_up_no_attempts() -> None:
    job = job_after(queued(max_attempts=2))

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
