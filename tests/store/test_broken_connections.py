"""The one write, against a real database: nothing half-done, nothing twice, nothing lost, whoever races and whatever breaks."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from structlog.testing import capture_logs

from events import database as database_module
from events import statements
from events.bus import Bus, Change
from events.database import AWAY, Connection, Database
from events.job import (
    Job,
    JobError,
    NotAllowed,
    Status,
    fail,
)
from events.store import Store
from events.writes import Idempotency
from tests.histories import (
    RETRY_AT_ONCE,
    canceling,
    completing,
    new,
    open_store,
    reporting,
    starting,
    until,
    what_is_broken,
)
from tests.proxy import Fault, Proxy, proxy_before
from tests.store.stores import Counted, counts, is_true, waiting_for_locks, words_of


@pytest.fixture
async def proxy(database_url: str) -> AsyncIterator[Proxy]:
    async with proxy_before(database_url) as proxy:
        yield proxy


@pytest.fixture
async def far_store(proxy: Proxy) -> AsyncIterator[Store]:
    """A store whose connections go through the proxy."""
    async with open_store(proxy.url) as store:
        yield store


async def prepared(far_store: Store, jobs: int = 1) -> list[Job]:
    """Jobs that run, written over warm connections."""
    made = await asyncio.gather(*(far_store.create(new(), actor="user:x") for _ in range(jobs)))
    return list(await asyncio.gather(*(far_store.append(job, starting(), actor="worker:w1") for job in made)))


@pytest.mark.parametrize("seen", [True, False])
@pytest.mark.parametrize("fault", [Fault.CUT_BEFORE, Fault.CUT_AFTER])
async def test_an_append_whose_connection_breaks_is_written_once_and_answered(
    far_store: Store, proxy: Proxy, connection: Connection, fault: Fault, seen: bool
) -> None:
    [job] = await prepared(far_store)
    proxy.once("the marker", fault)
    decision = Counted(completing("the marker"))

    async with asyncio.timeout(10):
        done = await far_store.append(job if seen else job.id, decision, actor="worker:w1")

    assert proxy.faults_met == [fault]
    assert (done.status, done.result, done.seq) == ("completed", "the marker", 3)
    assert len(decision.jobs) == 1
    assert await words_of(far_store, job) == ["queued", "started", "completed"]
    assert await what_is_broken(connection) == []


@pytest.mark.parametrize("fault", [Fault.CUT_BEFORE, Fault.CUT_AFTER])
async def test_a_job_whose_connection_breaks_while_it_is_read_is_read_again(
    far_store: Store, proxy: Proxy, connection: Connection, fault: Fault
) -> None:
    other, job = await prepared(far_store, 2)
    await far_store.append(other.id, canceling, actor="user:x")
    proxy.once(UUID(job.id).bytes, fault)
    decision = Counted(completing())

    async with asyncio.timeout(10):
        done = await far_store.append(job.id, decision, actor="worker:w1")

    assert proxy.faults_met == [fault]
    assert (done.status, done.seq, len(decision.jobs)) == ("completed", 3, 1)
    assert await words_of(far_store, job) == ["queued", "started", "completed"]
    assert await what_is_broken(connection) == []


@pytest.mark.parametrize("fault", [Fault.CUT_BEFORE, Fault.CUT_AFTER])
async def test_a_start_whose_connection_breaks_is_written_once_and_answered(
    far_store: Store, proxy: Proxy, connection: Connection, fault: Fault
) -> None:
    jobs = [await far_store.create(new(), actor="user:x") for _ in range(3)]
    proxy.once("the worker", fault)

    async with asyncio.timeout(10):
        started = await asyncio.gather(
            *(far_store.start_attempt(job.id, 1, "rooms", worker="the worker") for job in jobs),
            far_store.start_attempt(jobs[0].id, 2, "rooms", worker="the worker"),
        )

    assert proxy.faults_met == [fault]
    assert [job and (job.id, job.status, job.worker) for job in started] == [
        *((job.id, "processing", "the worker") for job in jobs),
        None,
    ]
    assert [await words_of(far_store, job) for job in jobs] == [["queued", "started"]] * 3
    assert await what_is_broken(connection) == []


PAUSE = "insert into pauses (type, reason, actor) values ('rooms', 'enough', 'user:x')"


@pytest.mark.parametrize("meanwhile", ["select 1", PAUSE], ids=["nothing else happens", "its type is paused"])
async def test_a_start_that_the_lost_backend_still_commits_is_not_written_again(
    far_store: Store, proxy: Proxy, connection: Connection, locker: Connection, meanwhile: str
) -> None:
    job = await far_store.create(new(), actor="user:x")
    async with asyncio.timeout(10):
        async with locker.transaction():
            await locker.execute("select from jobs where id = $1 for update", job.id)
            starting_it = far_store.start_attempt(job.id, 1, "rooms", worker="w1")
            await until(lambda: waiting_for_locks(connection, 1))
            proxy.closed_to_new = True
            proxy.cut()
            await connection.execute(meanwhile)
            proxy.closed_to_new = False
            await until(lambda: waiting_for_locks(connection, 2))
        started = await starting_it

    assert started is not None
    assert (started.seq, started.worker) == (2, "w1")
    assert await words_of(far_store, job) == ["queued", "started"]
    assert await what_is_broken(connection) == []


async def start_that_meets(fault: Fault, far_store: Store, proxy: Proxy) -> tuple[Job, asyncio.Future[Job | None]]:
    """A job, and its start by "the worker": sent over a connection that meets this, and again once `proxy` is open to new ones."""
    job = await far_store.create(new(), actor="user:x")  # over the connection that the start will take
    proxy.once("the worker", fault)
    proxy.closed_to_new = True
    return job, far_store.start_attempt(job.id, 1, "rooms", worker="the worker")


async def test_a_start_that_is_sent_again_does_not_take_another_s_for_its_own(
    far_store: Store, other_store: Store, proxy: Proxy, connection: Connection
) -> None:
    job, starting_it = await start_that_meets(Fault.CUT_BEFORE, far_store, proxy)
    await until(lambda: true_of(lambda: bool(proxy.faults_met)))
    # A second delivery of the same hint to the same worker, over another connection.
    assert await other_store.start_attempt(job.id, 1, "rooms", worker="the worker") is not None

    proxy.closed_to_new = False
    async with asyncio.timeout(10):
        assert await starting_it is None

    assert await words_of(far_store, job) == ["queued", "started"]
    assert await what_is_broken(connection) == []


async def test_a_start_that_is_sent_again_when_the_job_was_canceled_is_refused(
    far_store: Store, other_store: Store, proxy: Proxy, connection: Connection
) -> None:
    job, starting_it = await start_that_meets(Fault.CUT_AFTER, far_store, proxy)
    await until(lambda: is_true(connection, "select count(*) = 2 from job_events"))
    await other_store.append(job, canceling, actor="user:x")

    proxy.closed_to_new = False
    async with asyncio.timeout(10):
        assert await starting_it is None

    assert await words_of(far_store, job) == ["queued", "started", "canceled"]
    assert await what_is_broken(connection) == []


@pytest.mark.parametrize("fault", [Fault.CUT_BEFORE, Fault.CUT_AFTER])
async def test_two_events_whose_connection_breaks_are_written_once_and_answered(
    far_store: Store, proxy: Proxy, connection: Connection, fault: Fault
) -> None:
    [job] = await prepared(far_store)
    proxy.once("the marker", fault)
    error = JobError("the marker", "it broke")

    async with asyncio.timeout(10):
        again = await far_store.append(
            job, lambda job: fail(job, attempt=1, worker="w1", error=error, retry_in=RETRY_AT_ONCE), actor="worker:w1"
        )

    assert proxy.faults_met == [fault]
    assert (again.status, again.attempt, again.seq) == ("queued", 2, 4)
    assert await words_of(far_store, job) == ["queued", "started", "failed", "queued"]
    assert await what_is_broken(connection) == []


@pytest.mark.parametrize("fault", [Fault.CUT_BEFORE, Fault.CUT_AFTER])
@pytest.mark.parametrize("more", [{}, {"unique_key": "u"}, {"idempotency": Idempotency("k", "h")}])
async def test_a_new_job_whose_connection_breaks_is_made_once_and_answered(
    far_store: Store, proxy: Proxy, connection: Connection, fault: Fault, more: dict[str, Any]
) -> None:
    await prepared(far_store)
    proxy.once("the marker", fault)

    async with asyncio.timeout(10):
        job = await far_store.create(new(payload={"it": "the marker"}, **more), actor="user:x")

    assert proxy.faults_met == [fault]
    assert await words_of(far_store, job) == ["queued"]
    assert (await counts(connection))[:2] == (3, 2)
    assert await what_is_broken(connection) == []


async def test_a_batch_whose_connection_breaks_gives_each_its_own_answer(
    far_store: Store, other_store: Store, proxy: Proxy, connection: Connection
) -> None:
    jobs = await prepared(far_store, 30)
    moved = await other_store.append(jobs[7], canceling, actor="user:x")
    proxy.once("the marker", Fault.CUT_AFTER)

    async with asyncio.timeout(15):
        answers = await asyncio.gather(
            *(
                far_store.append(job, completing("the marker" if n == 3 else n), actor="nobody" if n == 11 else "worker:w1")
                for n, job in enumerate(jobs)
            ),
            return_exceptions=True,
        )

    assert proxy.faults_met == [Fault.CUT_AFTER]
    assert {n: type(answer) for n, answer in enumerate(answers) if not isinstance(answer, Job)} == {
        7: NotAllowed,
        11: asyncpg.CheckViolationError,
    }
    assert isinstance(answers[7], NotAllowed)
    assert answers[7].job == moved
    assert await connection.fetchval("select count(*) from job_events where type = 'completed'") == 28
    assert await what_is_broken(connection) == []


async def test_a_write_that_the_lost_backend_still_commits_is_not_written_again(
    far_store: Store, proxy: Proxy, connection: Connection, locker: Connection
) -> None:
    [job] = await prepared(far_store)
    decision = Counted(completing({"n": 1}))
    async with asyncio.timeout(10):
        async with locker.transaction():
            await locker.execute("select from jobs where id = $1 for update", job.id)
            completing_it = asyncio.create_task(far_store.append(job, decision, actor="worker:w1"))
            await until(lambda: waiting_for_locks(connection, 1))

            proxy.cut()
            # The backend of the first try waits on, without knowing that nobody listens; now the second try waits behind it.
            await until(lambda: waiting_for_locks(connection, 2))
        done = await completing_it

    assert (done.status, done.seq, len(decision.jobs)) == ("completed", 3, 1)
    assert await words_of(far_store, job) == ["queued", "started", "completed"]
    assert await what_is_broken(connection) == []


@pytest.fixture
def short_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever connects from now on waits for a lock no longer than a moment."""
    monkeypatch.setitem(database_module.SERVER_SETTINGS, "lock_timeout", "50ms")


