"""`Context.store` commits the effects of a handler only while its attempt is not over."""

import asyncio
import contextlib
from typing import Any

import pytest

from events import job as rules
from events.bus import Bus
from events.database import Database
from events.job import JSON
from events.store import Store
from tests.job_types import (
    cancel,
    job_type,
    lives_on,
    queue,
    running,
    until,
    wait_deaf_to_cancellation,
    words,
    working,
)
from tests.workers.attempt.attempts import run_one
from workers.delivery.wire import LocalWire
from workers.job_type import Context
from workers.outcomes import AttemptOver, Final

CANCELED = ["queued", "started", "canceled"]
HISTORIES = {"canceled": CANCELED, "in a later attempt": [*CANCELED, "queued: manual_retry", "started", "completed"]}


@pytest.mark.parametrize("moved_on", HISTORIES)
async def test_effects_of_an_ended_attempt_are_rolled_back_and_its_progress_is_refused(
    database: Database, store: Store, bus: Bus, wire: LocalWire, moved_on: str
) -> None:
    await database.execute("create table effects (attempt integer)")
    inside, leave, finish = asyncio.Event(), asyncio.Event(), asyncio.Event()
    raised: list[str] = []

    async def store_something(context: Context, payload: Any) -> JSON:
        if context.attempt > 1:
            await finish.wait()
            return context.attempt
        try:
            async with context.store():
                await context.database.execute("insert into effects values (1)")
                inside.set()
                await wait_deaf_to_cancellation(leave, at_most=4)
        except AttemptOver as error:
            await context.progress("too late")
            raised.append(str(error))
        return "too late"

    stores = job_type("stores", store_something)
    async with working(database, store, bus, wire, [stores]) as worker:
        job = await running(database, await queue(store, wire, stores))
        await inside.wait()
        handler = worker.runner.attempts[job.id].task
        job = await cancel(store, job)
        await until(handler.cancelling)
        if moved_on == "in a later attempt":
            job = await running(database, await store.append(job, rules.retry, actor="user:test"), attempt=2)

        leave.set()

        await until(lambda: raised)
        finish.set()
        await lives_on(worker, store, database)
    assert await database.fetch_val("select count(*) from effects") == 0
    assert await words(store, job) == HISTORIES[moved_on]


async def test_effects_of_a_running_attempt_are_stored(database: Database, store: Store, bus: Bus) -> None:
    await database.execute("create table effects (attempt integer)")

    async def store_something(context: Context, payload: Any) -> JSON:
        async with context.store():
            await context.database.execute("insert into effects values (1)")
        return None

    await run_one(database, store, bus, job_type("stores", store_something))

    assert await database.fetch_val("select count(*) from effects") == 1


async def test_effects_are_rolled_back_where_the_handler_raises(database: Database, store: Store, bus: Bus) -> None:
    await database.execute("create table effects (attempt integer)")

    async def store_something(context: Context, payload: Any) -> JSON:
        async with context.store():
            await context.database.execute("insert into effects values (1)")
            raise Final("half way")

    await run_one(database, store, bus, job_type("stores", store_something))

    assert await database.fetch_val("select count(*) from effects") == 0


SLOW_COMMIT = """
create function be_slow() returns trigger language plpgsql as $$ begin perform pg_sleep(2); return null; end $$;
create table effects (attempt integer);
create constraint trigger slow after insert on effects deferrable initially deferred for each row execute function be_slow();
"""


async def test_a_transaction_that_is_canceled_at_any_moment_returns_its_connection(database_url: str) -> None:
    narrow = Database(database_url, pool_size=2)
    await narrow.connect()

    async def transact() -> None:
        async with narrow.transaction():
            await narrow.fetch_val("select 1")

    try:
        for moment in range(100):
            task = asyncio.create_task(transact())
            for _ in range(moment % 25):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait({task})

        async with asyncio.timeout(3):
            assert await asyncio.gather(*(narrow.fetch_val("select 1") for _ in range(2))) == [1, 1]
    finally:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(narrow.disconnect(), 2)


COMMITS_UNDER_WAY = """
select count(*) from pg_stat_activity
where datname = current_database() and query ilike 'commit%' and wait_event = 'PgSleep'
"""


async def test_cancels_during_a_commit_cost_the_worker_no_connection(
    database: Database, store: Store, database_url: str, bus: Bus, wire: LocalWire
) -> None:
    async with database.raw() as connection:
        await connection.execute(SLOW_COMMIT)
    narrow = Database(database_url, pool_size=4)
    await narrow.connect()
    narrow_store = Store(narrow, bus)
    await narrow_store.start()

    async def store_something(context: Context, payload: Any) -> JSON:
        async with context.store():
            await context.database.execute("insert into effects values (1)")
        return None

    stores = job_type("stores", store_something)
    try:
        # The time limit ends the test if no connection is left, because then the worker cannot
        # stop.
        async with asyncio.timeout(12), working(narrow, narrow_store, bus, wire, [stores]):
            for _ in range(4):
                job = await queue(store, wire, stores)
                await until(lambda: database.fetch_val(COMMITS_UNDER_WAY), within=5, what="a commit is being executed")
                await cancel(store, job)
                await until(lambda: _no_commit_is_under_way(database))

            async with asyncio.timeout(3):
                assert await narrow.fetch_val("select 1") == 1
    finally:
        await narrow_store.stop()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(narrow.disconnect(), 2)


async def _no_commit_is_under_way(database: Database) -> bool:
    return int(await database.fetch_val(COMMITS_UNDER_WAY)) == 0
