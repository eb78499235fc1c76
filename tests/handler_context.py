"""Runs a handler with a real job and the real `Context`, but without a worker.

```python
async with running(store, resources, SUMMARY_DRAFT, {"companyId": …}) as attempt:
    result = await attempt.handle()
```
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from events import job as rules
from events.bus import Bus
from events.job import JSON, Job, JobError
from events.store import Store
from events.writes import NewJob
from tests.job_types import claim_of
from workers.attempt.attempt import Attempt
from workers.attempt.runner import Runner
from workers.job_type import Context, JobType
from workers.resources import Resources


@dataclass(slots=True)
class RunningAttempt:
    """A started attempt. Its job stays `processing` until a method called by the test ends it."""

    attempt: Attempt
    context: Context
    job_type: JobType[Any]

    @property
    def job(self) -> Job:
        """The job after the last event that this attempt appended."""
        return self.attempt.job

    async def handle(self) -> JSON:
        """Runs the handler. Returns its result, or raises its exception.

        The job stays `processing`.
        """
        payload = self.job_type.payload.model_validate(self.job.payload)
        try:
            return await self.job_type.run(self.context, payload)
        finally:
            if self.attempt.progress is not None:
                await self.attempt.progress.finish()

    def start_handling(self) -> asyncio.Task[JSON]:
        return asyncio.create_task(self.handle())

    async def complete(self, result: JSON) -> None:
        await self.attempt.append(
            lambda job: rules.complete(job, attempt=self.attempt.number, worker=self.attempt.worker, result=result)
        )

    async def cancel(self, store: Store) -> None:
        """Cancels the job in the log, as a user does. The handler is not told."""
        await store.append(self.job, lambda job: rules.cancel(job, reason="test"), actor="user:test")

    async def lose(self, store: Store) -> Job:
        """Rescues the job in the log, as if its worker were gone. The handler is not told.

        Returns the job, which then waits for its next attempt.
        """

        def rescue(job: Job) -> list[rules.Event]:
            error = JobError("WorkerLost", "test")
            return rules.rescue(
                job, attempt=self.attempt.number, worker=self.attempt.worker, error=error, retry_in=rules.NO_DELAY
            )

        return await store.append(self.job, rescue, actor="system:rescue")


@asynccontextmanager
async def running(
    store: Store, resources: Resources, job_type: JobType[Any], payload: JSON = None, *, user_id: str | None = None
) -> AsyncIterator[RunningAttempt]:
    """Queues a job of this type and starts its first attempt."""
    new = NewJob(job_type.name, payload or {}, user_id, max_attempts=job_type.max_attempts)
    job = await store.create(new, actor="system:test")
    async with next_attempt(store, resources, job_type, job) as attempt:
        yield attempt


@asynccontextmanager
async def next_attempt(store: Store, resources: Resources, job_type: JobType[Any], job: Job) -> AsyncIterator[RunningAttempt]:
    """Starts the attempt that a queued job waits for."""
    worker = f"w{job.attempt}-{job.id}"
    runner = Runner(
        store=store,
        bus=Bus(),
        resources=resources,
        job_types={job_type.name: job_type},
        worker_id=worker,
        slots=1,
        handed_back=lambda job: None,
    )
    attempt = runner.attempt_of(claim_of(job))
    started = await store.start_attempt(job.id, job.attempt, job.type, worker=worker)
    assert started is not None
    attempt.job = started
    yield RunningAttempt(attempt, attempt.context(), job_type)
    await runner.stop(grace=0)