async def test_a_write_whose_first_try_still_holds_the_row_is_not_given_up(
    short_locks: None, far_store: Store, proxy: Proxy, connection: Connection, locker: Connection
) -> None:
    [job] = await prepared(far_store)
    await connection.execute(WAITS_IN_COMMIT)
    decision = Counted(completing({"n": 1}))
    with capture_logs() as logged:
        async with asyncio.timeout(20), locker.transaction():
            await locker.execute("select pg_advisory_xact_lock(4711)")
            completing_it = asyncio.create_task(far_store.append(job, decision, actor="worker:w1"))
            await until(lambda: waiting_for_locks(connection, 1))
            proxy.cut()

            # Again and again the second try meets the row that the first one holds while it commits.
            await until(lambda: true_of(lambda: completing_it.done() or _met_a_held_row(logged) > 10))
        done = await completing_it

    assert (done.status, done.seq, len(decision.jobs)) == ("completed", 3, 1)
    assert await words_of(far_store, job) == ["queued", "started", "completed"]
    assert await what_is_broken(connection) == []


# As a commit does that waits for a standby: the row is locked, and nobody knows yet what will come of it.
WAITS_IN_COMMIT = """
create function wait_in_commit() returns trigger language plpgsql as $$
begin
    perform set_config('lock_timeout', '0', true);
    perform pg_advisory_xact_lock(4711);
    return null;
end $$;
create constraint trigger waits_in_commit after insert on job_events deferrable initially deferred
for each row when (new.type = 'completed') execute function wait_in_commit();
"""


