"""Group commit writes many events in few transactions, each write with its own outcome."""

import asyncio

import asyncpg
import pytest

from events.bus import Bus, Change
from events.database import Connection, Database
from events.group_commit import STOPS_WITHIN
from events.job import (
    Completed,
    Job,
    NotAllowed,
    Started,
    Status,
)
from events.store import Store
from events.writes import Decision
from tests.histories import (
    ALICE,
    failing,
    new,
    reporting,
    starting,
    until,
    what_is_broken,
)
from tests.store.stores import Counted, counts, is_true, waiting_for_locks, words_of


async def transactions(connection: Connection) -> int:
    """Returns the number of transactions that wrote the events."""
    return int(await connection.fetchval("select count(distinct xid) from job_events"))


async def test_many_writes_need_few_transactions(store: Store, connection: Connection) -> None:
    jobs = await asyncio.gather(*(store.create(new(), actor="user:x") for _ in range(300)))
    created_in = await transactions(connection)

    await asyncio.gather(*(store.append(job, starting(), actor="worker:w1") for job in jobs))

    assert created_in <= 10
    assert await transactions(connection) - created_in <= 10


async def test_new_jobs_and_changes_of_jobs_at_the_same_time_are_each_written_once(
    store: Store, connection: Connection
) -> None:
    jobs = await asyncio.gather(*(store.create(new(), actor="user:x") for _ in range(20)))
    before = await transactions(connection)
    decisions = [Counted(starting()) for _ in jobs]

    async with asyncio.timeout(10):
        await asyncio.gather(
            *(
                writing
                for job, decision in zip(jobs, decisions, strict=True)
                for writing in (
                    store.create(new(), actor="user:x"),
                    store.append(job, decision, actor="worker:w1"),
                )
            )
        )

    assert [len(decision.jobs) for decision in decisions] == [1] * 20
    assert await transactions(connection) - before <= 6


async def test_more_writes_than_one_batch_holds_are_all_written(store: Store, connection: Connection) -> None:
    jobs = await asyncio.gather(*(store.create(new(), actor="user:x") for _ in range(1300)))

    assert len({job.id for job in jobs}) == 1300
    assert await counts(connection) == (1300, 1300, 0)


BAD_WRITES: dict[str, tuple[str, Decision]] = {
    "that a constraint refuses": ("nobody", starting()),
    "with a character that text cannot hold": ("worker:w1", starting("w\0")),
    "with a lone surrogate": ("worker:\ud800", starting()),
    "with a value that JSON cannot hold": ("worker:w1", lambda job: [Started("w1"), Completed({1, 2})]),
}


@pytest.mark.parametrize("what", BAD_WRITES)
async def test_one_bad_write_among_many_fails_alone(store: Store, connection: Connection, what: str) -> None:
    jobs = await asyncio.gather(*(store.create(new(), actor="user:x") for _ in range(50)))
    actor, decide = BAD_WRITES[what]

    answers = await asyncio.gather(
        *(
            store.append(job, decide if n == 25 else starting(), actor=actor if n == 25 else "worker:w1")
            for n, job in enumerate(jobs)
        ),
        return_exceptions=True,
    )

    assert [n for n, answer in enumerate(answers) if not isinstance(answer, Job)] == [25]
    assert isinstance(answers[25], Exception)
    assert await counts(connection) == (99, 50, 0)
    assert await what_is_broken(connection) == []


@pytest.mark.parametrize("user_id", ["no uuid", "abcd", f"{ALICE}00", ""])
async def test_one_bad_new_job_among_many_fails_alone(store: Store, connection: Connection, user_id: str) -> None:
    async with asyncio.timeout(5):
        answers = await asyncio.gather(
            *(store.create(new(user_id=user_id if n == 25 else ALICE), actor="user:x") for n in range(50)),
            return_exceptions=True,
        )

    assert [n for n, answer in enumerate(answers) if not isinstance(answer, Job)] == [25]
    assert await counts(connection) == (49, 49, 0)


