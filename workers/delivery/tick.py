"""The tick: finds due jobs in the log and sends their hints onto the wire.

The wire carries hints such as "attempt 2 of job X is due". A hint that is lost, late or sent twice
does no harm, because the log knows which jobs are due, and the event `started` alone decides which
worker runs an attempt. The API pushes the hint of a new job at once. The tick finds every other due
job (retried, rescued, delayed), and sends a hint again after `DELIVER_AGAIN` seconds if its job is
still queued. Each job type has its own queue and a claim takes from all queues in turn, so no type
waits behind the backlog of another. A backlog is delivered in parts of `WINDOW` hints: the next part
follows when half of the last part has been claimed.
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

DELIVERING = 0x64656C69  # the key of the advisory lock; in ASCII it reads "deli"
TICK = 1.0  # seconds between two ticks, at most
LOOK_EVERY = 0.05  # seconds between two looks at the number of hints on the wire while there is a backlog
DELIVER_AGAIN = 15.0  # seconds until a hint whose job is still queued is sent again

TRY_LOCK = "select pg_try_advisory_xact_lock(:key)"


class Delivery:
    """Delivers due jobs, in every worker process.

    An advisory lock lets one process at a time deliver, to save work: delivering an attempt twice
    is harmless. The lock is free between ticks, so a frozen process blocks nobody.
    """

    def __init__(self, database: Database, view: JobsView, wire: Wire, types: Callable[[], Awaitable[Collection[str]]]) -> None:
        """`types` returns the job types that a living worker runs.

        Jobs of other types, and of paused types, are not delivered.
        """
        self._database = database
        self._view = view
        self._wire = wire
        self._types = types
        self._pauses = Pauses(database)
        self._delivered: dict[AttemptId, float] = {}
        self._backlogs: dict[str, _Backlog] = {}

    async def run(self) -> None:
        """Delivers due jobs, at least every `TICK` seconds, until cancelled.

        While PostgreSQL is unreachable it delivers nothing. No job is lost, because the log keeps
        them.
        """
        while True:
            try:
                pause = await self.deliver_due_jobs()
            except DATABASE_ERRORS as error:
                log_trouble(log, "delivery: due jobs cannot be read from the database", error)
                pause = TICK
            await self._next_tick(pause)

    async def _next_tick(self, pause: float) -> None:
        """Waits for `pause` seconds, or until the wire may take the next part of a backlog."""
        due = time.monotonic() + pause
        while (left := due - time.monotonic()) > 0:
            await asyncio.sleep(min(left, LOOK_EVERY) if self._backlogs else left)
            if len(await self._enough()) < len(self._backlogs):
                return

    async def _enough(self) -> set[str]:
        """Returns the types with a backlog that have more than `WINDOW` / 2 hints on the wire."""
        return {job_type for job_type in self._backlogs if await self._wire.length(job_type) > WINDOW // 2}

    async def deliver_due_jobs(self) -> float:
        """Sends the hints of due jobs. Returns the seconds until it should be called again."""
        enough = await self._enough()
        async with self._database.transaction():
            if not await self._database.fetch_val(TRY_LOCK, {"key": DELIVERING}):
                return TICK
            paused = await self._pauses.in_force()
            types = [job_type for job_type in await self._types() if job_type not in paused]
            wanted = [job_type for job_type in types if job_type not in enough or self._is_old(job_type)]
            parts = {job_type: await self._next_part(job_type) for job_type in wanted}
            next_due = await self._view.next_due(types)
        now = time.monotonic()
        waiting = {AttemptId(job.job_id, job.attempt): job for part in parts.values() for job in part.jobs}
        delivered = self._delivered.items()
        self._delivered = {attempt_id: at for attempt_id, at in delivered if attempt_id in waiting and now - at < DELIVER_AGAIN}
        hints = [
            Hint(attempt_id, job.type, job.run_at) for attempt_id, job in waiting.items() if attempt_id not in self._delivered
        ]
        self._wire.push(hints, even_if_full=True)
        self._delivered.update((hint.id, now) for hint in hints)
        # The last delivered job is remembered only after the push, so that the tick after a failed
        # tick delivers the same part again.
        backlogs = self._backlogs | {job_type: part.backlog for job_type, part in parts.items()}
        self._backlogs = {
            job_type: backlog for job_type, backlog in backlogs.items() if backlog is not None and job_type in types
        }
        return TICK if next_due is None else min(TICK, max(next_due, 0.01))

    async def _next_part(self, job_type: str) -> "_Part":
        """Returns the jobs to put on the wire now: all due jobs, or the next part of a backlog."""
        backlog = self._backlogs.get(job_type)
        if backlog is None or self._is_old(job_type):
            backlog = _Backlog(time.monotonic(), None)
        jobs = await self._view.due(job_type, after=backlog.delivered, limit=WINDOW)
        return _Part(jobs, _Backlog(backlog.since, jobs[-1]) if len(jobs) == WINDOW else None)

    def _is_old(self, job_type: str) -> bool:
        """Returns whether the backlog must be delivered again from its start."""
        return time.monotonic() - self._backlogs[job_type].since >= DELIVER_AGAIN


class _Backlog(NamedTuple):
    """The backlog of a type: `WINDOW` or more jobs are due, so they are delivered in parts.

    A job that becomes due, and belongs before the job `delivered`, is found when the backlog is
    delivered again from its start, after `DELIVER_AGAIN` seconds.
    """

    since: float
    """Seconds of `time.monotonic()` when the first part was delivered."""
    delivered: Due | None
    """The last job that was delivered; None at the start."""


class _Part(NamedTuple):
    """The jobs of a type to put on the wire now, and the type's backlog after them, if any."""

    jobs: Sequence[Due]
    backlog: _Backlog | None
