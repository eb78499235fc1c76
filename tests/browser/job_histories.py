"""Writes the events of jobs as the API and workers would, for sites without a worker."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from events.job import NO_DELAY, Event, Job, JobError, complete, fail, progress, start
from events.store import Store
from events.writes import NewJob
from service.accounts.users import User
from tests.browser.site import Site
from tests.histories import open_store

WORKER = "w1"
ERROR = JobError("Refused", "Chatwork API error: 500", "Traceback (most recent call last)\n  line 1")
MESSAGES_SYNC = "chatwork_messages_sync"

Step = Callable[[Job], list[Event]]


@asynccontextmanager
async def histories_of(site: Site) -> AsyncIterator[Store]:
    async with open_store(site.database.url) as store:
        yield store


async def a_job(
    store: Store,
    *steps: Step,
    user: User | None = None,
    type: str = MESSAGES_SYNC,
    payload: Any = None,
    unique_key: str | None = None,
) -> Job:
    new = NewJob(type, payload or {}, None if user is None else user.id, max_attempts=5, unique_key=unique_key)
    job = await store.create(new, actor=f"user:{user.id}" if user else "system:scheduler")
    for step in steps:
        job = await store.append(job, step, actor=f"worker:{WORKER}")
    return job


def started(job: Job) -> list[Event]:
    return start(job, attempt=job.attempt, worker=WORKER)


def so_far(done: int, total: int) -> Step:
    result = {"totalRooms": total, "processedRooms": done, "rooms": [{"roomId": str(n), "fetched": n} for n in range(done)]}
    return lambda job: progress(job, attempt=job.attempt, worker=WORKER, result=result)


def failed(job: Job) -> list[Event]:
    return fail(job, attempt=job.attempt, worker=WORKER, error=ERROR, retry_in=None)


def failed_and_retried(job: Job) -> list[Event]:
    return fail(job, attempt=job.attempt, worker=WORKER, error=ERROR, retry_in=NO_DELAY)


def completed(total: int) -> Step:
    rooms = [{"roomId": str(n), "fetched": n} for n in range(total)]
    result = {"totalRooms": total, "processedRooms": total, "rooms": rooms, "errors": []}
    return lambda job: complete(job, attempt=job.attempt, worker=WORKER, result=result)
