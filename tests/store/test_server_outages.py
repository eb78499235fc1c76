"""No write is lost or doubled while PostgreSQL closes or refuses connections."""

import asyncio
from contextlib import suppress

import asyncpg

from events.bus import Bus
from events.database import Connection, Database
from events.job import Job, Status
from events.store import Store
from tests.histories import completing, new, open_store, reporting, starting, until, what_is_broken
from tests.proxy import Fault, Proxy
from tests.store.stores import counts, prepared, true_of, waiting_for_locks


async def test_writes_go_on_although_the_server_closed_the_connection_with_its_last_answer(
    far_store: Store, proxy: Proxy, connection: Connection, locker: Connection
) -> None:
    first, held, *others = await prepared(far_store, 10)
    proxy.once("the marker", Fault.GOODBYE)
    await far_store.append(first, completing("the marker"), actor="worker:w1")

    async with asyncio.timeout(10):
        async with locker.transaction():
            # The lock keeps the other connection busy, so that the next write uses the connection
            # that is closing.
            await locker.execute("select from jobs where id = $1 for update", held.id)
            waiting = asyncio.create_task(far_store.append(held, completing(), actor="worker:w1"))
            await until(lambda: waiting_for_locks(connection, 1))
            done = await asyncio.gather(*(far_store.append(job, completing(), actor="worker:w1") for job in others))
        done.append(await waiting)

    assert proxy.faults_met == [Fault.GOODBYE]
    assert {job.status for job in done} == {Status.COMPLETED}
    assert await what_is_broken(connection) == []


async def test_writes_go_on_although_the_server_closed_a_connection_that_was_just_opened(
    far_store: Store, proxy: Proxy, connection: Connection
) -> None:
    jobs = await prepared(far_store, 10)
    # Only new connections send this statement.
    proxy.once("clock_timestamp", Fault.GOODBYE)
    proxy.cut()

    async with asyncio.timeout(10):
        done = await asyncio.gather(*(far_store.append(job, completing(), actor="worker:w1") for job in jobs))

    assert proxy.faults_met == [Fault.GOODBYE]
    assert {job.status for job in done} == {Status.COMPLETED}
    assert await what_is_broken(connection) == []


STEPS = 4


async def test_no_write_is_lost_or_doubled_while_backends_are_terminated_again_and_again(
    database_url: str, connection: Connection
) -> None:
    accepted: list[Job] = []

    async def live(store: Store) -> Job:
        job = await store.create(new(), actor="user:x")
        accepted.append(job)
        job = await store.append(job, starting(), actor="worker:w1")
        for n in range(STEPS):
            job = await store.append(job, reporting(n), actor="worker:w1")
            accepted.append(job)
        return await store.append(job, completing(), actor="worker:w1")

    async def terminate() -> None:
        at_least = 50
        while not all(task.done() for task in running):
            if await connection.fetchval("select count(*) from job_events") >= at_least:
                at_least += 100
                await connection.execute("""
                    select pg_terminate_backend(pid) from pg_stat_activity
                    where datname = current_database() and application_name = 'rireki'
                """)
            await asyncio.sleep(0.005)

    async with open_store(database_url) as store, asyncio.timeout(30):
        running = [asyncio.create_task(live(store)) for _ in range(100)]
        await terminate()
        jobs = await asyncio.gather(*running)

    assert len({job.id for job in jobs}) == 100
    assert {(job.status, job.seq) for job in jobs} == {("completed", STEPS + 3)}
    assert await counts(connection) == (100 * (STEPS + 3), 100, 0)
    assert len(accepted) == 100 * (STEPS + 1)
    assert await what_is_broken(connection) == []


async def test_a_database_that_refuses_connections_for_a_while_only_delays_writes(
    proxy: Proxy, connection: Connection, postgres_url: str
) -> None:
    # The database pool stays closed, so that only the store connects through the proxy.
    store = Store(Database(proxy.url), Bus())
    await store.start()
    jobs = await prepared(store, 10)
    name = await connection.fetchval("select current_database()")
    administrator = await asyncpg.connect(postgres_url)
    await administrator.execute(f"alter database {name} with allow_connections false")
    proxy.cut()
    opened = proxy.opened
    writing = asyncio.gather(*(store.append(job, completing(), actor="worker:w1") for job in jobs))
    with suppress(TimeoutError):
        await until(lambda: true_of(lambda: proxy.opened >= opened + 2), seconds=2)

    await administrator.execute(f"alter database {name} with allow_connections true")
    await administrator.close()
    async with asyncio.timeout(5):
        answers = await writing
        await store.stop()

    assert {answer.status for answer in answers} == {Status.COMPLETED}
    assert await what_is_broken(connection) == []


async def test_writes_are_refused_when_the_store_stops_while_the_database_is_unreachable(
    proxy: Proxy, connection: Connection
) -> None:
    database = Database(proxy.url)
    await database.connect()
    store = Store(database, Bus())
    await store.start()
    [job] = await prepared(store)
    proxy.closed_to_new = True
    proxy.cut()
    writing = asyncio.create_task(store.append(job, completing(), actor="worker:w1"))
    opened = proxy.opened
    await until(lambda: true_of(lambda: proxy.opened > opened))

    async with asyncio.timeout(5):
        await store.stop()
        await asyncio.wait([writing])

    assert not writing.cancelled()
    assert isinstance(writing.exception(), OSError | asyncpg.PostgresError | asyncpg.InterfaceError)
    proxy.closed_to_new = False
    await database.disconnect()


async def test_an_accepted_job_exists_although_every_connection_was_killed_at_once(
    far_store: Store, proxy: Proxy, connection: Connection
) -> None:
    accepted = []

    for _ in range(20):
        job = await far_store.create(new(), actor="user:x")
        proxy.cut()
        accepted.append(job.id)

    rows = await connection.fetch("select job_id from job_events where seq = 1 and type = 'queued' order by event_id")
    assert [row["job_id"] for row in rows] == accepted
    assert await what_is_broken(connection) == []
