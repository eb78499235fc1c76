"""Measures appends of events with group commit, and with one statement for each event."""

import asyncio
import time

from events import job as rules
from events.bus import Bus
from events.database import Database
from events.store import Store
from events.writes import NewJob

WORKER = "bench"


async def events_per_second(url: str, *, jobs: int, seconds: float, **group_commit: int) -> float:
    """Returns the number of progress events that `jobs` running jobs append in a second.

    Each job waits until its event is committed before it appends the next one. With
    `lanes=1, most_in_a_batch=1` the store sends one statement for each event, over one connection.
    """
    database = Database(url)
    await database.connect()
    store = Store(database, Bus(), **group_commit)
    await store.start()
    try:
        return await _measure(store, jobs, seconds)
    finally:
        await store.stop()
        await database.disconnect()


async def _measure(store: Store, jobs: int, seconds: float) -> float:
    running = await asyncio.gather(*(_started(store) for _ in range(jobs)))
    end = time.perf_counter() + seconds
    appended = 0

    async def report(job: rules.Job) -> None:
        nonlocal appended
        while time.perf_counter() < end:
            job = await store.append(job, _progress, actor=f"worker:{WORKER}")
            appended += 1
        await store.append(job, _completed, actor=f"worker:{WORKER}")

    began = time.perf_counter()
    await asyncio.gather(*(report(job) for job in running))
    return appended / (time.perf_counter() - began)


def _progress(job: rules.Job) -> list[rules.Event]:
    return rules.progress(job, attempt=1, worker=WORKER, result={"done": job.seq})


def _completed(job: rules.Job) -> list[rules.Event]:
    return rules.complete(job, attempt=1, worker=WORKER, result={})


async def _started(store: Store) -> rules.Job:
    job = await store.create(NewJob("bench", {}, None, max_attempts=1), actor="system:bench")
    return await store.append(job, lambda job: rules.start(job, attempt=1, worker=WORKER), actor=f"worker:{WORKER}")
