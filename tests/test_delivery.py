"""What is due reaches a worker, whatever happens to the wire: hints that are lost, late, doubled, foreign or wrong."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import orjson
import pytest
from arq.connections import ArqRedis, RedisSettings, create_pool
from redis.asyncio import Redis
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError
from structlog.testing import capture_logs

from events.bus import Bus, Change
from events.database import DATABASE_ERRORS, Database
from events.job import JSON
from events.store import Store, new_job_id
from projections.jobs import JobsView
from tests.job_types import (
    FAIL_ONCE,
    QUICK,
    cancel,
    claim_of,
    ended,
    fail_in_first_attempt,
    job_type,
    lives_on,
    must_fold,
    new_worker,
    queue,
    room_for,
    row_locked,
    running,
    starts,
    until,
    until_waiting_for_locks,
    words,
    working,
)
from tests.proxy import Fault, proxy_before
from tests.servers import RedisServer
from workers import deliver, redis_wire, run
from workers import enqueue as enqueuing
from workers.deliver import AttemptId, Claim, Delivery, Hint, LocalWire, Room, Wire
from workers.enqueue import enqueue_many
from workers.job_type import Backoff, Context
from workers.redis_wire import RedisWire, queue_of

NEVER = 1_000.0  # seconds


@pytest.fixture(autouse=True)
def _quick_reactions(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(run, "PATIENCE", 0.2)
    monkeypatch.setattr(deliver, "TICK", 0.1)
    monkeypatch.setattr(deliver, "DELIVER_AGAIN", 0.3)
    with capture_logs():
        yield


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    """A client of an empty Redis."""
    client: Redis = Redis.from_url(redis_url)
    await client.flushdb()
    yield client
    await client.aclose()


@pytest.fixture
async def over_redis(redis: Redis, redis_url: str) -> AsyncIterator[RedisWire]:
    wire = RedisWire(redis_url)
    await wire.start()
    yield wire
    await wire.stop()


@pytest.fixture(params=["inside the process", "over Redis"])
async def wire(request: pytest.FixtureRequest) -> AsyncIterator[Wire]:
    if request.param == "inside the process":
        yield LocalWire()
        return
    url = request.getfixturevalue("redis_url")
    async with Redis.from_url(url) as client:
        await client.flushdb()
    wire = RedisWire(url)
    await wire.start()
    yield wire
    await wire.stop()


@pytest.fixture
def redis_server() -> Iterator[RedisServer]:
    """A server of the test's own, to hurt. It isn't started."""
    server = RedisServer()
    yield server
    server.stop()


# Pick-up ----------------------------------------------------------------------------------------------------------------------


async def test_a_job_is_picked_up_without_waiting_for_the_tick(
    database: Database, store: Store, bus: Bus, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliver, "TICK", NEVER)
    started: dict[str, float] = {}

    def note_start(change: Change) -> None:
        if change.status == "processing":
            started[change.job_id] = time.monotonic()

    bus.listen(note_start)

    async with working(database, store, bus, wire, [QUICK]):
        latencies = []
        for n in range(20):
            job = await queue(store, wire, QUICK, {"n": n})
            queued = time.monotonic()
            assert (await ended(database, job)).result == {"n": n}
            latencies.append(started[job.id] - queued)

    assert sorted(latencies)[10] < 0.2, latencies


async def test_a_job_that_comes_while_another_is_being_taken_is_picked_up_at_once_too(
    database: Database, store: Store, bus: Bus, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliver, "TICK", NEVER)
    latencies = []

    async with working(database, store, bus, wire, [QUICK]):
        for n in range(20):
            first, second = [await queue(store, None, QUICK) for _ in range(2)]
            wire.push([Hint.of(first)])
            for _ in range(10 * n):
                await asyncio.sleep(0)

            wire.push([Hint.of(second)])

            pushed = time.monotonic()
            await ended(database, first)
            await ended(database, second)
            latencies.append(time.monotonic() - pushed)

    assert max(latencies) < 0.6, latencies


async def test_a_job_that_was_handed_back_is_picked_up_without_waiting_for_the_tick(
    database: Database, store: Store, bus: Bus, over_redis: RedisWire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliver, "TICK", NEVER)

    async def once_for_ever(context: Context, payload: Any) -> JSON:
        if context.attempt == 1:
            await asyncio.Event().wait()
        return context.attempt

    type = job_type("once_for_ever", once_for_ever)
    async with working(database, store, bus, over_redis, [type]):
        job = await running(database, await queue(store, over_redis, type))
        other = new_worker(database, store, bus, over_redis, [type])
        await other.start()
    # The first worker has stopped, and the other one is there.
    assert (await ended(database, job)).result == 2
    await other.stop(grace=0)


async def test_jobs_that_were_queued_before_the_worker_came_are_found_in_the_log(
    database: Database, store: Store, bus: Bus, wire: Wire
) -> None:
    jobs = [await queue(store, None, QUICK, {"n": n}) for n in range(5)]

    async with working(database, store, bus, wire, [QUICK]):
        assert [(await ended(database, job)).result for job in jobs] == [{"n": n} for n in range(5)]


async def test_a_delayed_job_starts_when_it_is_due_and_not_before(
    database: Database, store: Store, bus: Bus, wire: Wire
) -> None:
    async with working(database, store, bus, wire, [QUICK]):
        jobs = [await queue(store, wire, QUICK, delay=timedelta(seconds=seconds)) for seconds in (0.5, 0.2, 1.0)]

        for job in [await ended(database, job) for job in jobs]:
            assert job.started_at is not None
            assert timedelta(0) <= job.started_at - job.run_at < timedelta(seconds=1)


async def test_a_retry_starts_when_its_backoff_is_over(database: Database, store: Store, bus: Bus, wire: Wire) -> None:
    type = job_type("fails_once", fail_in_first_attempt, backoff=Backoff(first=0.4, jitter=0))
    async with working(database, store, bus, wire, [type]):
        job = await ended(database, await queue(store, wire, type))

    assert job.started_at is not None
    assert job.attempt == 2
    assert timedelta(0) <= job.started_at - job.run_at < timedelta(seconds=1)


async def test_the_backlog_of_one_type_does_not_starve_another(
    database: Database, store: Store, bus: Bus, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliver, "WINDOW", 30)
    monkeypatch.setattr(deliver, "DELIVER_AGAIN", NEVER)
    ran: list[str] = []

    async def note(context: Context, payload: Any) -> JSON:
        ran.append(payload.kind)
        await asyncio.sleep(0.02)
        return None

    many, few = job_type("many", note), job_type("few", note)
    jobs = [await queue(store, None, many, {"kind": "many"}) for _ in range(60)]
    jobs += [await queue(store, None, few, {"kind": "few"}) for _ in range(2)]

    async with working(database, store, bus, wire, [many, few], slots=1):
        for job in jobs[-2:]:
            await ended(database, job)

    # They take turns, though there is one slot only.
    assert ran[:4].count("few") == 2, ran


async def test_a_type_whose_last_attempt_is_still_being_written_keeps_its_turn(
    database: Database, store: Store, bus: Bus, wire: Wire
) -> None:
    ran: list[str] = []
    may_end = asyncio.Event()

    async def note(context: Context, payload: Any) -> JSON:
        ran.append(payload.kind)
        if ran == ["few"]:
            await may_end.wait()
        return None

    few, many = job_type("few", note), job_type("many", note)
    first, second = [await queue(store, None, few, {"kind": "few"}) for _ in range(2)]
    other, *_ = [await queue(store, None, many, {"kind": "many"}) for _ in range(4)]

    async with working(database, store, bus, wire, [few, many], slots=1):
        await running(database, first)
        async with row_locked(database, first):
            may_end.set()
            await ended(database, other)
            await ended(database, second)

    assert ran[:3] == ["few", "many", "few"], ran


async def test_a_backlog_is_delivered_part_by_part_and_whole(
    database: Database, store: Store, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliver, "WINDOW", 20)
    monkeypatch.setattr(deliver, "DELIVER_AGAIN", NEVER)
    jobs = [await queue(store, None, QUICK) for _ in range(75)]
    delivery = Delivery(database, JobsView(database), wire, _quick_only)
    taken: list[Claim] = []

    while len(taken) < len(jobs):
        await delivery.deliver_due_jobs()
        claims = await until(lambda: wire.claim(room_for(7, "quick")))
        for claim in claims:
            # As if it had been started: nothing due any more, and off the wire.
            await database.execute("update jobs set status = 'completed' where id = :id", {"id": claim.id.job_id})
            wire.settle(claim)
        taken += claims
        assert await wire.length("quick") <= 30

    assert sorted(claim.id.job_id for claim in taken) == sorted(job.id for job in jobs)


async def test_what_comes_to_be_due_behind_a_backlog_s_place_is_found_when_all_is_delivered_again(
    database: Database, store: Store, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliver, "WINDOW", 20)
    jobs = [await queue(store, None, QUICK) for _ in range(50)]
    delivery = Delivery(database, JobsView(database), wire, _quick_only)
    await delivery.deliver_due_jobs()
    late = await queue(store, None, QUICK)
    await database.execute("update jobs set run_at = :first where id = :id", {"first": jobs[3].run_at, "id": late.id})

    async def more_comes() -> bool:
        await delivery.deliver_due_jobs()
        return await wire.length("quick") > 20

    assert await until(lambda: wire.length("quick")) == 20
    await until(more_comes)
    assert late.id in [claim.id.job_id for claim in await wire.claim(room_for(100, "quick"))]


async def test_a_part_of_a_backlog_that_was_read_and_not_delivered_is_delivered_by_the_next_tick(
    database: Database, store: Store, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliver, "WINDOW", 20)
    monkeypatch.setattr(deliver, "DELIVER_AGAIN", NEVER)
    jobs = [await queue(store, None, QUICK) for _ in range(50)]
    wire = LocalWire()
    async with proxy_before(database_url) as proxy:
        far = Database(proxy.url)
        await far.connect()
        delivery = Delivery(far, JobsView(far), wire, _quick_only)
        # The query behind that of what is due.
        proxy.once("order by run_at limit 1", Fault.CUT_BEFORE)
        with pytest.raises(DATABASE_ERRORS):
            await delivery.deliver_due_jobs()

        await delivery.deliver_due_jobs()

        await far.disconnect()
    assert proxy.faults_met
    claims = await wire.claim(room_for(100, "quick"))
    assert [claim.id.job_id for claim in claims] == [job.id for job in jobs[:20]]


async def _quick_only() -> list[str]:
    return ["quick"]


async def test_many_jobs_queued_by_one_call_are_all_run_and_the_wire_holds_no_more_than_a_window_of_them(
    database: Database, store: Store, bus: Bus, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (deliver, enqueuing):
        monkeypatch.setattr(module, "WINDOW", 20)

    jobs = await enqueue_many(store, wire, QUICK, [{"n": n} for n in range(50)], user_id=None, actor="system:test")

    assert await until(lambda: wire.length("quick")) == 20
    async with working(database, store, bus, wire, [QUICK]):
        assert [(await ended(database, job)).result for job in jobs] == [{"n": n} for n in range(50)]


async def test_long_jobs_of_one_type_leave_a_slot_to_another(database: Database, store: Store, bus: Bus, wire: Wire) -> None:
    finish = asyncio.Event()

    async def wait(context: Context, payload: Any) -> JSON:
        await finish.wait()
        return None

    endless = job_type("endless", wait)
    async with working(database, store, bus, wire, [endless, QUICK], slots=4) as worker:
        jobs = [await queue(store, wire, endless) for _ in range(10)]
        await until(lambda: worker.runner.free == 1)

        for _ in range(3):
            await ended(database, await queue(store, wire, QUICK))

        # And every slot that is freed is used.
        await cancel(store, jobs[0])
        await cancel(store, jobs[1])
        await until(lambda: {jobs[n].id for n in (2, 3, 4)} == set(worker.runner.attempts))
        finish.set()
        for job in jobs[2:]:
            await ended(database, job)


@pytest.mark.parametrize(
    ("waiting", "room", "expected"),
    [
        ({"a": 5, "b": 5}, Room(4, 0, ["a", "b"], []), ["a", "a", "b", "b"]),
        ({"a": 5, "b": 1}, Room(4, 0, ["b", "a"], []), ["a", "a", "a", "b"]),
        ({"a": 5, "b": 5}, Room(1, 0, ["b", "a"], ["a", "b"]), ["b"]),
        ({"a": 5, "b": 5}, Room(1, 0, ["b", "a"], ["a"]), ["a"]),
        ({"a": 5}, Room(3, 2, ["a", "b", "c"], ["b", "c"]), ["a"]),
        ({"a": 5}, Room(3, 1, ["a", "b", "c"], ["b", "c"]), ["a", "a"]),
        ({"a": 5, "b": 5}, Room(3, 2, ["a", "b", "c"], ["a", "b", "c"]), ["a", "b"]),
        ({"a": 5}, Room(1, 5, ["a", "b"], ["b"]), []),
        ({"a": 5}, Room(0, 0, ["a"], ["a"]), []),
        ({}, Room(3, 1, ["a", "b"], ["a"]), []),
    ],
)
async def test_a_claim_takes_from_every_queue_in_turn_and_keeps_room_for_types_that_do_not_run(
    wire: Wire, waiting: dict[str, int], room: Room, expected: list[str]
) -> None:
    now = datetime.now(UTC)
    wire.push([Hint(AttemptId(new_job_id(), 1), type, now) for type, hints in waiting.items() for _ in range(hints)])
    await until(lambda: _has_arrived(wire, sum(waiting.values())))

    claims = await wire.claim(room)

    assert sorted(claim.type for claim in claims) == expected


async def _has_arrived(wire: Wire, hints: int) -> bool:
    if isinstance(wire, LocalWire):
        return True
    assert isinstance(wire, RedisWire)
    return sum([int(await wire.redis.zcard(queue)) async for queue in wire.redis.scan_iter("arq:queue/*")]) == hints


# Hints that are doubled, late or wrong ----------------------------------------------------------------------------------------


async def test_a_hint_that_comes_many_times_starts_its_attempt_once(
    database: Database, store: Store, bus: Bus, wire: Wire
) -> None:
    finish = asyncio.Event()

    async def wait(context: Context, payload: Any) -> JSON:
        await finish.wait()
        return None

    type = job_type("waits", wait)
    async with working(database, store, bus, wire, [type, QUICK]) as worker:
        job = await queue(store, wire, type)
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


async def test_of_two_workers_with_the_same_hint_one_starts_the_attempt(database: Database, store: Store, bus: Bus) -> None:
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
        history = await store.history(job.id)
        of_old_and_future_attempts = [Hint(AttemptId(job.id, n), job.type, job.run_at) for n in (1, 2, 3)]

        over_redis.push(of_old_and_future_attempts)

        await ended(database, await queue(store, over_redis, QUICK))
        await until(lambda: _is_clean(redis))
    assert await store.history(job.id) == history


async def test_a_worker_that_does_not_know_a_type_leaves_its_hint_to_one_that_does(
    database: Database, store: Store, bus: Bus, over_redis: RedisWire, redis: Redis
) -> None:
    of_next_version = job_type("of_next_version", QUICK.run)
    async with working(database, store, bus, over_redis, [QUICK]):
        job = await queue(store, over_redis, of_next_version)
        await ended(database, await queue(store, over_redis, QUICK))

        # It would be gone until the tick delivers it again, to be eaten by the next worker of the old version.
        await until(lambda: _queued(redis, 1), within=3)

    assert await words(store, job) == ["queued"]


FOREIGN_ENTRIES = {
    "a word": b"garbage",
    "no UTF-8": b"\xff\xfe:1",
    "nothing": b"",
    "36 characters that are no id": b"x" * 36 + b":1",
    "an unknown job": b"01a20a6a-ab4e-7283-a269-a03f99e2fa06:1",
    "no attempt": b"01a20a6a-ab4e-7283-a269-a03f99e2fa06:",
    "attempt 0": b"01a20a6a-ab4e-7283-a269-a03f99e2fa06:0",
    "an attempt written otherwise": b"01a20a6a-ab4e-7283-a269-a03f99e2fa06:01",
    "an attempt in other digits": "01a20a6a-ab4e-7283-a269-a03f99e2fa06:１".encode(),
    "an endless attempt": b"01a20a6a-ab4e-7283-a269-a03f99e2fa06:" + b"9" * 5_000,
    "an id in capitals": b"01A20A6A-AB4E-7283-A269-A03F99E2FA06:1",
    "a NUL": b"01a20a6a-ab4e-7283-a269-a03f99e2fa0\x00:1",
}


@pytest.mark.parametrize("entry", FOREIGN_ENTRIES.values(), ids=FOREIGN_ENTRIES.keys())
async def test_a_foreign_entry_in_the_queue_is_dropped_and_hurts_nobody(
    database: Database, store: Store, bus: Bus, over_redis: RedisWire, redis: Redis, entry: bytes
) -> None:
    await redis.zadd("arq:queue/quick", {entry: 0})
    jobs = [await queue(store, over_redis, QUICK) for _ in range(3)]

    async with working(database, store, bus, over_redis, [QUICK]) as worker:
        # The claim of a worker that stumbled lasts ten seconds: nobody may have to wait for that.
        for job in jobs:
            await ended(database, job, within=5)
        await until(lambda: _queue_is_empty(redis), within=5)
        await lives_on(worker, store, database)


async def test_a_job_of_an_arq_client_is_dropped_and_hurts_nobody(
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


async def test_a_job_is_started_though_postgresql_ends_the_connection_over_which_it_is_being_started(
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

            # As when PostgreSQL is restarted just now.
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


# Redis that is emptied, away, or late -----------------------------------------------------------------------------------------


async def test_every_job_ends_though_redis_is_emptied_again_and_again(
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


async def test_a_job_that_was_queued_while_redis_was_away_runs_when_it_is_back(
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


async def test_a_redis_that_hangs_keeps_no_request_waiting_and_nothing_is_lost(
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


async def test_a_redis_that_hangs_for_longer_than_anybody_waits_for_it_costs_no_job(
    database: Database, store: Store, bus: Bus, redis_server: RedisServer
) -> None:
    finish = asyncio.Event()

    async def wait(context: Context, payload: Any) -> JSON:
        await finish.wait()
        return "undisturbed"

    type = job_type("waits", wait)
    redis_server.start()
    wire = RedisWire(redis_server.url)
    await wire.start()
    async with working(database, store, bus, wire, [QUICK, type]) as worker:
        undisturbed = await running(database, await queue(store, wire, type))
        claimed = [await queue(store, wire, QUICK) for _ in range(3)]

        redis_server.freeze()
        jobs = [await queue(store, wire, QUICK) for _ in range(3)]
        with pytest.raises(RedisError, match=r"(?i)timeout"):
            await wire.claim(room_for(1, "quick"))
        finish.set()
        assert (await ended(database, undisturbed)).result == "undisturbed"
        redis_server.thaw()

        for job in [*claimed, *jobs]:
            await ended(database, job)
        await lives_on(worker, store, database)
    assert [await words(store, job) for job in jobs] == [["queued", "started", "completed"]] * 3
    await wire.stop()


async def test_hints_go_on_to_redis_though_a_connection_to_a_replica_could_not_be_closed_in_time(
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


async def test_a_lost_redis_does_not_disturb_what_runs(
    database: Database, store: Store, bus: Bus, redis_server: RedisServer
) -> None:
    finish = asyncio.Event()

    async def wait(context: Context, payload: Any) -> JSON:
        await finish.wait()
        return "undisturbed"

    type = job_type("waits", wait)
    redis_server.start()
    wire = RedisWire(redis_server.url)
    await wire.start()
    async with working(database, store, bus, wire, [type, QUICK]):
        job = await running(database, await queue(store, wire, type))

        redis_server.kill()
        # Both ends of the wire have noticed.
        await until(lambda: _cannot_claim(wire))
        finish.set()
        assert (await ended(database, job)).result == "undisturbed"
        redis_server.start()

        await ended(database, await queue(store, wire, QUICK))
    assert len(await starts(store, job)) == 1
    await wire.stop()


# What stands in Redis ---------------------------------------------------------------------------------------------------------


async def test_an_entry_is_one_of_arqs_in_json(store: Store, over_redis: RedisWire, redis: Redis) -> None:
    job = await queue(store, over_redis, QUICK)

    await until(lambda: _queued(redis, 1))

    id = f"{job.id}:1"
    assert await redis.zrange("arq:queue/quick", 0, -1, withscores=True) == [(id.encode(), int(job.run_at.timestamp() * 1000))]
    stored = orjson.loads(await redis.get(f"arq:job:{id}") or b"")
    assert (stored["f"], stored["a"], stored["k"]) == ("quick", [job.id, 1], {})
    assert await redis.pttl(f"arq:job:{id}") > 0


async def test_an_entry_leaves_redis_wholly_when_its_attempt_has_begun(
    database: Database, store: Store, bus: Bus, over_redis: RedisWire, redis: Redis
) -> None:
    finish = asyncio.Event()

    async def wait(context: Context, payload: Any) -> JSON:
        await finish.wait()
        return None

    type = job_type("waits", wait)
    async with working(database, store, bus, over_redis, [type, QUICK]):
        jobs = [await queue(store, over_redis, type) for _ in range(3)]
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


async def test_an_entry_stays_in_redis_until_started_is_durable(
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


async def test_what_was_claimed_is_claimed_again_only_when_the_claim_has_lapsed(
    store: Store, over_redis: RedisWire, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_wire, "CLAIM_LASTS", 200)
    jobs = [await queue(store, over_redis, QUICK) for _ in range(5)]
    await until(lambda: _queued(redis, 5))

    assert await over_redis.claim(room_for(3, "quick")) == [Claim(AttemptId(job.id, 1), "quick") for job in jobs[:3]]
    assert await over_redis.claim(room_for(10, "quick")) == [Claim(AttemptId(job.id, 1), "quick") for job in jobs[3:]]
    assert await over_redis.claim(room_for(10, "quick")) == []
    assert len(await until(lambda: over_redis.claim(room_for(1, "quick")))) == 1


async def test_an_entry_leaves_redis_when_its_attempt_could_not_be_started(
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


async def test_a_worker_that_stops_leaves_nothing_behind_in_redis(
    database: Database, store: Store, bus: Bus, redis: Redis, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A tick that has read what is due just before it was started delivers it once more: a hint too many does no harm.
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

        # On Python 3.11 `asyncio.wait_for`, which redis-py sends with, may swallow a cancellation.
        await asyncio.wait_for(wire.stop(), 5)

        assert await redis.zcard("arq:queue/quick") == 1
        await redis.flushdb()


async def test_an_empty_redis_gets_its_entries_back_from_the_tick(
    database: Database, store: Store, bus: Bus, over_redis: RedisWire, redis: Redis
) -> None:
    other = job_type("other", QUICK.run)
    job = await queue(store, over_redis, QUICK)
    await until(lambda: _queued(redis, 1))
    await redis.flushdb()

    # Somebody knows the type and has no slot for it.
    async with working(database, store, bus, over_redis, [QUICK, other], slots=0):
        await until(lambda: _queued(redis, 1))
        await redis.flushdb()
        await until(lambda: _queued(redis, 1))

    assert await words(store, job) == ["queued"]


async def _queued(redis: Redis, entries: int) -> bool:
    return sum([int(await redis.zcard(queue)) async for queue in redis.scan_iter("arq:queue/*")]) == entries


async def _queue_is_empty(redis: Redis) -> bool:
    return await _queued(redis, 0)


async def _is_clean(redis: Redis) -> bool:
    """Nothing of any attempt is left."""
    keys = [key async for key in redis.scan_iter("arq:*")]
    return [key for key in keys if not key.endswith(b":health-check")] == []


async def _cannot_claim(wire: RedisWire) -> bool:
    with suppress(Exception):
        await wire.claim(room_for(0, "quick"))
        return False
    return True
