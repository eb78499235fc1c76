"""Positions are 1, 2, 3 … without gaps; a reader that follows them misses no event."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from events.database import Connection, Database, LockNotAvailable, connect
from events.job import Job, Recorded, retry
from events.store import Store
from projections.seal import MOST_AT_ONCE, SEALING, keep_sealing, seal
from projections.verify import verify
from tests.histories import BOB, canceling, completing, failing, give_positions, new, open_store, reporting, starting, until
from tests.projections.histories_in_log import unguarded

RAW_EVENT = """
insert into job_events (job_id, seq, attempt, type, data, salt, actor, at)
values ($1, 1, 1, 'queued', '{"reason": "new", "runAt": "2026-11-23T09:00:00Z", "maxAttempts": 1, "type": "t", "payload": {}}',
        decode(repeat('00', 16), 'hex'), 'system:test', now())
"""

ORDER = "select l.position, e.job_id, e.seq from job_event_log l join job_events e using (event_id) order by l.position"


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[Connection]:
    connection = await connect(database_url, application_name="the test")
    yield connection
    await connection.close()


@asynccontextmanager
async def slow_transaction(url: str) -> AsyncIterator[Connection]:
    """Opens a transaction that appends events now and commits at the end of the block."""
    connection = await connect(url, idle_in_transaction_session_timeout="0", application_name="the test")
    try:
        async with connection.transaction():
            yield connection
    finally:
        await connection.close()


async def some_work(store: Store, jobs: int) -> list[Job]:
    """Makes jobs with six events each. Two of the six are written by one statement."""

    async def work() -> Job:
        job = await store.create(new(), actor="user:x")
        for step in (starting(), failing(), starting("w1", 2), completing(1, "w1", 2)):
            job = await store.append(job, step, actor="worker:w1")
        return job

    return list(await asyncio.gather(*(work() for _ in range(jobs))))


async def positions(connection: Connection) -> list[int]:
    return [row[0] for row in await connection.fetch("select position from job_event_log order by position")]


async def each_job_in_order(connection: Connection) -> bool:
    """Returns whether the positions of each job's events are in the order of their `seq`."""
    last: dict[str, int] = {}
    for _, job_id, seq in await connection.fetch(ORDER):
        if seq != last.get(job_id, 0) + 1:
            return False
        last[job_id] = seq
    return True


async def test_every_event_gets_one_position_from_1_on_without_gaps(
    store: Store, database: Database, connection: Connection
) -> None:
    jobs = await some_work(store, 50)
    assert await store.history.log() == []

    await give_positions(database)

    assert await positions(connection) == list(range(1, 301))
    assert await connection.fetchval("select count(distinct event_id) from job_event_log") == 300
    assert await each_job_in_order(connection)
    history = await store.history.events(jobs[0].id)
    assert [event.position for event in history] == sorted(event.position or 0 for event in history)


async def test_two_events_of_one_statement_keep_their_order_in_batches_of_any_size(
    store: Store, database: Database, connection: Connection
) -> None:
    for size in (1, 2, 10, 100, 400):
        await some_work(store, size)

    await give_positions(database)

    assert await each_job_in_order(connection)


async def test_sealing_again_gives_nothing_a_second_position(store: Store, database: Database, connection: Connection) -> None:
    await some_work(store, 3)
    await give_positions(database)
    before = await connection.fetch("select * from job_event_log order by position")

    assert await seal(database) == 0
    await some_work(store, 2)
    await give_positions(database)

    assert (await connection.fetch("select * from job_event_log order by position"))[:18] == before
    assert await positions(connection) == list(range(1, 31))


async def test_the_log_is_read_from_a_position_on(store: Store, database: Database) -> None:
    await some_work(store, 5)
    await give_positions(database)

    log = await store.history.log()

    assert [event.position for event in log] == list(range(1, 31))
    assert await store.history.log(after=28) == log[28:]
    assert await store.history.log(after=3, limit=4) == log[3:7]
    assert await store.history.log(after=30) == []


async def test_an_event_that_commits_late_is_never_skipped(
    store: Store, database: Database, database_url: str, connection: Connection
) -> None:
    await some_work(store, 1)
    await give_positions(database)

    async with slow_transaction(database_url) as late:
        await late.execute(RAW_EVENT, BOB)
        await some_work(store, 2)
        assert await seal(database) == 0, "what came after the late event would hide it"
        seen = await store.history.log()

    await give_positions(database)
    rest = await store.history.log(after=seen[-1].position or 0)
    assert [event.position for event in seen + rest] == list(range(1, 20))
    assert rest[0].job_id == BOB


