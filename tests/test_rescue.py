"""Workers that are killed, frozen, cut off or stopped: what they ran ends all the same, and nobody living is taken for dead."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import asyncpg
import pytest
from redis.asyncio import Redis
from structlog.testing import capture_logs

from events import job as rules
from events.bus import Bus, RedisBus
from events.database import Database
from events.elapsed import elapsed
from events.job import JSON, Failed, Job, Status
from events.store import Store
from tests.histories import open_store
from tests.job_types import (
    COSTLY,
    HANG,
    QUICK,
    cancel,
    claim_of,
    ended,
    events_of,
    hang,
    job_type,
    lives_on,
    must_fold,
    new_worker,
    queue,
    quick,
    row_locked,
    running,
    starts,
    until,
    until_waiting_for_locks,
    wait_deaf_to_cancellation,
    words,
    working,
)
from tests.proxy import Fault, proxy_before
from tests.worker_process import WorkerProcess, worker_process
from workers import deliver, rescue, run
from workers.deliver import Hint, LocalWire
from workers.job_type import Context
from workers.redis_wire import RedisWire

HEARTBEAT = 0.12
LEASE = 0.8
NOT_FOR_A_WHILE = timedelta(hours=1)
RESCUED = ["queued", "started", "failed, retried", "queued: worker_lost", "started", "completed"]

WORKER = "select gone_at is not null as gone, gone_at from workers where id = :id"


@pytest.fixture(autouse=True)
def _quick_reactions(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(run, "PATIENCE", 0.2)
    monkeypatch.setattr(deliver, "TICK", 0.1)
    monkeypatch.setattr(rescue, "HEARTBEAT", HEARTBEAT)
    monkeypatch.setattr(rescue, "LEASE", LEASE)
    with capture_logs():
        yield


@pytest.fixture
def wire() -> LocalWire:
    return LocalWire()


@pytest.fixture
async def redis(redis_url: str) -> str:
    async with Redis.from_url(redis_url) as client:
        await client.flushdb()
    return redis_url


@asynccontextmanager
async def other_process(database_url: str, **settings: Any) -> AsyncIterator[WorkerProcess]:
    """A worker that knows the types of `tests/job_types.py`, in a process of its own."""
    timing = {"heartbeat": HEARTBEAT, "lease": LEASE, "patience": 0.2}
    with worker_process(database_url, **(timing | settings)) as process:
        await process.says("worker")
        yield process


# Killed, frozen, blocked ------------------------------------------------------------------------------------------------------


async def test_jobs_of_a_killed_worker_are_retried_or_failed_as_their_type_says(
    database: Database, store: Store, bus: Bus, database_url: str, wire: LocalWire
) -> None:
    async with other_process(database_url) as process:
        hanging, costly, once = [
            await queue(store, None, job_type(name, hang, max_attempts=attempts))
            for name, attempts in (("hang", 5), ("costly", 5), ("once", 1))
        ]
        for job in (hanging, costly, once):
            await process.says("running", job.id, 1)

        process.kill()

    here = [job_type("hang", quick), job_type("costly", quick, retry_when_worker_lost=False), job_type("once", quick)]
    async with working(database, store, bus, wire, here) as worker:
        hanging, costly, once = [await ended(database, job) for job in (hanging, costly, once)]

        assert await words(store, hanging) == RESCUED
        assert [attempt for attempt, _ in await starts(store, hanging)] == [1, 2]
        assert (await starts(store, hanging))[1][1] == worker.runner.worker_id
        assert (hanging.attempt, hanging.max_attempts) == (2, 5)
    for job in (costly, once):
        assert await words(store, job) == ["queued", "started", "failed"]
    for job in (hanging, costly, once):
        (failed,) = await events_of(store, job, Failed)
        assert failed.error.name == "WorkerLost"
        assert process.worker_id in failed.error.message
        await must_fold(database, store, job)
        assert [r.actor for r in await store.history(job.id) if isinstance(r.event, Failed)] == ["system:rescue"]


async def test_a_handler_that_takes_its_process_down_costs_one_attempt(
    database: Database, store: Store, database_url: str, redis: str
) -> None:
    async with other_process(database_url, redis=redis), other_process(database_url, redis=redis):
        job = await ended(database, await queue(store, None, job_type("crash", hang)))

    assert await words(store, job) == RESCUED
    assert job.result == {"attempt": 2}


async def test_a_worker_that_was_frozen_and_declared_gone_stops_what_it_ran_writes_nothing_and_registers_anew(
    database: Database, store: Store, bus: Bus, database_url: str, redis: str, wire: LocalWire
) -> None:
    async with other_process(database_url, redis=redis) as process:
        slow, hanging = [await queue(store, None, job_type(name, hang)) for name in ("slow", "hang")]
        for job in (slow, hanging):
            await process.says("running", job.id, 1)
        before = process.worker_id

        process.freeze()
        async with working(database, store, bus, wire, [job_type("slow", quick), job_type("hang", quick)]):
            slow, hanging = await ended(database, slow), await ended(database, hanging)
        gone_at = (await database.fetch_one(WORKER, {"id": before}) or {})["gone_at"]
        waiting = [await queue(store, None, QUICK) for _ in range(5)]
        process.thaw()

        for job in (slow, hanging):
            await process.says("stopped", job.id, 1)
        waiting = [await ended(database, job) for job in waiting]
        anew = "select id from workers where gone_at is null"
        after = await database.fetch_val(anew)
        assert after is not None
        assert after != before
    assert await words(store, hanging) == RESCUED
    assert [word for word in await words(store, slow) if word != "progress"] == RESCUED
    assert {(await starts(store, job))[-1][1] for job in waiting} == {after}
    written_later = "select count(*) from job_events where actor = :actor and at > :gone_at"
    assert await database.fetch_val(written_later, {"actor": f"worker:{before}", "gone_at": gone_at}) == 0


async def test_a_worker_whose_loop_is_blocked_is_gone_and_its_late_result_is_refused(
    database: Database, store: Store, bus: Bus, database_url: str, wire: LocalWire
) -> None:
    async with other_process(database_url) as process:
        job = await queue(store, None, job_type("block", hang), {"seconds": 2})
        await process.says("running", job.id, 1)

        async with working(database, store, bus, wire, [job_type("block", quick)]):
            job = await ended(database, job)

        await process.says("stopped", job.id, 1)
        # It is back: under a new name it runs what comes.
        await ended(database, await queue(store, None, QUICK))
    assert await words(store, job) == RESCUED
    assert (await store.history(job.id))[-1].actor != f"worker:{process.worker_id}"


async def test_two_rescuers_rescue_a_job_once(database: Database, store: Store, bus: Bus) -> None:
    elsewhere = Store(database, bus)
    await elsewhere.start()
    jobs = [await _held_by(store, "w-dead", QUICK) for _ in range(20)]

    async with (
        working(database, store, bus, LocalWire(), [QUICK]),
        working(database, elsewhere, bus, LocalWire(), [QUICK]),
    ):
        for job in jobs:
            await ended(database, job)

    assert [await words(store, job) for job in jobs] == [RESCUED] * 20
    await elsewhere.stop()


async def test_a_rescuer_that_does_not_know_a_type_does_not_end_its_jobs(database: Database, store: Store, bus: Bus) -> None:
    of_next_version = job_type("of_next_version", quick)
    job = await _held_by(store, "w-dead", of_next_version)

    async with working(database, store, bus, LocalWire(), [QUICK]):
        known = await _held_by(store, "w-dead", QUICK)
        await ended(database, known)

    async with working(database, store, bus, LocalWire(), [of_next_version]):
        assert (await ended(database, job)).status is Status.COMPLETED


async def test_jobs_of_types_that_a_rescuer_does_not_know_do_not_hide_those_that_it_does(
    database: Database, store: Store, bus: Bus
) -> None:
    of_next_version = job_type("of_next_version", quick)
    await asyncio.gather(*(_held_by(store, "w-dead", of_next_version) for _ in range(rescue.MOST_AT_ONCE)))
    job = await _held_by(store, "w-dead", QUICK)

    async with working(database, store, bus, LocalWire(), [QUICK]):
        assert (await ended(database, job)).status is Status.COMPLETED


async def test_a_worker_that_was_frozen_while_it_started_a_job_and_declared_gone_hands_it_back_without_having_run_it(
    database: Database, store: Store, bus: Bus, database_url: str, redis: str
) -> None:
    waits = (
        "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
    )
    wire = RedisWire(redis)
    await wire.start()
    async with other_process(database_url, redis=redis) as process:
        job = await queue(store, None, COSTLY, delay=NOT_FOR_A_WHILE)
        before = process.worker_id
        async with row_locked(database, job):
            wire.push([Hint.of(job)])
            await until_waiting_for_locks(database, 1)
            process.freeze()
            # What it has sent comes to nothing; it will send it again.
            await database.fetch_all(waits)
        async with working(database, store, bus, LocalWire(), [COSTLY], slots=0):
            await until(lambda: _is_gone(database, before))

        process.thaw()

        await process.says("running", job.id, 2)
        assert ["running", job.id, 1] not in process.said
    await wire.stop()
    assert (await words(store, job))[:4] == ["queued", "started", "queued: worker_shutdown", "started"]
    assert [worker == before for _, worker in await starts(store, job)] == [True, False]


async def test_a_worker_that_may_have_been_declared_gone_starts_nothing_before_it_knows_better(
    database: Database, store: Store, bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rescue, "HEARTBEAT", 600)
    settled: list[Job] = []
    async with working(database, store, bus, LocalWire(), [QUICK]) as worker:
        job = await queue(store, None, QUICK, delay=NOT_FOR_A_WHILE)
        worker.runner.lease(until=elapsed())

        worker.runner.run(claim_of(job), started=lambda: settled.append(job))

        assert (worker.runner.free, worker.runner.in_hand, settled) == (0, {}, [])
        monkeypatch.setattr(rescue, "LEASE", 60)
        await worker._heart.beat()
        assert worker.runner.free == worker.runner.slots
        worker.runner.run(claim_of(job), started=lambda: settled.append(job))
        await ended(database, job)
        assert settled == [job]


async def test_what_a_worker_takes_while_it_registers_anew_is_left_to_others(
    database: Database, store: Store, bus: Bus
) -> None:
    async with working(database, store, bus, LocalWire(), [QUICK]) as worker:
        job = await queue(store, None, QUICK, delay=NOT_FOR_A_WHILE)

        worker.runner.lose()
        worker.runner.run(claim_of(job), started=lambda: None)
        worker.runner.go_on(worker.runner.worker_id)

        assert worker.runner.in_hand == {}
        await lives_on(worker, store, database)
    assert await words(store, job) == ["queued"]


# Nobody living is taken for dead ----------------------------------------------------------------------------------------------


async def test_a_silent_worker_is_gone_after_a_lease_and_not_before(
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
async def test_nobody_is_gone_because_the_database_was_away(
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
        # And one that stays silent is gone in the end.
        await ended(database, job)


async def test_workers_that_were_all_cut_off_for_many_leases_take_nobody_for_gone_and_run_on(
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


async def test_a_worker_beats_on_while_its_rescue_of_others_gets_no_answer(
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


async def test_a_worker_beats_on_while_neither_its_rescue_nor_its_delivery_gets_an_answer(
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


async def test_a_beat_that_gets_no_answer_is_given_up_and_its_connection_with_it(
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


async def test_a_worker_that_was_frozen_together_with_the_others_gives_them_a_lease_to_come_back(
    database: Database, store: Store, bus: Bus
) -> None:
    async with working(database, store, bus, LocalWire(), [QUICK]):
        await until(lambda: _can_declare_somebody_gone(database))
        await _register(database, "w-other")

        time.sleep(1.5 * LEASE)  # noqa: ASYNC251

        awake = await database.fetch_val("select clock_timestamp()")
        gone_at = "select gone_at from workers where id = 'w-other'"
        assert await until(lambda: database.fetch_val(gone_at)) >= awake + timedelta(seconds=LEASE / 2)


async def test_a_worker_that_wakes_from_a_sleep_of_its_machine_takes_nobody_for_gone_before_all_have_had_a_lease(
    database: Database, store: Store, bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    # No beat comes but those of this test: asleep, the clocks by which a process waits stand still.
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


async def test_nobody_is_gone_before_postgresql_has_run_for_a_lease(database: Database) -> None:
    running_for = "select extract(epoch from now() - pg_postmaster_start_time())"
    longer = float(await database.fetch_val(running_for)) + 60
    await _register(database, "w-silent")
    await database.execute("update workers set last_seen = now() - make_interval(secs => :age)", {"age": 2 * longer})

    await _register(database, "w-me")
    seen = await database.fetch_val("select last_seen from workers where id = 'w-me'")
    me = {"me": "w-me", "seen": seen, "beat": 60.0}

    assert await database.fetch_all(rescue.DECLARE_GONE, me | {"lease": longer}) == []

    gone = await database.fetch_all(rescue.DECLARE_GONE, me | {"lease": 0.001})
    assert "w-silent" in [row["id"] for row in gone]


async def test_a_worker_whose_handlers_use_every_connection_goes_on_beating(
    database: Database, store: Store, bus: Bus, database_url: str
) -> None:
    async def query(context: Context, payload: Any) -> JSON:
        await context.database.fetch_val("select pg_sleep(2)")
        return "answered"

    type = job_type("queries", query)
    of_its_own = Database(database_url, pool_size=4)
    await of_its_own.connect()
    its_store = Store(of_its_own, bus)
    await its_store.start()
    async with (
        working(of_its_own, its_store, bus, LocalWire(), [type]),
        working(database, store, bus, LocalWire(), [QUICK, type], slots=0),
    ):
        jobs = [await queue(store, None, type) for _ in range(4)]

        for job in jobs:
            assert (await ended(database, job)).attempt == 1
    await its_store.stop()
    await of_its_own.disconnect()


async def test_a_worker_that_registers_anew_is_not_taken_for_dead_meanwhile(
    database: Database, store: Store, bus: Bus, wire: LocalWire
) -> None:
    type = job_type("hangs", hang)
    slow_registration = """
    create function be_slow() returns trigger language plpgsql as $$ begin perform pg_sleep(0.5); return new; end $$;
    create trigger slow before insert on workers for each row execute function be_slow();
    """
    async with (
        working(database, store, bus, LocalWire(), [type], slots=1),
        working(database, store, bus, wire, [type]) as worker,
    ):
        keeping_busy = await running(database, await queue(store, None, type))
        if (await starts(store, keeping_busy))[0][1] == worker.runner.worker_id:
            await running(database, await queue(store, None, type))
        async with database.raw() as connection:
            await connection.execute(slow_registration)
        await database.execute("update workers set gone_at = now() where id = :id", {"id": worker.runner.worker_id})
        registering = "select count(*) from pg_stat_activity where datname = current_database() and wait_event = 'PgSleep'"
        await until(lambda: database.fetch_val(registering))

        job = await running(database, await queue(store, wire, type))

        await until(lambda: _is_registered(database, worker.runner.worker_id))
        await _pass(database, 3 * HEARTBEAT)
        assert await words(store, job) == ["queued", "started"]


# What a worker finds out by itself --------------------------------------------------------------------------------------------


async def test_a_worker_that_finds_itself_declared_gone_stops_what_it_runs_and_goes_on_under_a_new_name(
    database: Database, store: Store, bus: Bus, wire: LocalWire
) -> None:
    stopped: list[int] = []

    async def wait(context: Context, payload: Any) -> JSON:
        if context.attempt > 1:
            return "again"
        try:
            await asyncio.Event().wait()
        finally:
            stopped.append(context.attempt)

    type = job_type("waits", wait)
    async with working(database, store, bus, wire, [type]) as worker:
        job = await running(database, await queue(store, wire, type))
        before = worker.runner.worker_id

        await database.execute("update workers set gone_at = now() where id = :id", {"id": before})

        await until(lambda: stopped)
        job = await ended(database, job)
        assert worker.runner.worker_id != before
        await lives_on(worker, store, database)
        assert await words(store, job) == RESCUED
        assert [worker_id for _, worker_id in await starts(store, job)] == [before, worker.runner.worker_id]
        actors = [recorded.actor for recorded in await store.history(job.id)][2:4]
        assert actors == ["system:rescue", "system:rescue"]


async def test_a_worker_that_was_declared_gone_stops_though_nobody_has_rescued_its_jobs_yet(
    database: Database, store: Store, bus: Bus, wire: LocalWire
) -> None:
    stopped_as: list[str] = []

    async def wait(context: Context, payload: Any) -> JSON:
        if context.attempt == 1:
            try:
                await asyncio.Event().wait()
            finally:
                stopped_as.append(worker.runner.worker_id)
        return None

    type = job_type("waits", wait)
    async with working(database, store, bus, wire, [type]) as worker:
        job = await running(database, await queue(store, wire, type))
        await until(lambda: worker.runner.attempts)
        name = worker.runner.worker_id

        async with row_locked(database, job):
            await database.execute("update workers set gone_at = now()")

            await until(lambda: stopped_as)

        await ended(database, job)
    assert await words(store, job) == RESCUED
    # Before it goes on under a new name, and not because what it has in hand is not that name's.
    assert stopped_as == [name]


async def test_a_cancel_reaches_what_another_process_runs_at_once_and_without_a_heartbeat(
    database: Database, database_url: str, redis: str
) -> None:
    bus = RedisBus(redis)
    await bus.start()
    store = Store(database, bus)
    await store.start()
    wire = RedisWire(redis)
    await wire.start()
    latencies: list[float] = []
    async with other_process(database_url, redis=redis, heartbeat=600, lease=600) as process:
        for _ in range(10):
            job = await queue(store, wire, HANG)
            await process.says("running", job.id, 1)

            await cancel(store, job)

            canceled = time.monotonic()
            await process.says("stopped", job.id, 1)
            latencies.append(time.monotonic() - canceled)
            assert await words(store, job) == ["queued", "started", "canceled"]
    await wire.stop()
    await store.stop()
    await bus.stop()
    # Milliseconds, as bench/ measures them; here other tests may run beside it.
    assert sorted(latencies)[5] < 0.2, latencies


async def test_a_cancel_that_the_bus_did_not_bring_is_found_at_the_next_heartbeat(
    database: Database, store: Store, bus: Bus, wire: LocalWire
) -> None:
    stopped: list[float] = []

    async def wait(context: Context, payload: Any) -> JSON:
        try:
            await asyncio.Event().wait()
        finally:
            stopped.append(time.monotonic())

    type = job_type("waits", wait)
    in_silence = Store(database, Bus())
    await in_silence.start()
    async with working(database, store, bus, wire, [type]) as worker:
        job = await running(database, await queue(store, wire, type))
        await until(lambda: worker.runner.attempts)
        asked = time.monotonic()

        await cancel(in_silence, job)

        await until(lambda: stopped)
        assert stopped[0] - asked < HEARTBEAT + 1
        await lives_on(worker, store, database)
    assert await words(store, job) == ["queued", "started", "canceled"]
    await in_silence.stop()


async def test_what_a_worker_started_without_knowing_it_is_rescued_after_two_heartbeats(
    database: Database, store: Store, bus: Bus, wire: LocalWire
) -> None:
    async with working(database, store, bus, wire, [QUICK]) as worker:
        # As after a write whose answer never came.
        job = await _held_by(store, worker.runner.worker_id, QUICK)

        job = await ended(database, job)

    assert await words(store, job) == RESCUED
    history = await store.history(job.id)
    assert (history[2].at - history[1].at).total_seconds() >= HEARTBEAT


async def test_what_runs_is_not_rescued_by_its_own_worker(database: Database, store: Store, bus: Bus, wire: LocalWire) -> None:
    async with working(database, store, bus, wire, [HANG], slots=30):
        jobs = [await running(database, await queue(store, wire, HANG)) for _ in range(20)]

        await _pass(database, 5 * HEARTBEAT)

        assert [await words(store, job) for job in jobs] == [["queued", "started"]] * 20


# Stopping ---------------------------------------------------------------------------------------------------------------------


async def test_a_worker_that_stops_hands_its_jobs_back_without_spending_an_attempt(
    database: Database, store: Store, bus: Bus, wire: LocalWire
) -> None:
    once = job_type("once", hang, max_attempts=1)
    worker = new_worker(database, store, bus, wire, [once])
    await worker.start()
    job = await running(database, await queue(store, wire, once))

    await worker.stop(grace=0)

    assert await words(store, job) == ["queued", "started", "queued: worker_shutdown"]
    assert (await database.fetch_one(WORKER, {"id": worker.runner.worker_id}) or {})["gone"]
    async with working(database, store, bus, LocalWire(), [job_type("once", quick)]):
        job = await ended(database, job)
    assert (job.status, job.attempt, job.max_attempts) == (Status.COMPLETED, 2, 2)
    await must_fold(database, store, job)


async def test_a_worker_that_stops_waits_for_its_jobs_as_long_as_the_grace_and_takes_no_more(
    database: Database, store: Store, bus: Bus, wire: LocalWire
) -> None:
    finish = asyncio.Event()

    async def wait(context: Context, payload: Any) -> JSON:
        await finish.wait()
        return "in time"

    type = job_type("waits", wait)
    worker = new_worker(database, store, bus, wire, [type])
    await worker.start()
    job = await running(database, await queue(store, wire, type))

    stopping = asyncio.create_task(worker.stop(grace=30))
    await until(lambda: worker._taking is not None and worker._taking.done())
    late = await queue(store, wire, type)
    beat = "select last_seen > now() - make_interval(secs => :lease) from workers where id = :id"
    await _pass(database, LEASE)
    assert await database.fetch_val(beat, {"lease": LEASE / 2, "id": worker.runner.worker_id})
    finish.set()
    await stopping

    assert (await ended(database, job)).result == "in time"
    assert await words(store, late) == ["queued"]


async def test_a_cancel_reaches_what_runs_while_its_worker_is_stopping(
    database: Database, store: Store, bus: Bus, wire: LocalWire
) -> None:
    worker = new_worker(database, store, bus, wire, [HANG])
    await worker.start()
    jobs = [await running(database, await queue(store, wire, HANG)) for _ in range(3)]
    stopping = asyncio.create_task(worker.stop(grace=600))
    await until(lambda: worker.runner.attempts)

    for job in jobs:
        await cancel(store, job)

    # Nothing is left to wait for, long before the grace is over.
    await asyncio.wait_for(stopping, 20)
    assert [await words(store, job) for job in jobs] == [["queued", "started", "canceled"]] * 3


async def test_a_cancel_during_a_rescue_ends_the_job_whichever_is_first(
    database: Database, database_url: str, store: Store
) -> None:
    jobs = [await _held_by(store, "w-dead", QUICK) for _ in range(40)]

    async with open_store(database_url) as elsewhere:
        rescuing = [rescue.rescue_job(elsewhere, {"quick": QUICK}, job) for job in jobs]
        await asyncio.gather(*rescuing, *[cancel(store, job) for job in jobs])

    for job in jobs:
        await must_fold(database, store, job)
        assert await words(store, job) in (
            ["queued", "started", "canceled"],
            ["queued", "started", "failed, retried", "queued: worker_lost", "canceled"],
        )


async def test_a_handler_that_does_not_stop_does_not_keep_the_worker_from_stopping(
    database: Database, store: Store, bus: Bus, wire: LocalWire
) -> None:
    release = asyncio.Event()

    async def be_deaf(context: Context, payload: Any) -> JSON:
        await wait_deaf_to_cancellation(release)
        return "much later"

    type = job_type("deaf", be_deaf)
    worker = new_worker(database, store, bus, wire, [type])
    await worker.start()
    job = await running(database, await queue(store, wire, type))

    async with asyncio.timeout(5):
        await worker.stop(grace=0)

    release.set()
    await until(lambda: not worker.runner.stuck)
    assert await words(store, job) == ["queued", "started", "queued: worker_shutdown"]


async def test_a_process_that_is_asked_to_end_hands_back_what_it_runs(
    database: Database, store: Store, database_url: str, redis: str
) -> None:
    async with other_process(database_url, redis=redis) as process:
        jobs = [await queue(store, None, job_type(name, hang)) for name in ("hang", "slow", "costly")]
        for job in jobs:
            await process.says("running", job.id, 1)

        assert await process.stop() == 0

    for job in jobs:
        history = [word for word in await words(store, job) if word != "progress"]
        assert history == ["queued", "started", "queued: worker_shutdown"]
    assert await database.fetch_val("select count(*) from workers where gone_at is null") == 0


# What stands in the database --------------------------------------------------------------------------------------------------


async def _register(database: Database, worker_id: str) -> None:
    values = {"id": worker_id, "host": "test", "pid": 1, "job_types": [], "slots": 1}
    await database.execute(rescue.REGISTER, values)


async def _gone(database: Database) -> set[str]:
    return {row["id"] for row in await database.fetch_all("select id from workers where gone_at is not null")}


async def _is_gone(database: Database, worker_id: str) -> bool:
    return worker_id in await _gone(database)


async def _is_registered(database: Database, worker_id: str) -> bool:
    return await database.fetch_val("select true from workers where id = :id", {"id": worker_id}) is not None


async def _beat(database: Database, worker_id: str) -> None:
    while True:
        await database.execute(rescue.BEAT, {"id": worker_id, "stuck": "[]"})
        await asyncio.sleep(HEARTBEAT)


async def _held_by(store: Store, worker_id: str, type: Any) -> Job:
    """A job that this worker has started, as far as the log knows."""
    job = await queue(store, None, type, delay=NOT_FOR_A_WHILE)
    return await store.append(job, lambda job: rules.start(job, attempt=1, worker=worker_id), actor=f"worker:{worker_id}")


async def _pass(database: Database, seconds: float) -> None:
    """Waits until so much time has passed by the database's clock: nothing may have happened by then."""
    passed = "select clock_timestamp() > cast(:moment as timestamptz)"
    moment = await database.fetch_val("select clock_timestamp() + make_interval(secs => :seconds)", {"seconds": seconds})
    await until(lambda: database.fetch_val(passed, {"moment": moment}))


async def _can_declare_somebody_gone(database: Database) -> bool:
    """Whether some rescuer here has been regular for a lease: it takes a worker for gone that died long ago."""
    await database.execute(
        "insert into workers (id, host, pid, job_types, slots, last_seen) "
        "values ('w-long-dead', 'test', 1, '{}', 1, now() - interval '1 day') on conflict do nothing"
    )
    return bool((await database.fetch_one(WORKER, {"id": "w-long-dead"}) or {})["gone"])


@asynccontextmanager
async def _workers_out_of_reach(database: Database, how: str) -> AsyncIterator[None]:
    """No heartbeat succeeds inside: it fails at once, or gets no answer."""
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
