"""The keys of the wire in Redis: entries, claims, and when each of them is removed."""

import asyncio
from datetime import timedelta
from typing import Any

import orjson
import pytest
from redis.asyncio import Redis

from events.bus import Bus
from events.database import Database
from events.job import JSON
from events.store import Store
from projections.jobs import JobsView
from tests.job_types import (
    QUICK,
    cancel,
    capacity_for,
    ended,
    job_type,
    queue,
    row_locked,
    running,
    until,
    until_waiting_for_locks,
    words,
    working,
)
from tests.workers.delivery.deliveries import NEVER, _is_clean, _queued
from workers.delivery import redis_wire
from workers.delivery import tick as deliver
from workers.delivery.redis_wire import RedisWire
from workers.delivery.wire import AttemptId, Claim, Hint
from workers.job_type import Context


async def test_an_entry_has_the_form_of_arqs_entries_in_json(store: Store, over_redis: RedisWire, redis: Redis) -> None:
    job = await queue(store, over_redis, QUICK)

    await until(lambda: _queued(redis, 1))

    id = f"{job.id}:1"
    assert await redis.zrange("arq:queue/quick", 0, -1, withscores=True) == [(id.encode(), int(job.run_at.timestamp() * 1000))]
    stored = orjson.loads(await redis.get(f"arq:job:{id}") or b"")
    assert (stored["f"], stored["a"], stored["k"]) == ("quick", [job.id, 1], {})
    assert await redis.pttl(f"arq:job:{id}") > 0


async def test_all_keys_of_an_entry_are_removed_when_its_attempt_has_started(
    database: Database, store: Store, bus: Bus, over_redis: RedisWire, redis: Redis
) -> None:
    finish = asyncio.Event()

    async def wait(context: Context, payload: Any) -> JSON:
        await finish.wait()
        return None

    waits = job_type("waits", wait)
    async with working(database, store, bus, over_redis, [waits, QUICK]):
        jobs = [await queue(store, over_redis, waits) for _ in range(3)]
        canceled = await queue(store, None, QUICK)
        await cancel(store, canceled)
        over_redis.push([Hint.of(canceled)])
        for job in jobs:
            await running(database, job)

        await until(lambda: _is_clean(redis))

        finish.set()
        for job in jobs:
            await ended(database, job)
    await until(lambda: _is_clean(redis))


async def test_an_entry_stays_in_redis_until_started_is_committed(
    database: Database, store: Store, bus: Bus, over_redis: RedisWire, redis: Redis
) -> None:
    async with working(database, store, bus, over_redis, [QUICK]):
        job = await queue(store, None, QUICK)
        async with row_locked(database, job):
            over_redis.push([Hint.of(job)])
            await until_waiting_for_locks(database, 1)

            assert await redis.zcard("arq:queue/quick") == 1
            claimed_for = await redis.pttl(f"arq:in-progress:{job.id}:1")
            assert 0 < claimed_for <= 10_000

        await ended(database, job)
        await until(lambda: _is_clean(redis))


async def test_a_claimed_hint_is_claimed_again_only_after_the_claim_has_lapsed(
    store: Store, over_redis: RedisWire, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_wire, "CLAIM_LASTS", 200)
    jobs = [await queue(store, over_redis, QUICK) for _ in range(5)]
    await until(lambda: _queued(redis, 5))

    assert await over_redis.claim(capacity_for(3, "quick")) == [Claim(AttemptId(job.id, 1), "quick") for job in jobs[:3]]
    assert await over_redis.claim(capacity_for(10, "quick")) == [Claim(AttemptId(job.id, 1), "quick") for job in jobs[3:]]
    assert await over_redis.claim(capacity_for(10, "quick")) == []
    assert len(await until(lambda: over_redis.claim(capacity_for(1, "quick")))) == 1


async def test_an_entry_is_removed_when_its_attempt_could_not_be_started(
    database: Database, store: Store, bus: Bus, over_redis: RedisWire, redis: Redis
) -> None:
    elsewhere = Store(database, bus)
    await elsewhere.start()
    async with working(database, store, bus, over_redis, [QUICK]):
        job = await queue(store, None, QUICK, delay=timedelta(hours=1))
        async with row_locked(database, job):
            canceling = asyncio.create_task(cancel(elsewhere, job))
            await until_waiting_for_locks(database, 1)
            over_redis.push([Hint.of(job)])
            await until_waiting_for_locks(database, 2)
        await canceling

        await until(lambda: _is_clean(redis), within=5)
    assert await words(store, job) == ["queued", "canceled"]
    await elsewhere.stop()


async def test_a_worker_that_stops_leaves_no_key_in_redis(
    database: Database, store: Store, bus: Bus, redis: Redis, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The tick is off, because it may push a hint again for a job that has just been started. Such a
    # hint does no harm, but it would stay in Redis.
    monkeypatch.setattr(deliver, "TICK", NEVER)
    wire = RedisWire(redis_url)
    await wire.start()
    async with working(database, store, bus, wire, [QUICK], slots=3):
        jobs = [await queue(store, wire, QUICK) for _ in range(30)]
        await ended(database, jobs[0])
    await wire.stop()

    states = {job.id: job.status for job in await JobsView(database).get_many([job.id for job in jobs])}
    for entry in await redis.zrange("arq:queue/quick", 0, -1):
        assert states[entry.decode().partition(":")[0]] == "queued"
    assert [key async for key in redis.scan_iter("arq:in-progress:*")] == []


async def test_the_wire_stops_at_any_moment(redis: Redis, redis_url: str, store: Store) -> None:
    job = await queue(store, None, QUICK)
    for moment in range(60):
        wire = RedisWire(redis_url)
        await wire.start()
        wire.push([Hint.of(job)])
        for _ in range(moment % 12):
            await asyncio.sleep(0)

        # redis-py sends with `asyncio.wait_for`, which may swallow a cancellation on Python 3.11.
        await asyncio.wait_for(wire.stop(), 5)

        assert await redis.zcard("arq:queue/quick") == 1
        await redis.flushdb()


async def test_the_tick_writes_the_entries_again_after_redis_was_emptied(
    database: Database, store: Store, bus: Bus, over_redis: RedisWire, redis: Redis
) -> None:
    other = job_type("other", QUICK.run)
    job = await queue(store, over_redis, QUICK)
    await until(lambda: _queued(redis, 1))
    await redis.flushdb()

    # This worker knows the type but has no slot, so the hint stays in Redis.
    async with working(database, store, bus, over_redis, [QUICK, other], slots=0):
        await until(lambda: _queued(redis, 1))
        await redis.flushdb()
        await until(lambda: _queued(redis, 1))

    assert await words(store, job) == ["queued"]
