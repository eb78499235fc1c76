"""The `Context` of a handler; its transaction commits only for the job's current attempt."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

from events.database import Database
from events.job import JSON, Job, event_name
from workers.outcomes import AttemptOver
from workers.resources import Resources

STILL_MINE = """
select 1 from jobs where id = :job_id and attempt = :attempt and worker = :worker and status = 'processing'
"""


class RunContext:
    """The `Context` (`workers/job_type.py`) of one attempt."""

    def __init__(self, job: Job, *, worker: str, resources: Resources, report: Callable[[JSON], Awaitable[None]]) -> None:
        """`job` is the job after its `started`. `worker` is the id of the worker that started it."""
        self.job_id = job.id
        self.attempt = job.attempt
        self.user_id = job.user_id
        self.resources = resources
        self.started_event = event_name(job.id, job.seq)
        self._worker = worker
        self._report = report

    @property
    def database(self) -> Database:
        return self.resources.database

    async def progress(self, result: JSON) -> None:
        await self._report(result)

    @contextlib.asynccontextmanager
    async def store(self) -> AsyncIterator[None]:
        async with self.database.transaction():
            yield
            values = {"job_id": self.job_id, "attempt": self.attempt, "worker": self._worker}
            if await self.database.fetch_val(STILL_MINE, values) is None:
                raise AttemptOver(f"attempt {self.attempt} of job {self.job_id} is over: its effects were not stored")
