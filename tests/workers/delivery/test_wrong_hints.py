"""Hints that are late, doubled, foreign or wrong start no attempt twice and lose no job."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import asyncpg
import pytest
from arq.connections import ArqRedis, RedisSettings, create_pool
from redis.asyncio import Redis

from events.bus import Bus
from events.database import Database
from events.job import JSON
from events.store import Store
from tests.job_types import (
    FAIL_ONCE,
    QUICK,
    claim_of,
    ended,
    job_type,
    lives_on,
    must_fold,
    queue,
    running,
    until,
    words,
    working,
)
from tests.workers.delivery.deliveries import _is_clean, _queued
from workers.delivery import redis_wire
from workers.delivery.redis_wire import RedisWire, queue_of
from workers.delivery.wire import AttemptId, Hint, LocalWire, Wire
from workers.job_type import Context


async def test_a_hint_that_comes_many_times_starts_its_attempt_once(
    database: Database, store: Store, bus: Bus, wire: Wire
) -> None:
    finish = asyncio.Event()

    async def wait(context: Context, payload: Any) -> JSON:
        await finish.wait()
        return None

    waits = job_type("waits", wait)
    async with working(database, store, bus, wire, [waits, QUICK]) as worker:
        job = await queue(store, wire, waits)
        for _ in range(5):
            wire.push([Hint.of(job)] * 3, even_if_full=True)
            await ended(database, await queue(store, wire, QUICK))
        assert (await running(database, job)).attempt == 1
        assert list(worker.runner.attempts) == [job.id]
        finish.set()
        await ended(database, job)
        wire.push([Hint.of(job)])
        await lives_on(worker, store, database)

    assert await words(store, job) == ["queued", "started", "completed"]


async def test_only_one_of_two_workers_with_the_same_hint_starts_the_attempt(
    database: Database, store: Store, bus: Bus
) -> None:
    elsewhere = Store(database, bus)
    await elsewhere.start()
    nobody = LocalWire(), LocalWire()
    async with (
        working(database, store, bus, nobody[0], [QUICK], slots=60) as one,
        working(database, elsewhere, bus, nobody[1], [QUICK], slots=60) as other,
    ):
        jobs = [await queue(store, None, QUICK) for _ in range(50)]
        for job in jobs:
            both = [one.runner, other.runner]
            random.shuffle(both)
            for runner in both:
                runner.run(claim_of(job), started=lambda: None)

        for job in jobs:
            await ended(database, job)
            assert await words(store, job) == ["queued", "started", "completed"]
            await must_fold(database, store, job)
        await until(lambda: one.runner.free == other.runner.free == 60)
    await elsewhere.stop()


async def test_a_hint_of_a_job_that_has_ended_is_dropped(
    database: Database, store: Store, bus: Bus, over_redis: RedisWire, redis: Redis
) -> None:
    async with working(database, store, bus, over_redis, [QUICK, FAIL_ONCE]):
        job = await ended(database, await queue(store, over_redis, FAIL_ONCE))
        history = await store.history.events(job.id)
        of_old_and_future_attempts = [Hint(AttemptId(job.id, n), job.type, job.run_at) for n in (1, 2, 3)]

        over_redis.push(of_old_and_future_attempts)

        await ended(database, await queue(store, over_redis, QUICK))
        await until(lambda: _is_clean(redis))
    assert await store.history.events(job.id) == history


async def test_a_worker_leaves_hints_of_unknown_types_to_other_workers(
    database: Database, store: Store, bus: Bus, over_redis: RedisWire, redis: Redis
) -> None:
    of_next_version = job_type("of_next_version", QUICK.run)
    async with working(database, store, bus, over_redis, [QUICK]):
        job = await queue(store, over_redis, of_next_version)
        await ended(database, await queue(store, over_redis, QUICK))

        # If this worker had taken the hint, the hint would be missing until the tick pushes it
        # again.
        await until(lambda: _queued(redis, 1), within=3)

    assert await words(store, job) == ["queued"]


FOREIGN_ENTRIES = {
    "a word": b"garbage",
    "no UTF-8": b"\xff\xfe:1",
    "nothing": b"",
    "36 characters that are not an id": b"x" * 36 + b":1",
    "an unknown job": b"01a20a6a-ab4e-7283-a269-a03f99e2fa06:1",
    "no attempt": b"01a20a6a-ab4e-7283-a269-a03f99e2fa06:",
    "attempt 0": b"01a20a6a-ab4e-7283-a269-a03f99e2fa06:0",
    "an attempt number with a leading zero": b"01a20a6a-ab4e-7283-a269-a03f99e2fa06:01",
    "an attempt number in full-width digits": "01a20a6a-ab4e-7283-a269-a03f99e2fa06:１".encode(),
    "an endless attempt": b"01a20a6a-ab4e-7283-a269-a03f99e2fa06:" + b"9" * 5_000,
    "an id in capital letters": b"01A20A6A-AB4E-7283-A269-A03F99E2FA06:1",
    "a NUL": b"01a20a6a-ab4e-7283-a269-a03f99e2fa0\x00:1",
}


@pytest.mark.parametrize("entry", FOREIGN_ENTRIES.values(), ids=FOREIGN_ENTRIES.keys())
async def test_a_foreign_entry_in_the_queue_is_dropped_and_delays_no_job(
    database: Database, store: Store, bus: Bus, over_redis: RedisWire, redis: Redis, entry: bytes
) -> None:
    await redis.zadd("arq:queue/quick", {entry: 0})
    jobs = [await queue(store, over_redis, QUICK) for _ in range(3)]

    async with working(database, store, bus, over_redis, [QUICK]) as worker:
        # If a worker stopped at the foreign entry, its claims would stay unused for ten seconds, so
        # every job must end earlier.
        for job in jobs:
            await ended(database, job, within=5)
        await until(lambda: _queue_is_empty(redis), within=5)
        await lives_on(worker, store, database)


async def test_a_job_of_an_arq_client_is_dropped_and_delays_no_job(
    database: Database, store: Store, bus: Bus, over_redis: RedisWire, redis: Redis, redis_url: str
) -> None:
    client: ArqRedis = await create_pool(RedisSettings.from_dsn(redis_url))
    async with working(database, store, bus, over_redis, [QUICK]) as worker:
        for n in range(3):
            await client.enqueue_job("quick", {"n": n}, _queue_name=queue_of("quick"))
            await client.enqueue_job("unheard_of", _job_id=f"mine-{n}", _queue_name=queue_of("quick"))

        assert (await ended(database, await queue(store, over_redis, QUICK), within=5)).attempt == 1
        await until(lambda: _queue_is_empty(redis))
        await lives_on(worker, store, database)
    await client.aclose()


async def test_a_job_is_started_although_postgresql_ends_the_connection_during_the_start(
    database: Database, store: Store, bus: Bus, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_wire, "CLAIM_LASTS", 300)
    reader = """
    select pg_terminate_backend(pid) from pg_stat_activity
    where datname = current_database() and wait_event_type = 'Lock' and query like '%unnest($1::uuid[], $2::int[], $3::text[]%'
    """
    async with working(database, store, bus, wire, [QUICK]):
        job = await queue(store, None, QUICK, delay=timedelta(seconds=2))
        async with table_locked(database):
            wire.push([Hint.of(job)])

            # The connection is ended while it waits, as by a restart of PostgreSQL.
            await until(lambda: database.fetch_val(reader), what="the worker starts what it has claimed")

        assert (await ended(database, job, within=8)).attempt == 1


@asynccontextmanager
async def table_locked(database: Database) -> AsyncIterator[None]:
    connection = await asyncpg.connect(database.url)
    try:
        async with connection.transaction():
            await connection.execute("lock table jobs in access exclusive mode")
            yield
    finally:
        await connection.close()


async def _queue_is_empty(redis: Redis) -> bool:
    return await _queued(redis, 0)
