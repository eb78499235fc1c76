"""A living worker is never declared gone. A silent worker is declared gone after a lease."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from events.bus import Bus
from events.database import Database
from events.job import JSON
from events.store import Store
from tests.histories import open_store
from tests.job_types import (
    QUICK,
    ended,
    hang,
    job_type,
    queue,
    running,
    starts,
    until,
    words,
    working,
)
from tests.proxy import Fault, proxy_before
from tests.workers.liveness.rescues import HEARTBEAT, LEASE, RESCUED, WORKER, _gone, _held_by, _pass
from workers.delivery.redis_wire import RedisWire
from workers.delivery.wire import LocalWire
from workers.job_type import Context
from workers.liveness import heartbeat as rescue
from workers.liveness import worker_table


async def test_a_silent_worker_is_declared_gone_after_a_lease_and_not_before(
    database: Database, store: Store, bus: Bus, wire: LocalWire
) -> None:
    async with working(database, store, bus, wire, [QUICK]):
        await _register(database, "w-silent")
        job = await _held_by(store, "w-silent", QUICK)
        await ended(database, job)

    assert await words(store, job) == RESCUED
    silent_for = "select extract(epoch from gone_at - last_seen) from workers where id = 'w-silent'"
    assert float(await database.fetch_val(silent_for)) >= LEASE


async def test_a_job_may_run_longer_than_a_lease(database: Database, store: Store, bus: Bus) -> None:
    async with (
        working(database, store, bus, LocalWire(), [job_type("long", hang)]) as worker,
        working(database, store, bus, LocalWire(), [QUICK]),
    ):
        job = await running(database, await queue(store, None, job_type("long", hang)))
        old = "select count(*) from jobs where id = :id and started_at < now() - make_interval(secs => :age)"
        await until(lambda: database.fetch_val(old, {"id": job.id, "age": 2.5 * LEASE}))

        assert await words(store, job) == ["queued", "started"]
        assert not (await database.fetch_one(WORKER, {"id": worker.runner.worker_id}) or {})["gone"]


@pytest.mark.parametrize("how", ["fails", "hangs"])
async def test_no_worker_is_declared_gone_because_the_database_was_unreachable(
    database: Database, store: Store, bus: Bus, wire: LocalWire, how: str
) -> None:
    async with working(database, store, bus, wire, [QUICK]):
        await until(lambda: _can_declare_somebody_gone(database))
        await _register(database, "w-other")
        job = await _held_by(store, "w-other", QUICK)
        beating = asyncio.create_task(_beat(database, "w-other"))
        await _pass(database, 2 * HEARTBEAT)

        async with _workers_out_of_reach(database, how):
            beating.cancel()
            await _pass(database, 1.5 * LEASE)
        await _pass(database, LEASE / 2)
        beating = asyncio.create_task(_beat(database, "w-other"))
        await _pass(database, 1.5 * LEASE)

        assert not (await database.fetch_one(WORKER, {"id": "w-other"}) or {})["gone"]
        assert await words(store, job) == ["queued", "started"]
        beating.cancel()
        # When the heartbeats stop, the worker is declared gone and its job is rescued.
        await ended(database, job)


async def test_workers_that_were_all_cut_off_for_long_declare_none_gone_and_go_on(
    database: Database, store: Store, bus: Bus, database_url: str
) -> None:
    finish = asyncio.Event()

    async def wait(context: Context, payload: Any) -> JSON:
        await finish.wait()
        return context.attempt

    types = [job_type("waits", wait)]
    async with proxy_before(database_url) as proxy:
        far = Database(proxy.url)
        await far.connect()
        far_store = Store(far, bus)
        await far_store.start()
        async with (
            working(far, far_store, bus, LocalWire(), types) as one,
            working(far, far_store, bus, LocalWire(), types) as other,
        ):
            jobs = [await running(database, await queue(store, None, types[0])) for _ in range(4)]
            await until(lambda: _can_declare_somebody_gone(database))

            proxy.closed_to_new = True
            proxy.cut()
            await _pass(database, 6 * LEASE)
            proxy.closed_to_new = False
            await _pass(database, 2 * LEASE)

            assert await _gone(database) == {"w-long-dead"}
            assert len(one.runner.in_hand) + len(other.runner.in_hand) == 4
            finish.set()
            assert [(await ended(database, job)).result for job in jobs] == [1] * 4
        await far_store.stop()
        await far.disconnect()


async def test_a_worker_sends_heartbeats_while_its_rescue_of_other_workers_hangs(
    database: Database, store: Store, database_url: str, bus: Bus
) -> None:
    lost = await _held_by(store, "w-dead", QUICK)
    async with proxy_before(database_url) as proxy:
        far = Store(Database(proxy.url), bus)
        await far.start()
        proxy.once("disappeared while it ran", Fault.STALL)
        async with working(database, far, bus, LocalWire(), [QUICK]) as worker:
            await until(lambda: proxy.faults_met)

            await _pass(database, 3 * LEASE)

            seen = "select extract(epoch from now() - last_seen) from workers where id = :id and gone_at is null"
            silent_for = await database.fetch_val(seen, {"id": worker.runner.worker_id})
            assert silent_for is not None
            assert float(silent_for) < LEASE
            proxy.resume()
            await ended(database, lost)
        await far.stop()
    assert await words(store, lost) == RESCUED


async def test_a_worker_sends_heartbeats_while_its_rescue_and_its_delivery_hang(
    database: Database, database_url: str, redis: str, bus: Bus
) -> None:
    wire = RedisWire(redis)
    await wire.start()
    async with proxy_before(database_url) as proxy, open_store(proxy.url) as store:
        far = Database(proxy.url)
        await far.connect()
        proxy.once("pg_postmaster_start_time", Fault.STALL)
        proxy.once("distinct unnest(job_types)", Fault.STALL)
        async with working(far, store, bus, wire, [QUICK]) as worker:
            await until(lambda: len(proxy.faults_met) == 2)

            await _pass(database, 3 * LEASE)

            seen = "select extract(epoch from now() - last_seen) from workers where id = :id and gone_at is null"
            assert float(await database.fetch_val(seen, {"id": worker.runner.worker_id})) < LEASE
            proxy.resume()
        await far.disconnect()
    await wire.stop()


async def test_a_heartbeat_without_an_answer_is_given_up_and_its_connection_closed(
    database: Database, store: Store, database_url: str, bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rescue, "BEAT_TIMEOUT", 0.3)
    async with proxy_before(database_url) as proxy:
        far = Database(proxy.url)
        await far.connect()
        proxy.once("set last_seen", Fault.STALL)
        async with working(far, store, bus, LocalWire(), [QUICK]) as worker:
            await until(lambda: proxy.faults_met)
            beaten = "select last_seen > :moment from workers where id = :id"
            moment = await database.fetch_val("select now()")

            await until(lambda: database.fetch_val(beaten, {"id": worker.runner.worker_id, "moment": moment}), within=5)
        await far.disconnect()


async def test_a_worker_that_was_frozen_with_the_others_gives_them_a_lease_to_come_back(
    database: Database, store: Store, bus: Bus
) -> None:
    async with working(database, store, bus, LocalWire(), [QUICK]):
        await until(lambda: _can_declare_somebody_gone(database))
        await _register(database, "w-other")

        time.sleep(1.5 * LEASE)  # noqa: ASYNC251

        awake = await database.fetch_val("select clock_timestamp()")
        gone_at = "select gone_at from workers where id = 'w-other'"
        assert await until(lambda: database.fetch_val(gone_at)) >= awake + timedelta(seconds=LEASE / 2)


async def test_after_a_sleep_of_its_machine_a_worker_declares_no_other_gone_for_a_lease(
    database: Database, store: Store, bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The timers of a sleeping machine stand still, so the worker must send no heartbeat by itself.
    # Only this test sends heartbeats.
    monkeypatch.setattr(rescue, "HEARTBEAT", 600)
    async with working(database, store, bus, LocalWire(), [QUICK]) as worker:
        heart = worker._heart
        await _register(database, "w-other")
        await heart.beat()
        await _pass(database, 1.5 * LEASE)
        await _register(database, "w-silent")
        await database.execute("update workers set last_seen = now() - interval '1 day' where id = 'w-silent'")
        await heart.beat()
        await database.execute("update workers set last_seen = now() where id = 'w-other'")
        await heart.rescue()
        assert await _gone(database) == {"w-silent"}

        await database.execute("update workers set last_seen = last_seen - interval '1 hour'")
        await heart.rescue()
        await heart.beat()
        await heart.rescue()

        assert await _gone(database) == {"w-silent"}
        await _pass(database, 1.5 * LEASE)
        await heart.beat()
        await heart.rescue()
        assert await _gone(database) == {"w-silent", "w-other"}


async def test_no_worker_is_declared_gone_before_postgresql_has_run_for_a_lease(database: Database) -> None:
    running_for = "select extract(epoch from now() - pg_postmaster_start_time())"
    longer = float(await database.fetch_val(running_for)) + 60
    await _register(database, "w-silent")
    await database.execute("update workers set last_seen = now() - make_interval(secs => :age)", {"age": 2 * longer})

    await _register(database, "w-me")
    seen = await database.fetch_val("select last_seen from workers where id = 'w-me'")
    me = {"me": "w-me", "seen": seen, "beat": 60.0}

    assert await database.fetch_all(worker_table.DECLARE_GONE, me | {"lease": longer}) == []

    gone = await database.fetch_all(worker_table.DECLARE_GONE, me | {"lease": 0.001})
    assert "w-silent" in [row["id"] for row in gone]


async def test_a_worker_whose_handlers_use_every_connection_still_sends_heartbeats(
    database: Database, store: Store, bus: Bus, database_url: str
) -> None:
    async def query(context: Context, payload: Any) -> JSON:
        await context.database.fetch_val("select pg_sleep(2)")
        return "answered"

    queries = job_type("queries", query)
    of_its_own = Database(database_url, pool_size=4)
    await of_its_own.connect()
    its_store = Store(of_its_own, bus)
    await its_store.start()
    async with (
        working(of_its_own, its_store, bus, LocalWire(), [queries]),
        working(database, store, bus, LocalWire(), [QUICK, queries], slots=0),
    ):
        jobs = [await queue(store, None, queries) for _ in range(4)]

        for job in jobs:
            assert (await ended(database, job)).attempt == 1
    await its_store.stop()
    await of_its_own.disconnect()


async def test_a_worker_that_is_registering_anew_is_not_declared_gone(
    database: Database, store: Store, bus: Bus, wire: LocalWire
) -> None:
    hangs = job_type("hangs", hang)
    slow_registration = """
    create function be_slow() returns trigger language plpgsql as $$ begin perform pg_sleep(0.5); return new; end $$;
    create trigger slow before insert on workers for each row execute function be_slow();
    """
    async with (
        working(database, store, bus, LocalWire(), [hangs], slots=1),
        working(database, store, bus, wire, [hangs]) as worker,
    ):
        keeping_busy = await running(database, await queue(store, None, hangs))
        if (await starts(store, keeping_busy))[0][1] == worker.runner.worker_id:
            await running(database, await queue(store, None, hangs))
        async with database.raw() as connection:
            await connection.execute(slow_registration)
        await database.execute("update workers set gone_at = now() where id = :id", {"id": worker.runner.worker_id})
        registering = "select count(*) from pg_stat_activity where datname = current_database() and wait_event = 'PgSleep'"
        await until(lambda: database.fetch_val(registering))

        job = await running(database, await queue(store, wire, hangs))

        await until(lambda: _is_registered(database, worker.runner.worker_id))
        await _pass(database, 3 * HEARTBEAT)
        assert await words(store, job) == ["queued", "started"]


async def _register(database: Database, worker_id: str) -> None:
    values = {"id": worker_id, "host": "test", "pid": 1, "job_types": [], "slots": 1}
    await database.execute(worker_table.REGISTER, values)


async def _is_registered(database: Database, worker_id: str) -> bool:
    return await database.fetch_val("select true from workers where id = :id", {"id": worker_id}) is not None


async def _beat(database: Database, worker_id: str) -> None:
    while True:
        await database.execute(worker_table.BEAT, {"id": worker_id, "stuck": "[]"})
        await asyncio.sleep(HEARTBEAT)


async def _can_declare_somebody_gone(database: Database) -> bool:
    """Adds a worker silent for a day. Returns whether another worker has declared it gone yet."""
    await database.execute(
        "insert into workers (id, host, pid, job_types, slots, last_seen) "
        "values ('w-long-dead', 'test', 1, '{}', 1, now() - interval '1 day') on conflict do nothing"
    )
    return bool((await database.fetch_one(WORKER, {"id": "w-long-dead"}) or {})["gone"])


@asynccontextmanager
async def _workers_out_of_reach(database: Database, how: str) -> AsyncIterator[None]:
    """Makes every heartbeat in the block fail at once (`how` is "fails"), or get no answer."""
    connection = await asyncpg.connect(database.url)
    try:
        if how == "fails":
            await connection.execute("alter table workers rename to workers_away")
            yield
            await connection.execute("alter table workers_away rename to workers")
        else:
            async with connection.transaction():
                await connection.execute("lock table workers in access exclusive mode")
                yield
    finally:
        await connection.close()
