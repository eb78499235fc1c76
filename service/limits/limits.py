"""All limits of one process, and the count of one more job."""

import contextlib
from collections.abc import AsyncIterator

from events.database import Database
from service.config import Settings
from service.limits.active_jobs import ActiveJobs
from service.limits.leases import Leases
from service.limits.paid_jobs import PaidJobs
from service.limits.request_rate import RequestRate
from service.limits.shared_counts import SharedCounts


class Limits:
    """The limits that the settings set, as objects that count."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._shared = None if settings.redis_url is None else SharedCounts(settings.redis_url)
        self.requests = RequestRate(settings.limit_requests, self._shared)
        self.streams = Leases("LIMIT_STREAMS", "streams", settings.limit_streams, self._shared)
        self.held_answers = Leases("LIMIT_HELD_ANSWERS", "held_answers", settings.limit_held_answers, self._shared)
        self.active_jobs = ActiveJobs(settings.limit_active_jobs, database)
        self.paid_jobs = PaidJobs(settings.limit_paid_jobs, database)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with self.streams.running(), self.held_answers.running():
            yield
        if self._shared is not None:
            await self._shared.close()

    def room_for_job(self, owner: str | None, *, paid: bool) -> contextlib.AbstractAsyncContextManager[None]:
        """Counts one more active job, and paid job, of its owner. Queue the job inside the block.

        Jobs without an owner are not counted. Raises `OverLimit` when the block is entered.
        """
        if owner is None:
            return contextlib.nullcontext()
        return self._room_for_paid_job(owner) if paid else self.active_jobs.place(owner)

    @contextlib.asynccontextmanager
    async def _room_for_paid_job(self, owner: str) -> AsyncIterator[None]:
        async with self.active_jobs.place(owner), self.paid_jobs.place(owner):
            yield
