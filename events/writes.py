"""A new job, one pending write, the start of an attempt, and the errors of a write."""

import asyncio
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import NamedTuple

from events.job import JSON, NO_DELAY, Event, Job, Recorded, queue
from events.statements import CREATE_JOBS, MOVE_JOBS, MOVE_JOBS_OF_KEYS, START_JOBS

Decision = Callable[[Job], list[Event]]


@dataclass(frozen=True, slots=True)
class Idempotency:
    """A client's `Idempotency-Key` header, and the hash of the request that carried it."""

    key: str
    request_hash: str


class NewJob(NamedTuple):
    """A job to be queued.

    At most one job with a given `unique_key` is active at a time. `idempotency` needs a `user_id`. `cause` is the cause of the
    job's first event: an event of another job (`event_name`), `schedule:<id>/<slot>` or `webhook:<event id>`. It never comes
    from a client.
    """

    type: str
    payload: JSON
    user_id: str | None
    max_attempts: int
    delay: timedelta = NO_DELAY
    unique_key: str | None = None
    idempotency: Idempotency | None = None
    cause: str | None = None


class UnknownJob(LookupError):
    """No job has this id."""

    def __init__(self, job_id: str) -> None:
        super().__init__(f"job {job_id} is not in the view")


class BrokenView(Exception):
    """A row of the jobs view that the service cannot have written."""

    def __init__(self, job_id: str, why: str) -> None:
        super().__init__(f"job {job_id} cannot be read in the view: {why}")
        self.job_id = job_id


class AlreadyActive(Exception):
    """A job with the same unique key is queued or processing. `job_id` is that job."""

    def __init__(self, job_id: str) -> None:
        super().__init__(f"job {job_id} of the same kind is active")
        self.job_id = job_id


class KeyTaken(Exception):
    """The idempotency key is already bound to a job.

    `job_id` is that job, and `request_hash` the hash of the request that bound the key.
    """

    def __init__(self, job_id: str, request_hash: str) -> None:
        super().__init__(f"the idempotency key belongs to job {job_id}")
        self.job_id = job_id
        self.request_hash = request_hash


Reply = asyncio.Future[Job | None]
"""Resolves to the job after the write.

None means that nothing was written, because the job's state has changed or, for a new job, because a key is taken.
"""


def _reply() -> Reply:
    return asyncio.get_running_loop().create_future()


@dataclass(slots=True, eq=False)
class EventWrite:
    """One pending write of a job's events.

    If both `before` and `new` are None, the batch writer reads the job and calls `decide` to get the events. `user_key` is a
    user's id and an idempotency key to bind to the job. The batch writer sets `recorded`, `after` (the job after the events)
    and `salts`, one for each event, by which it recognises the events after a broken connection. `group_commit.Write`
    explains `patient`.
    """

    job_id: str
    actor: str
    request_id: str | None
    before: Job | None = None
    events: list[Event] = field(default_factory=list)
    new: NewJob | None = None
    decide: Decision | None = None
    user_key: tuple[str, Idempotency] | None = None
    salts: list[bytes] = field(default_factory=list)
    recorded: list[Recorded] = field(default_factory=list)
    after: Job | None = None
    patient: bool = True
    reply: Reply = field(default_factory=_reply)

    @property
    def key(self) -> str:
        return self.job_id

    @property
    def kind(self) -> str:
        """The SQL statement that writes these events."""
        if self.new is not None:
            return CREATE_JOBS
        return MOVE_JOBS if self.user_key is None else MOVE_JOBS_OF_KEYS


@dataclass(slots=True, eq=False)
class AttemptStart:
    """One pending write that starts an attempt, if the attempt is still queued."""

    job_id: str
    attempt: int
    type: str
    worker: str
    salt: bytes = b""
    patient: bool = True
    reply: Reply = field(default_factory=_reply)

    @property
    def key(self) -> str:
        return self.job_id

    @property
    def kind(self) -> tuple[str, str]:
        return START_JOBS, self.worker


def new_job_id() -> str:
    """Returns a new UUIDv7, so that ids sort by time of creation (RFC 9562, 6.2, method 3).

    Its 122 free bits are 48 bits of Unix milliseconds, 12 bits of the fraction of a millisecond, and 62 random bits.
    """
    milliseconds, nanoseconds = divmod(time.time_ns(), 1_000_000)
    high = milliseconds << 16 | 0x7000 | nanoseconds * 4096 // 1_000_000
    low = 0b10 << 62 | int.from_bytes(os.urandom(8)) >> 2
    digits = f"{high:016x}{low:016x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def creation(new: NewJob, actor: str, request_id: str | None) -> EventWrite:
    """Makes the write that queues a new job under a new id."""
    decided = queue(
        job_type=new.type, payload=new.payload, user_id=new.user_id, max_attempts=new.max_attempts, delay=new.delay,
        unique_key=new.unique_key,
    )  # fmt: skip
    return EventWrite(new_job_id(), actor, request_id, None, decided, new)
