"""An append whose connection breaks or stalls is written once and answered."""

import asyncio
from contextlib import suppress
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from events.bus import Bus, Change
from events.database import AWAY, Connection, Database
from events.job import Job, JobError, NotAllowed, Status, fail
from events.store import Store
from events.writes import Idempotency
from tests.histories import RETRY_AT_ONCE, canceling, completing, new, reporting, until, what_is_broken
from tests.proxy import Fault, Proxy
from tests.store.stores import Counted, counts, is_true, prepared, true_of, waiting_for_locks, words_of


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
    """Starts a new job's attempt for "the worker" over a connection with this fault.

    Returns the job, and the task of the start, which has not ended. The store sends the start again
    as soon as the proxy accepts new connections.
    """
    job = await far_store.create(new(), actor="user:x")  # This uses the same connection as the start below.
    proxy.once("the worker", fault)
    proxy.closed_to_new = True
    return job, far_store.start_attempt(job.id, 1, "rooms", worker="the worker")


async def test_a_start_that_is_sent_again_does_not_take_another_start_for_its_own(
    far_store: Store, other_store: Store, proxy: Proxy, connection: Connection
) -> None:
    job, starting_it = await start_that_meets(Fault.CUT_BEFORE, far_store, proxy)
    await until(lambda: true_of(lambda: bool(proxy.faults_met)))
    # The job was delivered twice: the same worker starts the same attempt on another connection.
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
async def test_two_events_of_one_append_whose_connection_breaks_are_written_once(
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


async def test_after_a_broken_connection_each_write_of_a_batch_gets_its_own_result(
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


async def test_a_repeated_write_is_recognised_although_the_job_has_changed_since(
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


async def test_a_write_that_never_arrived_is_decided_again_if_the_job_has_changed(
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


async def test_a_connection_that_stalls_delays_only_its_own_batch(
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


async def test_a_write_whose_answer_was_lost_is_announced_to_listeners(proxy: Proxy, connection: Connection) -> None:
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


async def test_a_task_goes_on_although_its_connection_broke_while_it_was_returned_to_the_pool(proxy: Proxy) -> None:
    async def leave_a_transaction_open() -> Any:
        async with database.raw() as raw:
            await raw.execute("begin")
            return await raw.fetchval("select 7")

    database = Database(proxy.url)
    await database.connect()
    assert await leave_a_transaction_open() == 7
    # asyncpg's pool sends ROLLBACK when a connection comes back with an open transaction.
    proxy.once("ROLLBACK", Fault.CUT_BEFORE)

    with suppress(*AWAY):
        await leave_a_transaction_open()
    again = await database.fetch_val("select 7")

    assert proxy.faults_met == [Fault.CUT_BEFORE]
    assert again == 7
    await database.disconnect()