async def test_an_event_that_is_rolled_back_leaves_no_gap(store: Store, database: Database, connection: Connection) -> None:
    await connection.execute("begin")
    await connection.execute(RAW_EVENT, BOB)
    await some_work(store, 1)
    await connection.execute("rollback")

    await some_work(store, 1)
    await give_positions(database)

    assert await positions(connection) == list(range(1, 13))
    assert await store.history.events(BOB) == []


class Reader:
    """A reader that always asks for the events after the last position that it saw."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.seen: list[Recorded] = []

    async def read(self) -> None:
        after = self.seen[-1].position or 0 if self.seen else 0
        self.seen += await self._store.history.log(after=after, limit=50)


async def test_readers_miss_nothing_while_writers_commit_in_any_order_and_sealers_take_turns(
    database_url: str, connection: Connection
) -> None:
    chance = random.Random(20261123)
    reader: Reader

    async def write_slowly(n: int) -> None:
        for turn in range(12):
            async with slow_transaction(database_url) as late:
                for each in range(chance.randint(1, 3)):
                    await late.execute(RAW_EVENT, f"{n:08}-{turn:04}-4000-8000-{each:012}")
                    for _ in range(chance.randint(0, 30)):
                        await late.fetchval("select 1")

    async def seal_often(url: str) -> None:
        database = Database(url)
        await database.connect()
        try:
            while not over.is_set():
                await seal(database)
        finally:
            await database.disconnect()

    async def read_along() -> None:
        while not over.is_set():
            await reader.read()

    over = asyncio.Event()
    async with open_store(database_url) as store, asyncio.timeout(30):
        reader = Reader(store)
        others = [asyncio.create_task(seal_often(database_url)) for _ in range(3)]
        others.append(asyncio.create_task(read_along()))
        await asyncio.gather(*(write_slowly(n) for n in range(8)), *(some_work(store, 1) for _ in range(30)))
        events = await connection.fetchval("select count(*) from job_events")

        async def all_sealed() -> Any:
            return await connection.fetchval("select count(*) from job_event_log") == events

        await until(all_sealed)
        over.set()
        await asyncio.gather(*others)
        while len(reader.seen) < events:
            await reader.read()

    assert [event.position for event in reader.seen] == list(range(1, events + 1))
    assert len({(event.job_id, event.seq) for event in reader.seen}) == events
    assert await each_job_in_order(connection)


async def test_many_sealers_at_once_give_each_event_one_position(
    store: Store, database: Database, connection: Connection
) -> None:
    await some_work(store, 40)

    sealed = await asyncio.gather(*(seal(database, wait=n % 2 == 0) for n in range(8)))
    given = await positions(connection)
    await give_positions(database)

    assert given == list(range(1, sum(sealed) + 1))
    assert await positions(connection) == list(range(1, 241))


async def test_a_sealer_without_the_lock_returns_at_once_or_waits(
    store: Store, database: Database, connection: Connection, database_url: str
) -> None:
    await some_work(store, 1)
    async with slow_transaction(database_url) as other:
        await other.fetchval("select pg_advisory_xact_lock($1)", SEALING)

        assert await seal(database) == 0
        waiting = asyncio.create_task(seal(database, wait=True))
        await until(lambda: waits_for_a_lock(connection))
        assert not waiting.done()

    await waiting
    await give_positions(database)
    assert await positions(connection) == list(range(1, 7))


async def waits_for_a_lock(connection: Connection) -> Any:
    query = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
    return await connection.fetchval(query)


async def test_more_events_than_one_seal_takes_are_sealed_in_turns(database: Database, connection: Connection) -> None:
    await connection.execute(f"""
        insert into job_events (job_id, seq, attempt, type, data, salt, actor, at)
        select gen_random_uuid(), 1, 1, 'queued', '{{}}', decode(repeat('00', 16), 'hex'), 'system:test', now()
        from generate_series(1, {2 * MOST_AT_ONCE + 17})
    """)

    async def first_turn() -> bool:
        return await seal(database) == MOST_AT_ONCE

    await until(first_turn)
    assert await positions(connection) == list(range(1, MOST_AT_ONCE + 1))
    await give_positions(database)

    assert await positions(connection) == list(range(1, 2 * MOST_AT_ONCE + 18))


async def test_sealing_goes_on_by_itself_also_after_a_lost_connection(
    store: Store, database: Database, connection: Connection
) -> None:
    sealing = asyncio.create_task(keep_sealing(database))

    async def sealed(events: int) -> Any:
        return await connection.fetchval("select count(*) = $1 from job_event_log", events)

    await some_work(store, 1)
    await until(lambda: sealed(6))
    await connection.execute("""
        select pg_terminate_backend(pid) from pg_stat_activity
        where datname = current_database() and application_name = 'rireki'
    """)
    await some_work(store, 1)
    await until(lambda: sealed(12))

    sealing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sealing
    assert await positions(connection) == list(range(1, 13))


MUCH_LATER = 4_000_000_000_000  # a transaction id that the new cluster will not reach for years


async def came_from_another_cluster(connection: Connection) -> None:
    """Makes the database look as if restored from a cluster with higher transaction ids.

    All events get transaction ids of that cluster, in the order in which that cluster has sealed them or would have sealed them.
    """
    async with unguarded(connection):
        await connection.execute(f"""
            update job_events e
            set xid = ({MUCH_LATER} + coalesce(l.position, 1000000 + e.event_id))::text::xid8
            from job_events o left join job_event_log l on l.event_id = o.event_id
            where o.event_id = e.event_id;
            update log_tail l set xid = e.xid from job_events e where e.event_id = l.event_id;
            update log_tiles t set xid = e.xid from job_events e where e.event_id = t.event_id;
            update job_event_log_cursor
            set system_identifier = system_identifier - 1, turn = turn + 1, xid = ({MUCH_LATER} + position)::text::xid8
        """)


async def test_restored_events_are_sealed_first_and_new_ones_after_them(
    store: Store, database: Database, connection: Connection
) -> None:
    jobs = await some_work(store, 3)
    await give_positions(database)
    before = await connection.fetch("select * from job_event_log order by position")
    unsealed = [await store.create(new(), actor="user:x") for _ in range(4)]
    await came_from_another_cluster(connection)

    await give_positions(database)
    after_restore = await positions(connection)
    for job in unsealed:
        await store.append(job, starting(), actor="worker:w1")
    await give_positions(database)

    assert after_restore == list(range(1, 23))
    assert (await connection.fetch("select * from job_event_log order by position"))[:18] == before
    assert await positions(connection) == list(range(1, 27))
    assert await each_job_in_order(connection)
    assert (await verify(database, job_id=jobs[0].id)).differences == []


async def test_events_before_the_first_seal_in_a_new_cluster_keep_the_order_of_each_job(
    store: Store, database: Database, connection: Connection
) -> None:
    await some_work(store, 1)
    await give_positions(database)
    job = await store.create(new(), actor="user:x")
    job = await store.append(job, canceling, actor="user:x")
    await came_from_another_cluster(connection)
    # In the new cluster the service writes events before any event has been sealed there (has got its position).
    job = await store.append(job, retry, actor="user:x")
    await store.append(job, starting(attempt=2), actor="worker:w1")

    await give_positions(database)

    assert await positions(connection) == list(range(1, 11))
    assert await each_job_in_order(connection)


async def test_a_restored_log_that_was_never_sealed_is_sealed_all_the_same(
    store: Store, database: Database, connection: Connection
) -> None:
    job = await store.create(new(), actor="user:x")
    job = await store.append(job, starting(), actor="worker:w1")
    await came_from_another_cluster(connection)
    await store.append(job, reporting(1), actor="worker:w1")

    await give_positions(database)

    assert await positions(connection) == [1, 2, 3]
    assert await each_job_in_order(connection)


async def test_transactions_that_run_during_the_first_seal_after_a_restore_are_not_skipped(
    store: Store, database: Database, database_url: str, connection: Connection
) -> None:
    await some_work(store, 1)
    await give_positions(database)
    await came_from_another_cluster(connection)

    async with slow_transaction(database_url) as late:
        await late.execute(RAW_EVENT, BOB)
        await some_work(store, 1)
        with pytest.raises(LockNotAvailable):
            await seal(database)
        seen = await store.history.log()

    await give_positions(database)
    rest = await store.history.log(after=seen[-1].position or 0)
    assert [event.position for event in seen + rest] == list(range(1, 14))
    assert BOB in {event.job_id for event in rest}