def _met_a_held_row(logged: Sequence[Mapping[str, Any]]) -> int:
    return sum("somebody holds a row" in line["event"] for line in logged)


async def test_rows_that_somebody_holds_hold_up_no_other_job_for_long(
    monkeypatch: pytest.MonkeyPatch, database_url: str, connection: Connection, locker: Connection
) -> None:
    monkeypatch.setitem(database_module.SERVER_SETTINGS, "lock_timeout", "500ms")
    async with open_store(database_url) as store:
        held, others = await prepared(store, 20), await prepared(store, 20)
        async with locker.transaction():
            await locker.execute("select from jobs where id = any($1::uuid[]) for update", [job.id for job in held])
            writing = [asyncio.create_task(store.append(job, completing(), actor="worker:w1")) for job in held[:10]]
            await until(lambda: waiting_for_locks(connection, 1))
            writing += [asyncio.create_task(store.append(job, completing(), actor="worker:w1")) for job in held[10:]]
            await until(lambda: waiting_for_locks(connection, 2))

            async with asyncio.timeout(4):
                await asyncio.gather(*(store.append(job, completing(), actor="worker:w1") for job in others))

            assert not any(task.done() for task in writing)
        async with asyncio.timeout(10):
            assert {job.status for job in await asyncio.gather(*writing)} == {Status.COMPLETED}
    assert await what_is_broken(connection) == []


