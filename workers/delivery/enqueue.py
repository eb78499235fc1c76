"""The one way to queue jobs, whoever asks: the API, a schedule, a webhook."""

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
) -> Job:
    """The queued job, once it is durable. Raises `AlreadyActive` and `KeyTaken` (`events/store.py`). Where the wire is away the
    request succeeds all the same: the event is the promise, and the tick delivers it."""
    new = NewJob(
        type=job_type.name,
        payload=payload,
        user_id=user_id,
        max_attempts=job_type.max_attempts,
        delay=delay,
        unique_key=job_type.unique_key(payload, user_id),
        idempotency=idempotency,
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
) -> list[Job]:
    """One job for each payload, in order, once they are all durable. Each stands for itself: where one is active already
    (`AlreadyActive`), the others are queued all the same."""
    new = [
        NewJob(
            type=job_type.name,
            payload=payload,
            user_id=user_id,
            max_attempts=job_type.max_attempts,
            unique_key=job_type.unique_key(payload, user_id),
        )
        for payload in payloads
    ]
    jobs = await store.create_many(new, actor=actor, request_id=request_id)
    # What is beyond the window the tick brings.
    wire.push([Hint.of(job) for job in jobs[:WINDOW]])
    return jobs
