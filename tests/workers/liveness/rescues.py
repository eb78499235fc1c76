"""Runs a second worker process with a short lease, and reads the table of workers."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

from events import job as rules
from events.database import Database
from events.job import Job
from events.store import Store
from tests.job_types import (
    queue,
    until,
)
from tests.worker_process import WorkerProcess, worker_process

HEARTBEAT = 0.12
LEASE = 0.8
NOT_FOR_A_WHILE = timedelta(hours=1)
RESCUED = ["queued", "started", "failed, retried", "queued: worker_lost", "started", "completed"]

WORKER = "select gone_at is not null as gone, gone_at from workers where id = :id"


@asynccontextmanager
async def other_process(database_url: str, **settings: Any) -> AsyncIterator[WorkerProcess]:
    """Runs a worker in a separate process. It knows the types of `tests/job_types.py`."""
    timing = {"heartbeat": HEARTBEAT, "lease": LEASE, "patience": 0.2}
    with worker_process(database_url, **(timing | settings)) as process:
        await process.says("worker")
        yield process


async def _gone(database: Database) -> set[str]:
    return {row["id"] for row in await database.fetch_all("select id from workers where gone_at is not null")}


async def _held_by(store: Store, worker_id: str, type: Any) -> Job:
    """Queues a job and records in the log that this worker started it. The worker is not told."""
    job = await queue(store, None, type, delay=NOT_FOR_A_WHILE)
    return await store.append(job, lambda job: rules.start(job, attempt=1, worker=worker_id), actor=f"worker:{worker_id}")


async def _pass(database: Database, seconds: float) -> None:
    """Waits until `seconds` have passed by the database's clock."""
    passed = "select clock_timestamp() > cast(:moment as timestamptz)"
    moment = await database.fetch_val("select clock_timestamp() + make_interval(secs => :seconds)", {"seconds": seconds})
    await until(lambda: database.fetch_val(passed, {"moment": moment}))
