"""What a job type is, and what its handler is handed. A new type is one file with a `JobType` and one line in `registry.py`."""

import hashlib
import random
from collections.abc import Awaitable, Callable
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
from workers.resources import Resources


class Payload(BaseModel):
    """The base of every payload: camelCase in JSON, snake_case in Python, and no field that nobody knows."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True)

    def to_json(self) -> dict[str, JSON]:
        """As it is stored: only the fields that were given."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


P = TypeVar("P", bound=Payload)


class Unique(StrEnum):
    """While a job is active (queued or processing), no second one of its type is accepted that …"""

    PER_TYPE = "per type"
    PER_PAYLOAD = "per payload"
    PER_USER_AND_PAYLOAD = "per user and payload"


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long to wait before attempt n + 1: `first` × 2ⁿ⁻¹ seconds, at most `ceiling`, give or take `jitter`."""

    first: float = 1.0
    ceiling: float = 10.0
    jitter: float = 0.2

    def after(self, attempt: int) -> timedelta:
        seconds = min(self.first * 2 ** min(attempt - 1, 30), self.ceiling)
        return timedelta(seconds=min(seconds * random.uniform(1 - self.jitter, 1 + self.jitter), self.ceiling))


class Context(Protocol):
    """What a handler is handed beside its payload."""

    job_id: str
    attempt: int
    user_id: str | None
    resources: "Resources"

    @property
    def database(self) -> Database:
        """For reading. What is stored goes through `store`."""
        ...

    async def progress(self, result: JSON) -> None:
        """Says how far the work has come; becomes the job's `result` until the next. Call it as often as you like: the first
        report and the first change after it are appended at once, then at most one a second, and always the last."""
        ...

    def store(self) -> AbstractAsyncContextManager[None]:
        """A short transaction around the effects of this attempt:
        `async with context.store(): await context.database.execute(…)`. Its last statement checks that the job still has this
        attempt and is processing; else nothing is stored and `AttemptOver` is raised. No network call and no new task inside
        it. Upserts only: the next attempt may do all of it again."""
        ...


@dataclass(frozen=True, slots=True)
class JobType(Generic[P]):
    """A kind of work. `run` returns the job's result: anything JSON holds. A handler that raises is retried with `backoff`
    until `max_attempts` attempts are spent; `deadline` (seconds) ends one attempt; `retry_when_worker_lost` says whether a
    crash of the worker is retried (False for work that costs money). `calls` names the outside service it lives on: when that
    one wants to be left alone for long, all types that call it are paused. `role` says who may queue, retry or repeat a job of
    this type: admins only, or employees too."""

    name: str
    payload: type[P]
    run: Callable[[Context, P], Awaitable[JSON]]
    deadline: float
    max_attempts: int = 5
    backoff: Backoff = field(default_factory=Backoff)
    retry_when_worker_lost: bool = True
    title: str | None = None
    """What people call it, in a few words. Without a title they read the name."""
    unique: Unique | None = None
    calls: str | None = None
    role: Literal["admin", "employee"] = "admin"

    def unique_key(self, payload: JSON, user_id: str | None) -> str | None:
        """What two jobs of this type have in common if only one of them may be active; None if any number may be."""
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
