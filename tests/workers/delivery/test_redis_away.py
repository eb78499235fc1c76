"""Jobs are delivered although Redis is down, slow, restarted or emptied."""

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from events.bus import Bus
from events.database import Database
from events.job import JSON
from events.store import Store
from events.writes import new_job_id
from projections.jobs import JobsView
from tests.job_types import (
    FAIL_ONCE,
    QUICK,
    capacity_for,
    ended,
    job_type,
    lives_on,
    queue,
    running,
    starts,
    until,
    words,
    working,
)
from tests.servers import RedisServer
from tests.workers.delivery.deliveries import _queued
from workers.delivery.redis_wire import RedisWire
from workers.delivery.wire import AttemptId, Hint
from workers.job_type import Context


@pytest.fixture
def redis_server() -> Iterator[RedisServer]:
    """Yields a server that only this test uses. It is not started yet."""
    server = RedisServer()
    yield server
    server.stop()


async def test_every_job_ends_although_redis_is_emptied_again_and_again(
    database: Database, store: Store, bus: Bus, over_redis: RedisWire, redis: Redis
) -> None:
    jobs = [await queue(store, over_redis, FAIL_ONCE) for _ in range(30)]

    async with working(database, store, bus, over_redis, [FAIL_ONCE], slots=2):
        for job in jobs:
            await redis.flushdb()
            await ended(database, job)

    for job in jobs:
        assert await words(store, job) == [
            "queued", "started", "failed, retried", "queued: retry", "started", "completed"
        ]  # fmt: skip


async def test_emptying_redis_changes_nothing_in_the_log(
    database: Database, store: Store, over_redis: RedisWire, redis: Redis
) -> None:
    jobs = [await queue(store, over_redis, QUICK) for _ in range(5)]
    await until(lambda: _queued(redis, 5))
    before = await JobsView(database).get_many([job.id for job in jobs])

    await redis.flushdb()

    assert await JobsView(database).get_many([job.id for job in jobs]) == before
    assert all([await words(store, job) == ["queued"] for job in jobs])


async def test_a_job_that_was_queued_while_redis_was_down_runs_when_it_is_up_again(
    database: Database, store: Store, bus: Bus, redis_server: RedisServer
) -> None:
    redis_server.start()
    wire = RedisWire(redis_server.url)
    await wire.start()
    async with working(database, store, bus, wire, [QUICK]):
        await ended(database, await queue(store, wire, QUICK))

        redis_server.kill()
        async with asyncio.timeout(2):
            jobs = [await queue(store, wire, QUICK) for _ in range(3)]
        redis_server.start()

        for job in jobs:
            await ended(database, job)
    await wire.stop()


async def test_a_redis_that_hangs_delays_no_request_and_loses_no_job(
    database: Database, store: Store, bus: Bus, redis_server: RedisServer
) -> None:
    redis_server.start()
    wire = RedisWire(redis_server.url)
    await wire.start()
    async with working(database, store, bus, wire, [QUICK]):
        await ended(database, await queue(store, wire, QUICK))

        redis_server.freeze()
        async with asyncio.timeout(2):
            jobs = [await queue(store, wire, QUICK) for _ in range(3)]
        redis_server.thaw()

        for job in jobs:
            await ended(database, job)
    await wire.stop()


async def test_a_redis_that_hangs_longer_than_every_timeout_loses_no_job(
    database: Database, store: Store, bus: Bus, redis_server: RedisServer
) -> None:
    finish = asyncio.Event()

    async def wait(context: Context, payload: Any) -> JSON:
        await finish.wait()
        return "undisturbed"

    waits = job_type("waits", wait)
    redis_server.start()
    wire = RedisWire(redis_server.url)
    await wire.start()
    async with working(database, store, bus, wire, [QUICK, waits]) as worker:
        undisturbed = await running(database, await queue(store, wire, waits))
        claimed = [await queue(store, wire, QUICK) for _ in range(3)]

        redis_server.freeze()
        jobs = [await queue(store, wire, QUICK) for _ in range(3)]
        with pytest.raises(RedisError, match=r"(?i)timeout"):
            await wire.claim(capacity_for(1, "quick"))
        finish.set()
        assert (await ended(database, undisturbed)).result == "undisturbed"
        redis_server.thaw()

        for job in [*claimed, *jobs]:
            await ended(database, job)
        await lives_on(worker, store, database)
    assert [await words(store, job) for job in jobs] == [["queued", "started", "completed"]] * 3
    await wire.stop()


async def test_hints_are_pushed_to_redis_although_a_connection_to_a_replica_could_not_be_closed(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    redis_server.start()
    wire = RedisWire(redis_server.url)
    left = asyncio.Event()

    async def close_too_slowly(inuse_connections: bool = True) -> None:
        left.set()
        raise RedisTimeoutError("Timed out closing connection after 5")

    async with Redis.from_url(redis_server.url) as redis:
        with monkeypatch.context() as patched:
            patched.setattr(wire.redis.connection_pool, "disconnect", close_too_slowly)
            await wire.start()
            await redis.replicaof("127.0.0.1", "9")
            wire.push([_hint()])
            await asyncio.wait_for(left.wait(), 10)

        await redis.replicaof("NO", "ONE")
        wire.push([_hint()])

        await until(lambda: _queued(redis, 1))
    await wire.stop()


def _hint() -> Hint:
    return Hint(AttemptId(new_job_id(), 1), QUICK.name, datetime.now(UTC))


async def test_a_worker_may_start_before_redis_does(
    database: Database, store: Store, bus: Bus, redis_server: RedisServer
) -> None:
    wire = RedisWire(redis_server.url)
    await wire.start()
    async with working(database, store, bus, wire, [QUICK]):
        job = await queue(store, wire, QUICK)

        redis_server.start()

        await ended(database, job)
    await wire.stop()


async def test_running_jobs_go_on_while_redis_is_down(
    database: Database, store: Store, bus: Bus, redis_server: RedisServer
) -> None:
    finish = asyncio.Event()

    async def wait(context: Context, payload: Any) -> JSON:
        await finish.wait()
        return "undisturbed"

    waits = job_type("waits", wait)
    redis_server.start()
    wire = RedisWire(redis_server.url)
    await wire.start()
    async with working(database, store, bus, wire, [waits, QUICK]):
        job = await running(database, await queue(store, wire, waits))

        redis_server.kill()
        # The test waits until a claim fails, because the wire has then noticed that Redis is
        # unreachable.
        await until(lambda: _cannot_claim(wire))
        finish.set()
        assert (await ended(database, job)).result == "undisturbed"
        redis_server.start()

        await ended(database, await queue(store, wire, QUICK))
    assert len(await starts(store, job)) == 1
    await wire.stop()


async def _cannot_claim(wire: RedisWire) -> bool:
    with suppress(Exception):
        await wire.claim(capacity_for(0, "quick"))
        return False
    return True