async def test_what_waits_for_a_row_that_somebody_holds_is_written_when_it_is_free(
    short_locks: None, database_url: str, locker: Connection
) -> None:
    async with open_store(database_url) as store:
        [job] = await prepared(store)
        with capture_logs() as logged:
            async with locker.transaction():
                await locker.execute("select from jobs where id = $1 for update", job.id)
                first = asyncio.create_task(store.append(job, reporting(1), actor="worker:w1"))
                await until(lambda: true_of(lambda: _met_a_held_row(logged) > 0))
                second = asyncio.create_task(store.append(job.id, canceling, actor="user:x"))
                await until(lambda: true_of(lambda: _met_a_held_row(logged) > 1))

        async with asyncio.timeout(10):
            assert ((await first).seq, (await second).seq) == (3, 4)
        assert await words_of(store, job) == ["queued", "started", "progress", "canceled"]


async def test_a_store_stops_though_somebody_holds_a_row_that_it_wants(
    short_locks: None, database_url: str, connection: Connection, locker: Connection
) -> None:
    async with asyncio.timeout(10), locker.transaction():
        async with open_store(database_url) as store:
            [job] = await prepared(store)
            await locker.execute("select from jobs where id = $1 for update", job.id)
            with capture_logs() as logged:
                writing = asyncio.create_task(store.append(job, completing(), actor="worker:w1"))
                await until(lambda: true_of(lambda: _met_a_held_row(logged) > 0))

        with pytest.raises(ConnectionError):
            await writing


async def test_what_is_written_while_the_disk_is_full_is_written_when_there_is_room_again(
    store: Store, connection: Connection
) -> None:
    jobs = await prepared(store, 3)
    await connection.execute(DISK_IS_FULL)
    writing = [asyncio.create_task(store.append(job, completing(), actor="worker:w1")) for job in jobs]
    await until(lambda: is_true(connection, "select last_value >= 4 from tries"))

    await connection.execute("drop trigger disk_is_full on job_events")

    async with asyncio.timeout(10):
        assert [(job.status, job.seq) for job in await asyncio.gather(*writing)] == [("completed", 3)] * 3
    assert await what_is_broken(connection) == []


DISK_IS_FULL = """
create sequence tries;
create function refuse_for_want_of_room() returns trigger language plpgsql as $$
begin
    perform nextval('tries');
    raise exception 'could not extend file: No space left on device' using errcode = 'disk_full';
end $$;
create trigger disk_is_full before insert on job_events
for each row when (new.type = 'completed') execute function refuse_for_want_of_room();
"""


async def test_a_write_is_recognised_although_others_have_moved_the_job_on_since(
    far_store: Store, other_store: Store, proxy: Proxy, connection: Connection
) -> None:
    [job] = await prepared(far_store)
    proxy.once("the marker", Fault.CUT_AFTER)
    proxy.closed_to_new = True
    decision = Counted(reporting("the marker"))
    writing = asyncio.create_task(far_store.append(job, decision, actor="worker:w1"))
    await until(lambda: is_true(connection, "select count(*) = 3 from job_events"))
    job = await other_store.append(job, completing(2), actor="worker:w1")

    proxy.closed_to_new = False
    async with asyncio.timeout(10):
        then = await writing

    assert (then.status, then.seq, then.result, len(decision.jobs)) == ("processing", 3, "the marker", 1)
    assert await words_of(far_store, job) == ["queued", "started", "progress", "completed"]
    assert await what_is_broken(connection) == []


