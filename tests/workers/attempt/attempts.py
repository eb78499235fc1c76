"""Runs one job for a test and waits for its end."""

from typing import Any

from events.bus import Bus
from events.database import Database
from events.job import JSON, Job
from events.store import Store
from tests.job_types import (
    ended,
    lives_on,
    must_fold,
    queue,
    working,
)
from workers.delivery.wire import LocalWire
from workers.job_type import JobType


async def run_one(database: Database, store: Store, bus: Bus, type: JobType[Any], payload: JSON = None) -> Job:
    """Runs one job to its end and returns it. Checks that the worker still works afterwards."""
    wire = LocalWire()
    async with working(database, store, bus, wire, [type], slots=3) as worker:
        job = await ended(database, await queue(store, wire, type, payload))
        await lives_on(worker, store, database)
    await must_fold(database, store, job)
    return job
