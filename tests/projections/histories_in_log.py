"""Writes histories of jobs for the tests of this folder, and tampers with the log.

It makes a job in each state, runs writers under load, and switches triggers off.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from events.database import Connection, Database
from events.job import Job, Status, force_fail, hand_back, rescue, retry
from events.store import Store
from events.writes import NewJob
from projections.verify import Difference, verify
from tests.histories import (
    ERROR,
    RETRY_AT_ONCE,
    canceling,
    completing,
    failing,
    new,
    open_store,
    reporting,
    starting,
    until,
)

TRIGGERS = """
select tgrelid::regclass::text, tgname from pg_trigger
where not tgisinternal and tgrelid::regclass::text = any($1)
"""
TABLES = ("job_events", "log_tail", "log_tiles", "log_upper_tiles", "log_strays")


def unique_key(type: str, payload: Any, user_id: str | None) -> str | None:
    """Returns the unique key of a job in these tests: the `key` in its payload."""
    key: str | None = payload.get("key")
    return key


def keyed(key: str) -> NewJob:
    return new(payload={"key": key}, unique_key=key)


@asynccontextmanager
async def unguarded(superuser: Connection, *more: str) -> AsyncIterator[None]:
    """Switches the triggers of the log off, as a tampering superuser would. `more` names further tables."""
    triggers = await superuser.fetch(TRIGGERS, [*TABLES, *more])
    for table, _ in triggers:
        await superuser.execute(f"alter table {table} disable trigger all")
    yield
    for table, trigger in triggers:
        await superuser.execute(f"alter table {table} enable always trigger {trigger}")


async def one_of_each(store: Store, prefix: str = "") -> dict[str, Job]:
    """Creates a job for each state, with every kind of event among them.

    `prefix` is the beginning of their unique keys.
    """
    names = ("queued", *list(Status)[1:], "retried")
    jobs = {name: await store.create(keyed(f"{prefix}{name}"), actor="user:x") for name in names}
    for name in ("processing", "completed", "failed", "retried"):
        jobs[name] = await store.append(jobs[name], starting(), actor="worker:w1")
        jobs[name] = await store.append(jobs[name], reporting({"n": 1}), actor="worker:w1")
    jobs["completed"] = await store.append(jobs["completed"], completing({"n": 1}), actor="worker:w1")
    jobs["failed"] = await store.append(jobs["failed"], failing(retry_in=None), actor="worker:w1")
    jobs["canceled"] = await store.append(jobs["canceled"], canceling, actor="user:x")
    job = await store.append(jobs["retried"], failing(), actor="worker:w1")
    job = await store.append(job, starting("w2", 2), actor="worker:w2")
    job = await store.append(job, lambda job: hand_back(job, attempt=2, worker="w2"), actor="worker:w2")
    job = await store.append(job, starting("w3", 3), actor="worker:w3")
    job = await store.append(
        job, lambda job: rescue(job, attempt=3, worker="w3", error=ERROR, retry_in=RETRY_AT_ONCE), actor="system:rescue"
    )
    job = await store.append(job, starting("w4", 4), actor="worker:w4")
    job = await store.append(job, lambda job: force_fail(job, error=ERROR), actor="user:admin")
    jobs["retried"] = await store.append(job, retry, actor="user:x")
    return jobs


async def found(database: Database, **only: Any) -> list[Difference]:
    return (await verify(database, **only)).differences


class Load:
    """Two stores that run jobs from start to end at the same time, until they are stopped."""

    def __init__(self, stores: list[Store]) -> None:
        self._stores = stores
        self._over = asyncio.Event()
        self.appended = 0
        self.tasks = [asyncio.create_task(self._live(n)) for n in range(8)]

    async def stop(self) -> None:
        self._over.set()
        await asyncio.gather(*self.tasks)

    async def moved_on(self, by: int = 100) -> None:
        """Waits until this many more events were appended."""
        until_then = self.appended + by

        async def enough() -> bool:
            for task in self.tasks:
                if task.done():
                    task.result()
            return self.appended >= until_then

        await until(enough)

    async def _live(self, n: int) -> None:
        worker, turn = f"w{n}", 0
        while not self._over.is_set():
            turn += 1
            store = self._stores[turn % len(self._stores)]
            job = await store.create(keyed(f"{worker} {turn}"), actor="system:load")
            for step in (
                starting(worker), reporting(turn, worker), failing(worker), starting(worker, 2), completing(turn, worker, 2),
            ):  # fmt: skip
                if turn % 3 and job.seq >= 3:
                    # Some jobs stay unfinished, so that a rebuilt view has jobs in several states.
                    break
                job = await store.append(job, step, actor=f"worker:{worker}")
                self.appended += 1


@asynccontextmanager
async def under_load(database_url: str) -> AsyncIterator[Load]:
    async with open_store(database_url) as one, open_store(database_url) as two:
        load = Load([one, two])
        await load.moved_on()
        try:
            yield load
        finally:
            await load.stop()
