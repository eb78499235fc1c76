"""Delivery: what is due goes onto the wire, by one path for new, retried, rescued and delayed jobs and for lost hints.

The wire carries hints: "attempt 2 of job X waits". A hint may be lost, late or doubled, since the log knows what waits, and
`started` alone decides who runs it. The API hands a new job's hint over at once; the tick finds every other due job in the log,
and delivers again what still waits `DELIVER_AGAIN` seconds later, whatever the wire says. Each type has a queue of its own, and
a claim takes from all of them in turn: no type waits behind the backlog of another. A backlog is delivered window by window:
each tick goes on where the last one ended, as soon as half of what it brought has been taken.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import NamedTuple

import structlog

from events.database import DATABASE_ERRORS, Database
from events.database_faults import log_trouble
from projections.jobs import Due, JobsView
from workers.delivery.wire import WINDOW, AttemptId, Hint, Wire
from workers.pauses import Pauses

log = structlog.get_logger(__name__)

DELIVERING = 0x64656C69  # "deli": the advisory lock's key
TICK = 1.0  # seconds
LOOK_EVERY = 0.05  # seconds between two looks at the wire, while more is due than was delivered
DELIVER_AGAIN = 15.0  # seconds

TRY_LOCK = "select pg_try_advisory_xact_lock(:key)"


class Delivery:
    """The tick. Every worker process has one; a lock saves them from all doing the same work, and that is all it is for: two
    deliveries of an attempt do no harm. It holds nothing between ticks, so a frozen process keeps nobody waiting.

    `types` says which job types some live worker knows: others stay in the log until there is one, and so do those that are
    paused.
    """

    def __init__(self, database: Database, view: JobsView, wire: Wire, types: Callable[[], Awaitable[Collection[str]]]) -> None:
        self._database = database
        self._view = view
        self._wire = wire
        self._types = types
        self._pauses = Pauses(database)
        self._delivered: dict[AttemptId, float] = {}
        self._backlogs: dict[str, _Backlog] = {}

    async def run(self) -> None:
        """Ticks until cancelled. While PostgreSQL is away, nothing is delivered and nothing is lost."""
        while True:
            try:
                pause = await self.deliver_due_jobs()
            except DATABASE_ERRORS as error:
                log_trouble(log, "delivery: no tick", error)
                pause = TICK
            await self._next_tick(pause)

    async def _next_tick(self, pause: float) -> None:
        """Waits for so many seconds, or until the next part of a backlog is wanted."""
        due = time.monotonic() + pause
        while (left := due - time.monotonic()) > 0:
            await asyncio.sleep(min(left, LOOK_EVERY) if self._backlogs else left)
            if len(await self._enough()) < len(self._backlogs):
                return

    async def _enough(self) -> set[str]:
        """Of the types that have a backlog, those whose last part has not been taken by half."""
        return {type for type in self._backlogs if await self._wire.length(type) > WINDOW // 2}

    async def deliver_due_jobs(self) -> float:
        """One tick. Returns the seconds until the next one is wanted."""
        enough = await self._enough()
        async with self._database.transaction():
            if not await self._database.fetch_val(TRY_LOCK, {"key": DELIVERING}):
                return TICK
            paused = await self._pauses.in_force()
            types = [type for type in await self._types() if type not in paused]
            parts = {type: await self._next_part(type) for type in types if type not in enough or self._is_old(type)}
            next_due = await self._view.next_due(types)
        now = time.monotonic()
        waiting = {AttemptId(job.job_id, job.attempt): job for part in parts.values() for job in part.jobs}
        self._delivered = {id: at for id, at in self._delivered.items() if id in waiting and now - at < DELIVER_AGAIN}
        hints = [Hint(id, job.type, job.run_at) for id, job in waiting.items() if id not in self._delivered]
        self._wire.push(hints, even_if_full=True)
        self._delivered.update((hint.id, now) for hint in hints)
        # Not before the push: where no tick comes of it, the next one begins at the same place.
        backlogs = self._backlogs | {type: part.backlog for type, part in parts.items()}
        self._backlogs = {type: backlog for type, backlog in backlogs.items() if backlog is not None and type in types}
        return TICK if next_due is None else min(TICK, max(next_due, 0.01))

    async def _next_part(self, type: str) -> "_Part":
        """What is to be on the wire: all that is due, or the next part of a backlog."""
        backlog = self._backlogs.get(type)
        if backlog is None or self._is_old(type):
            backlog = _Backlog(time.monotonic(), None)
        jobs = await self._view.due(type, after=backlog.delivered, limit=WINDOW)
        return _Part(jobs, _Backlog(backlog.since, jobs[-1]) if len(jobs) == WINDOW else None)

    def _is_old(self, type: str) -> bool:
        return time.monotonic() - self._backlogs[type].since >= DELIVER_AGAIN


class _Backlog(NamedTuple):
    """More of a type is due than the window holds. Since then it is delivered part by part, and `delivered` was the last. What
    was due before that, and came to be only later, is found when all is delivered again."""

    since: float
    delivered: Due | None


class _Part(NamedTuple):
    """Jobs of a type that are to be on the wire now, and the backlog that is left when they are."""

    jobs: Sequence[Due]
    backlog: _Backlog | None
