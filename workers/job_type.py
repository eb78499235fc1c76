"""`JobType`, the `Context` and `Payload` of its handler, and the `Backoff` of its retries.

A new job type is one file that holds a `JobType`, and one line in `registry.py`.
"""

import hashlib
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Generic, Literal, Protocol, TypeVar

import orjson
from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from events.database import Database
from events.job import JSON
from workers.description import Part
from workers.resources import Resources


class Payload(BaseModel):
    """The base of payloads: camelCase in JSON, snake_case in Python, unknown fields refused."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True)

    def to_json(self) -> dict[str, JSON]:
        """Returns the payload as it is stored: without the fields that are None."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


P = TypeVar("P", bound=Payload)


class Unique(StrEnum):
    """Says which second job of a type is refused while a first one is queued or processing."""

    PER_TYPE = "per type"  # any second job
    PER_PAYLOAD = "per payload"  # a second job with an equal payload
    PER_USER_AND_PAYLOAD = "per user and payload"  # a second job of the same user with an equal payload


@dataclass(frozen=True, slots=True)
class Backoff:
    """The wait before attempt n + 1: `first` × 2ⁿ⁻¹ seconds, at most `ceiling` seconds.

    `jitter` is the share by which the wait varies at random: 0.2 means 20 % less or more.
    """

    first: float = 1.0
    ceiling: float = 10.0
    jitter: float = 0.2

    def after(self, attempt: int) -> timedelta:
        """Returns the wait after attempt number `attempt`. The first attempt has number 1."""
        seconds = min(self.first * 2 ** min(attempt - 1, 30), self.ceiling)
        return timedelta(seconds=min(seconds * random.uniform(1 - self.jitter, 1 + self.jitter), self.ceiling))


class Context(Protocol):
    """A handler's link to its job: ids, shared clients, progress, and a transaction (`store`)."""

    job_id: str
    attempt: int
    user_id: str | None
    resources: Resources
    started_event: str
    """The name of this attempt's `started` event: the `cause` of every job that the handler queues."""

    @property
    def database(self) -> Database:
        """The database, for reading. Write to it only inside `store`."""
        ...

    async def progress(self, result: JSON) -> None:
        """Reports how far the work is. The report is the job's `result` until the next one.

        Call it as often as you like: the first two reports are appended to the log at once, then at
        most one report a second. The last report is always appended.

        Raises:
            NotJSON: JSON cannot hold `result`.
        """
        ...

    def store(self) -> AbstractAsyncContextManager[None]:
        """Opens a short transaction that commits only while this attempt owns the job.

            async with context.store():
                await context.database.execute(…)

        The last statement of the transaction checks that the job is still processing in this
        attempt. Make no network call and start no new task inside the transaction. Write upserts
        only, because the next attempt may write the same rows again.

        Raises:
            AttemptOver: the job was canceled or has another attempt; nothing was stored.
        """
        ...


@dataclass(frozen=True, slots=True)
class JobType(Generic[P]):
    """One kind of job: its payload, its handler, and the rules for its attempts."""

    name: str
    payload: type[P]
    run: Callable[[Context, P], Awaitable[JSON]]
    """The handler.

    It returns the job's result. A handler that raises is retried, unless it raises `Final` or
    `GiveUp`.
    """
    deadline: float
    """Seconds after which one attempt is stopped and counts as failed."""
    max_attempts: int = 5
    backoff: Backoff = field(default_factory=Backoff)
    """The wait between two attempts."""
    retry_when_worker_lost: bool = True
    """Whether a job is retried after its worker crashed. Use False for work that costs money."""
    title: str | None = None
    """The name that people see. If it is None, they see `name`."""
    describe: Callable[[P], str | Sequence[Part]] | None = None
    """Says in a few words what a job with this payload is about, beside the title.

    A text, or parts: texts, companies, rooms, periods (`workers/description.py`).
    """
    unique: Unique | None = None
    """Which second job is refused while a first one is active. None allows any number."""
    calls: str | None = None
    """The outside service that the handler calls.

    When that service asks for a long break, all job types that call it are paused.
    """
    role: Literal["admin", "employee"] = "admin"
    """The lowest role that may queue, retry or repeat a job of this type."""
    paid: bool = False
    """Whether its jobs cost money. LIMIT_PAID_JOBS limits how many one person may queue."""

    def unique_key(self, payload: JSON, user_id: str | None) -> str | None:
        """Returns the key that only one active job may have; None if any number may be active."""
        match self.unique:
            case None:
                return None
            case Unique.PER_TYPE:
                return self.name
            case Unique.PER_PAYLOAD:
                return f"{self.name}:{_digest(payload)}"
            case Unique.PER_USER_AND_PAYLOAD:
                return f"{self.name}:{user_id}:{_digest(payload)}"


def _digest(payload: JSON) -> str:
    return hashlib.sha256(orjson.dumps(payload, option=orjson.OPT_SORT_KEYS)).hexdigest()