async def test_a_caller_cancelled_before_its_write_is_sent_writes_nothing_and_disturbs_no_other(
    store: Store, connection: Connection, locker: Connection
) -> None:
    job, other = [await store.create(new(), actor="user:x") for _ in range(2)]
    job = await store.append(job, starting(), actor="worker:w1")
    async with locker.transaction():
        await locker.execute("select from jobs where id = $1 for update", job.id)
        first = asyncio.create_task(store.append(job, reporting(1), actor="worker:w1"))
        await until(lambda: waiting_for_locks(connection, 1))
        # An append to this job is in flight, so the second append waits inside the process.
        second = asyncio.create_task(store.append(job, reporting(2), actor="worker:w1"))
        await store.append(other, starting(), actor="worker:w1")

        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second

    assert (await first).seq == 3
    assert await words_of(store, job) == ["queued", "started", "progress"]
    assert await what_is_broken(connection) == []


async def test_a_caller_cancelled_while_its_write_is_in_flight_disturbs_no_other(
    store: Store, connection: Connection, locker: Connection
) -> None:
    job, other = [await store.create(new(), actor="user:x") for _ in range(2)]
    async with locker.transaction():
        await locker.execute("select from jobs where id = $1 for update", job.id)
        gone, stays = [asyncio.create_task(store.append(each, starting(), actor="worker:w1")) for each in (job, other)]
        await until(lambda: waiting_for_locks(connection, 1))

        gone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone

    assert (await stays).seq == 2
    await until(lambda: is_true(connection, "select count(*) = 4 from job_events"))
    again = Counted(starting("w2"))
    with pytest.raises(NotAllowed):
        await store.append(job, again, actor="worker:w2")
    assert await what_is_broken(connection) == []


async def test_a_locked_job_does_not_delay_the_others(store: Store, connection: Connection, locker: Connection) -> None:
    jobs = [await store.create(new(), actor="user:x") for _ in range(20)]
    async with locker.transaction():
        await locker.execute("select from jobs where id = $1 for update", jobs[0].id)
        held = asyncio.create_task(store.append(jobs[0], starting(), actor="worker:w1"))
        await until(lambda: waiting_for_locks(connection, 1))

        async with asyncio.timeout(3):
            await asyncio.gather(*(store.append(job, starting(), actor="worker:w1") for job in jobs[1:]))

        assert not held.done()
    assert (await held).status is Status.PROCESSING


async def test_exactly_the_committed_writes_are_announced_to_listeners(database: Database, connection: Connection) -> None:
    bus = Bus()
    heard: list[Change] = []
    bus.listen(heard.append)
    store = Store(database, bus)
    await store.start()

    job = await store.create(new(), actor="user:x")
    started = await store.append(job, starting(), actor="worker:w1")
    with pytest.raises(NotAllowed):
        await store.append(job, starting("w2"), actor="worker:w2")
    with pytest.raises(asyncpg.CheckViolationError):
        await store.append(started, reporting(1), actor="nobody")
    again = await store.append(started, failing(), actor="worker:w1")
    await store.stop()

    assert heard == [Change.of(job), Change.of(started), Change.of(again)]
    assert [(change.seq, change.status, change.attempt) for change in heard] == [
        (1, "queued", 1),
        (2, "processing", 1),
        (4, "queued", 2),
    ]


async def test_a_store_that_is_being_stopped_first_finishes_its_writes(database: Database, connection: Connection) -> None:
    store = Store(database, Bus())
    await store.start()
    writing = [asyncio.create_task(store.create(new(), actor="user:x")) for _ in range(20)]
    await asyncio.sleep(0)

    async with asyncio.timeout(10):
        await store.stop()
        await asyncio.gather(*writing)

    assert await counts(connection) == (20, 20, 0)


async def test_a_store_with_nothing_to_write_stops_at_once(database: Database) -> None:
    store = Store(database, Bus(), lanes=4)
    await store.start()
    await store.create(new(), actor="user:x")

    async with asyncio.timeout(STOPS_WITHIN / 2):
        await store.stop()


async def test_a_write_to_a_stopped_store_is_refused_at_once(database: Database) -> None:
    store = Store(database, Bus())
    await store.start()
    await store.create(new(), actor="user:x")
    await store.stop()

    writing = asyncio.create_task(store.create(new(), actor="user:x"))
    await asyncio.wait([writing], timeout=1)

    assert writing.done(), "the write waits for ever"
    # The writer must get an error. A cancellation would look as if its own caller had cancelled it.
    assert not writing.cancelled()
    assert writing.exception() is not None