async def test_a_write_that_never_arrived_is_decided_again_when_others_moved_the_job_on(
    far_store: Store, other_store: Store, proxy: Proxy, connection: Connection
) -> None:
    [job] = await prepared(far_store)
    proxy.once("the marker", Fault.CUT_BEFORE)
    proxy.closed_to_new = True
    writing = asyncio.create_task(far_store.append(job, completing("the marker"), actor="worker:w1"))
    await until(lambda: true_of(lambda: bool(proxy.faults_met)))
    canceled = await other_store.append(job, canceling, actor="user:x")

    proxy.closed_to_new = False
    with pytest.raises(NotAllowed) as refused:
        async with asyncio.timeout(10):
            await writing

    assert refused.value.job == canceled
    assert await words_of(far_store, job) == ["queued", "started", "canceled"]
    assert await what_is_broken(connection) == []


async def true_of(condition: Callable[[], bool]) -> bool:
    return condition()


async def test_a_connection_that_stalls_holds_up_only_its_own_batch(
    far_store: Store, proxy: Proxy, connection: Connection
) -> None:
    jobs = await prepared(far_store, 20)
    proxy.once("the marker", Fault.STALL)
    stalled = asyncio.create_task(far_store.append(jobs[0], completing("the marker"), actor="worker:w1"))
    await until(lambda: is_true(connection, "select exists (select from job_events where type = 'completed')"))

    async with asyncio.timeout(5):
        await asyncio.gather(*(far_store.append(job, completing(), actor="worker:w1") for job in jobs[1:]))
    assert not stalled.done()

    proxy.resume()
    async with asyncio.timeout(5):
        assert (await stalled).status is Status.COMPLETED
    assert await what_is_broken(connection) == []


async def test_a_connection_that_stalls_and_then_breaks_leaves_one_event(
    far_store: Store, proxy: Proxy, connection: Connection
) -> None:
    [job] = await prepared(far_store)
    proxy.once("the marker", Fault.STALL)
    writing = asyncio.create_task(far_store.append(job, completing("the marker"), actor="worker:w1"))
    await until(lambda: is_true(connection, "select exists (select from job_events where type = 'completed')"))

    proxy.cut()
    async with asyncio.timeout(10):
        done = await writing

    assert (done.status, done.seq) == ("completed", 3)
    assert await words_of(far_store, job) == ["queued", "started", "completed"]


async def test_writes_go_on_although_the_server_said_goodbye_with_its_last_answer(
    far_store: Store, proxy: Proxy, connection: Connection, locker: Connection
) -> None:
    first, held, *others = await prepared(far_store, 10)
    proxy.once("the marker", Fault.GOODBYE)
    await far_store.append(first, completing("the marker"), actor="worker:w1")

    async with asyncio.timeout(10):
        async with locker.transaction():
            # The other connection has to wait for this one, so that the rest goes over the one that is closing.
            await locker.execute("select from jobs where id = $1 for update", held.id)
            waiting = asyncio.create_task(far_store.append(held, completing(), actor="worker:w1"))
            await until(lambda: waiting_for_locks(connection, 1))
            done = await asyncio.gather(*(far_store.append(job, completing(), actor="worker:w1") for job in others))
        done.append(await waiting)

    assert proxy.faults_met == [Fault.GOODBYE]
    assert {job.status for job in done} == {Status.COMPLETED}
    assert await what_is_broken(connection) == []


async def test_writes_go_on_although_the_server_said_goodbye_to_a_connection_that_was_just_opened(
    far_store: Store, proxy: Proxy, connection: Connection
) -> None:
    jobs = await prepared(far_store, 10)
    # It is asked for on new connections.
    proxy.once("clock_timestamp", Fault.GOODBYE)
    proxy.cut()

    async with asyncio.timeout(10):
        done = await asyncio.gather(*(far_store.append(job, completing(), actor="worker:w1") for job in jobs))

    assert proxy.faults_met == [Fault.GOODBYE]
    assert {job.status for job in done} == {Status.COMPLETED}
    assert await what_is_broken(connection) == []


async def test_listeners_hear_of_a_write_whose_answer_was_lost(proxy: Proxy, connection: Connection) -> None:
    heard: list[Change] = []
    bus = Bus()
    bus.listen(heard.append)
    database = Database(proxy.url)
    await database.connect()
    store = Store(database, bus)
    await store.start()
    [job] = await prepared(store)
    proxy.once("the marker", Fault.CUT_AFTER)

    done = await store.append(job, completing("the marker"), actor="worker:w1")

    await store.stop()
    await database.disconnect()
    assert heard[-1] == Change.of(done)
    assert [change.seq for change in heard] == [1, 2, 3]


