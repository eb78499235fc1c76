"""Queues jobs. The API, a schedule and a webhook all use these functions."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from events.job import JSON, NO_DELAY, Job
from events.store import Store
from events.writes import Idempotency, NewJob
from workers.delivery.wire import WINDOW, Hint, Wire
from workers.job_type import JobType


async def enqueue(
    store: Store,
    wire: Wire,
    job_type: JobType[Any],
    payload: JSON,
    *,
    user_id: str | None,
    actor: str,
    request_id: str | None = None,
    idempotency: Idempotency | None = None,
    delay: timedelta = NO_DELAY,
    cause: str | None = None,
) -> Job:
    """Queues one job and returns it once it is committed.

    It succeeds also while Redis is unreachable, because the tick delivers the job from the log
    later. `cause` is the cause of the job (`NewJob`).

    Raises:
        AlreadyActive: an active job has the same unique key.
        KeyTaken: the idempotency key belongs to another job.
    """
    new = NewJob(
        type=job_type.name,
        payload=payload,
        user_id=user_id,
        max_attempts=job_type.max_attempts,
        delay=delay,
        unique_key=job_type.unique_key(payload, user_id),
        idempotency=idempotency,
        cause=cause,
    )
    job = await store.create(new, actor=actor, request_id=request_id)
    if not delay:
        wire.push([Hint.of(job)])
    return job


async def enqueue_many(
    store: Store,
    wire: Wire,
    job_type: JobType[Any],
    payloads: Sequence[JSON],
    *,
    user_id: str | None,
    actor: str,
    request_id: str | None = None,
    cause: str | None = None,
) -> list[Job]:
    """Queues one job for each payload. Returns the jobs in that order once all are committed.

    `cause` is the cause of every job (`NewJob`).

    Raises:
        AlreadyActive: an active job has the unique key of one of the new jobs. The other new jobs
        are queued nevertheless.
    """
    new = [
        NewJob(
            type=job_type.name,
            payload=payload,
            user_id=user_id,
            max_attempts=job_type.max_attempts,
            unique_key=job_type.unique_key(payload, user_id),
            cause=cause,
        )
        for payload in payloads
    ]
    jobs = await store.create_many(new, actor=actor, request_id=request_id)
    # Only the first `WINDOW` jobs get a hint here. The tick delivers the others.
    wire.push([Hint.of(job) for job in jobs[:WINDOW]])
    return jobs
