"""Delivery: what is due goes onto the wire, by one path for new, retried, rescued and delayed jobs and for lost hints.

The wire carries hints: "attempt 2 of job X waits". A hint may be lost, late or doubled, since the log knows what waits, and
`started` alone decides who runs it. The API hands a new job's hint over at once; the tick finds every other due job in the log,
and delivers again what still waits `DELIVER_AGAIN` seconds later, whatever the wire says.
"""

import asyncio
import contextlib
import heapq
import time
from collections.abc import Awaitable, Callable, Collection, Iterable
from datetime import UTC, datetime
from typing import NamedTuple, Protocol

import structlog

from events.database import DATABASE_ERRORS, Database
from events.job import Job
from projections.jobs import JobsView

log = structlog.get_logger(__name__)

DELIVERING = 0x64656C69  # "deli": the advisory lock's key
TICK = 1.0  # seconds
HURRY = 0.05  # seconds to the next tick while a whole window was delivered: there is more
WINDOW = 2_000  # hints of one type on the wire at once, whatever the backlog
DELIVER_AGAIN = 15.0  # seconds

TRY_LOCK = "select pg_try_advisory_xact_lock(:key)"


class AttemptId(NamedTuple):
    """Also arq's job id, in the form `<job_id>:<attempt>`: a fresh one for each attempt, since arq hides an id it has seen."""

    job_id: str
    attempt: int

    def __str__(self) -> str:
        return f"{self.job_id}:{self.attempt}"


class Hint(NamedTuple):
    """An attempt that waits to be run."""

    id: AttemptId
    type: str
    run_at: datetime

    @classmethod
    def of(cls, job: Job) -> "Hint":
        return cls(AttemptId(job.id, job.attempt), job.type, job.run_at)


class Wire(Protocol):
    """Carries hints to workers: inside the process (`LocalWire`), or over Redis (`workers/redis_wire.py`)."""

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    def push(self, hints: Iterable[Hint], *, even_if_full: bool = False) -> None:
        """Never waits and never raises. What does not fit is left to the tick."""

    async def claim(self, most: int) -> list[AttemptId]:
        """Takes at most this many, those that have waited longest first."""

    def settle(self, attempt: AttemptId) -> None:
        """The claimed attempt was started, or need not be."""

    async def wait(self) -> None:
        """Returns when there may be something to claim, and after a second at the latest."""


class LocalWire:
    """Where there is no Redis: the worker in this process is the only one to tell."""

    def __init__(self) -> None:
        self._waiting: list[tuple[datetime, AttemptId]] = []
        self._ids: set[AttemptId] = set()  # of those that wait, and no others: what was claimed and lost is delivered again
        self._pushed = asyncio.Event()

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    def push(self, hints: Iterable[Hint], *, even_if_full: bool = False) -> None:
        for hint in hints:
            if hint.id not in self._ids and (even_if_full or len(self._waiting) < WINDOW):
                self._ids.add(hint.id)
                heapq.heappush(self._waiting, (hint.run_at, hint.id))
        self._pushed.set()

    async def claim(self, most: int) -> list[AttemptId]:
        claimed = [heapq.heappop(self._waiting)[1] for _ in range(min(most, len(self._waiting)))]
        self._ids.difference_update(claimed)
        return claimed

    def settle(self, attempt: AttemptId) -> None: ...

    async def wait(self) -> None:
        if self._waiting:
            return
        self._pushed.clear()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._pushed.wait(), 1)


class Delivery:
    """The tick. Every worker process has one; a lock saves them from all doing the same work, and that is all it is for: two
    deliveries of an attempt do no harm. It holds nothing between ticks, so a frozen process keeps nobody waiting.

    `types` says which job types some live worker knows: others stay in the log until there is one.
    """

    def __init__(self, database: Database, view: JobsView, wire: Wire, types: Callable[[], Awaitable[Collection[str]]]) -> None:
        self._database = database
        self._view = view
        self._wire = wire
        self._types = types
        self._delivered: dict[AttemptId, float] = {}

    async def run(self) -> None:
        """Ticks until cancelled. While PostgreSQL is away, nothing is delivered and nothing is lost."""
        while True:
            try:
                pause = await self.deliver_due_jobs()
            except DATABASE_ERRORS as error:
                log.warning("delivery: no tick", error=repr(error))
                pause = TICK
            await asyncio.sleep(pause)

    async def deliver_due_jobs(self) -> float:
        """One tick. Returns the seconds until the next one is wanted."""
        async with self._database.transaction():
            if not await self._database.fetch_val(TRY_LOCK, {"key": DELIVERING}):
                return TICK
            types = await self._types()
            due = {type: await self._view.due(type, limit=WINDOW) for type in types}
            next_due = await self._view.next_due(types)
        now = time.monotonic()
        waiting = {AttemptId(job.job_id, job.attempt): job for jobs in due.values() for job in jobs}
        self._delivered = {id: at for id, at in self._delivered.items() if id in waiting and now - at < DELIVER_AGAIN}
        # In the order of delivery, not of `run_at`: the backlog of one type would keep every younger job of another waiting.
        at = datetime.now(UTC)
        hints = [Hint(id, job.type, max(job.run_at, at)) for id, job in waiting.items() if id not in self._delivered]
        self._wire.push(hints, even_if_full=True)
        self._delivered.update((hint.id, now) for hint in hints)
        if hints and any(len(jobs) == WINDOW for jobs in due.values()):
            return HURRY
        return TICK if next_due is None else min(TICK, max(next_due, 0.01))