async def test_a_task_goes_on_although_its_connection_broke_while_it_was_given_back(proxy: Proxy) -> None:
    async def leave_a_transaction_open() -> Any:
        async with database.raw() as raw:
            await raw.execute("begin")
            return await raw.fetchval("select 7")

    database = Database(proxy.url)
    await database.connect()
    assert await leave_a_transaction_open() == 7
    # asyncpg's pool says this to a connection that is given back within a transaction.
    proxy.once("ROLLBACK", Fault.CUT_BEFORE)

    with suppress(*AWAY):
        await leave_a_transaction_open()
    again = await database.fetch_val("select 7")

    assert proxy.faults_met == [Fault.CUT_BEFORE]
    assert again == 7
    await database.disconnect()


STEPS = 4


async def test_backends_that_are_terminated_again_and_again_lose_and_double_nothing(
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
    # Its pool is not opened: only the store itself connects through the proxy.
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


async def test_writes_are_refused_when_the_store_stops_while_the_database_is_away(proxy: Proxy, connection: Connection) -> None:
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


async def test_an_accepted_job_is_there_although_every_connection_was_killed_at_once(
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


async def test_no_plan_is_kept_before_the_table_has_grown(database_url: str, connection: Connection) -> None:
    async with open_store(database_url) as store:
        for jobs, mode, hash_joins in ((0, "force_custom_plan", "off"), (1_000, "force_generic_plan", "on")):
            await store.create_many([new() for _ in range(jobs)], actor="user:x")
            lane = await store._writer.connect()
            assert await lane.fetchval("show plan_cache_mode") == mode
            assert await lane.fetchval("show enable_hashjoin") == hash_joins
            await lane.close()

        lane = await store._writer.connect()
        await lane.execute(f"prepare moving as {statements.MOVE_JOBS}")
        plan = [row[0].strip() for row in await lane.fetch("explain (costs off) execute moving(null, null)")]
        await lane.close()

    # One look into one index for each row, however many there are, in the order of what is asked.
    assert plan[plan.index("->  Update on jobs j") + 1 :][:4] == [
        "->  Nested Loop",
        "->  CTE Scan on asked a",
        "->  Index Scan using jobs_pkey on jobs j",
        "Index Cond: (id = a.id)",
    ]
    assert plan[plan.index("CTE asked") + 1 :][:2] == ["->  Sort", "Sort Key: unnest.id"]


async def test_plans_are_kept_soon_after_the_table_has_grown_beside_a_store_that_began_with_an_empty_one(store: Store) -> None:
    await store.create_many([new() for _ in range(1_000)], actor="user:x")

    async def plans_are_kept() -> bool:
        await store.create_many([new() for _ in range(100)], actor="user:x")
        modes = [await lane.fetchval("show plan_cache_mode") for lane in store._writer._tunings]
        return "force_generic_plan" in modes

    await until(plans_are_kept)


ENDED_LONG_AGO = """
insert into jobs (id, type, status, payload, attempt, max_attempts, seq, run_at, finished_at, created_at, updated_at)
select gen_random_uuid(), 'rooms', 'completed', '{}', 1, 1, 3, now(), now(), now(), now() from generate_series(1, 5000)
"""


async def test_a_start_finds_its_job_by_the_id_though_next_to_none_was_queued_when_the_planner_looked(
    store: Store, connection: Connection
) -> None:
    await connection.execute(ENDED_LONG_AGO)
    await store.create(new(), actor="user:x")
    await connection.execute("analyze jobs")
    lane = await store._writer.connect()
    await lane.execute(f"prepare starting as {statements.START_JOBS}")

    plan = [row[0] for row in await lane.fetch(f"explain (costs off) execute starting({', '.join(['null'] * 8)})")]
    await lane.close()

    # The index of what is queued may hold a backlog of millions by now.
    assert set(re.findall(r"(\w+) on jobs j", "\n".join(plan))) == {"Update", "jobs_pkey"}


@pytest.mark.parametrize("statement", [statements.MOVE_JOBS, statements.CREATE_JOBS])
async def test_a_jobs_events_get_their_ids_in_order_of_seq_whatever_joins_are_chosen(
    connection: Connection, statement: str
) -> None:
    plan = [row[0].strip() for row in await connection.fetch(f"explain (costs off) {statement}", [], [])]

    # The order is that in which rows reach the insert: a hash join may turn it round.
    inserted = plan[plan.index("->  Insert on job_events") + 1 :]
    assert inserted[0].startswith("->  Subquery Scan")
    assert inserted[1:3] == ["->  Sort", "Sort Key: e.job_id, e.seq"]
