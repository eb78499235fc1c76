"""What is on its way into the log: a new job, one pending write, an attempt that starts, and the errors of a write."""

import asyncio
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import NamedTuple

from events.job import (
    JSON,
    NO_DELAY,
    Event,
    Job,
    Recorded,
    queue,
)
from events.statements import CREATE_JOBS, MOVE_JOBS, MOVE_JOBS_OF_KEYS, START_JOBS

Decision = Callable[[Job], list[Event]]


@dataclass(frozen=True, slots=True)
class Idempotency:
    """A client's `Idempotency-Key`, and the hash of the request it came with."""

    key: str
    request_hash: str


class NewJob(NamedTuple):
    """A job to be queued. `payload` is JSON; of one `unique_key` at most one job is active; an `idempotency` needs a user."""

    type: str
    payload: JSON
    user_id: str | None
    max_attempts: int
    delay: timedelta = NO_DELAY
    unique_key: str | None = None
    idempotency: Idempotency | None = None


class UnknownJob(LookupError):
    """There is no job of this id."""

    def __init__(self, job_id: str) -> None:
        super().__init__(f"job {job_id} is not in the view")


class BrokenView(Exception):
    """A row of the view that nobody could have written: `job_id`."""

    def __init__(self, job_id: str, why: str) -> None:
        super().__init__(f"job {job_id} cannot be read in the view: {why}")
        self.job_id = job_id


class AlreadyActive(Exception):
    """A job with the same unique key is queued or processing: `job_id`."""

    def __init__(self, job_id: str) -> None:
        super().__init__(f"job {job_id} of the same kind is active")
        self.job_id = job_id


class KeyTaken(Exception):
    """The idempotency key belongs to a job already: `job_id`, made by the request with `request_hash`."""

    def __init__(self, job_id: str, request_hash: str) -> None:
        super().__init__(f"the idempotency key belongs to job {job_id}")
        self.job_id = job_id
        self.request_hash = request_hash


Answer = asyncio.Future[Job | None]
"""The job after what was asked for; None where it was refused."""


def _answer() -> Answer:
    return asyncio.get_running_loop().create_future()


@dataclass(slots=True, eq=False)
class EventWrite:
    """Events on their way into the log. By its events' `salts` a write is recognised after a broken connection. Without a job
    `before` and a `new` one, the job is read and the events are decided where they are written."""

    job_id: str
    actor: str
    request_id: str | None
    before: Job | None = None
    events: list[Event] = field(default_factory=list)
    new: NewJob | None = None
    decide: Decision | None = None
    names: tuple[str, Idempotency] | None = None
    salts: list[bytes] = field(default_factory=list)
    recorded: list[Recorded] = field(default_factory=list)
    after: Job | None = None
    patient: bool = True
    answer: Answer = field(default_factory=_answer)

    @property
    def key(self) -> str:
        return self.job_id

    @property
    def kind(self) -> str:
        """The statement that writes it."""
        if self.new is not None:
            return CREATE_JOBS
        return MOVE_JOBS if self.names is None else MOVE_JOBS_OF_KEYS


@dataclass(slots=True, eq=False)
class AttemptStart:
    """An attempt that is to be started, if it is the one that the job waits for."""

    job_id: str
    attempt: int
    type: str
    worker: str
    salt: bytes = b""
    patient: bool = True
    answer: Answer = field(default_factory=_answer)

    @property
    def key(self) -> str:
        return self.job_id

    @property
    def kind(self) -> tuple[str, str]:
        return START_JOBS, self.worker


def new_job_id() -> str:
    """A UUIDv7 (RFC 9562, 6.2, method 3): 48 bits of Unix milliseconds, 12 of their fraction, then 62 random ones, so that ids
    are made in order of time."""
    milliseconds, nanoseconds = divmod(time.time_ns(), 1_000_000)
    high = milliseconds << 16 | 0x7000 | nanoseconds * 4096 // 1_000_000
    low = 0b10 << 62 | int.from_bytes(os.urandom(8)) >> 2
    digits = f"{high:016x}{low:016x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def creation(new: NewJob, actor: str, request_id: str | None) -> EventWrite:
    decided = queue(
        type=new.type, payload=new.payload, user_id=new.user_id, max_attempts=new.max_attempts, delay=new.delay,
        unique_key=new.unique_key,
    )  # fmt: skip
    return EventWrite(new_job_id(), actor, request_id, None, decided, new)
