"""A decision is made again on the current job if the job has changed meanwhile."""

import asyncio
import random
from datetime import UTC, datetime, timedelta

import pytest

from events.database import Connection, Database
from events.job import (
    Job,
    NotAllowed,
    Status,
    retry,
    start,
)
from events.store import Store
from events.writes import Decision, UnknownJob
from tests.histories import (
    BOB,
    canceling,
    completing,
    failing,
    new,
    open_store,
    reporting,
    starting,
    what_is_broken,
)
from tests.store.stores import Counted, deadlocks, row_and_fold, words_of


async def test_a_refused_write_is_decided_again_on_the_current_job(store: Store, other_store: Store) -> None:
    job = await store.create(new(), actor="user:x")
    started = await other_store.append(job, starting(), actor="worker:w1")
    decision = Counted(canceling)

    canceled = await store.append(job, decision, actor="user:x")

    assert decision.jobs == [job, started]
    assert (canceled.status, canceled.seq) == ("canceled", 3)


async def test_a_decision_on_a_job_id_is_made_on_the_current_job(store: Store, other_store: Store) -> None:
    job = await other_store.create(new(), actor="user:x")
    started = await other_store.append(job, starting(), actor="worker:w1")
    decision = Counted(canceling)

    after = await store.append(job.id, decision, actor="user:x", request_id="r1")

    assert decision.jobs == [started]
    assert (after.status, after.seq) == ("canceled", 3)
    assert await words_of(store, job) == ["queued", "started", "canceled"]


async def test_decisions_on_many_job_ids_are_each_made_on_their_own_job(store: Store, connection: Connection) -> None:
    jobs = [await store.create(new(), actor="user:x") for _ in range(4)]
    await store.append(jobs[1], canceling, actor="user:x")
    nothing: Decision = lambda job: []  # noqa: E731

    answers = await asyncio.gather(
        store.append(jobs[0].id, canceling, actor="user:x"),
        store.append(jobs[1].id, canceling, actor="user:x"),
        store.append("00000000-0000-7000-8000-000000000000", canceling, actor="user:x"),
        store.append(jobs[2].id, nothing, actor="user:x"),
        store.append(jobs[3], starting(), actor="worker:w1"),
        return_exceptions=True,
    )

    assert [answer.status if isinstance(answer, Job) else type(answer) for answer in answers] == [
        "canceled", NotAllowed, UnknownJob, "queued", "processing",
    ]  # fmt: skip
    assert [len(await store.history.events(job.id)) for job in jobs] == [2, 2, 1, 2]
    assert await what_is_broken(connection) == []


async def test_decisions_on_one_job_id_are_made_one_after_the_other(store: Store, other_store: Store) -> None:
    job = await store.create(new(), actor="user:x")

    answers = await asyncio.gather(
        *(each.append(job.id, canceling, actor="user:x") for each in (store, other_store) for _ in range(10)),
        return_exceptions=True,
    )

    assert sorted(type(answer).__name__ for answer in answers) == ["Job", *["NotAllowed"] * 19]
    assert await words_of(store, job) == ["queued", "canceled"]


async def test_a_late_worker_gets_the_present_state_and_writes_nothing(store: Store, other_store: Store) -> None:
    job = await store.create(new(), actor="user:x")
    held = await store.append(job, starting("w1"), actor="worker:w1")
    moved = await other_store.append(held, failing("w1"), actor="system:rescue")
    moved = await other_store.append(moved, starting("w2", 2), actor="worker:w2")

    for late in (reporting(1, "w1"), completing(1, "w1"), failing("w1")):
        with pytest.raises(NotAllowed) as refused:
            await store.append(held, late, actor="worker:w1")
        assert refused.value.job == moved

    assert await words_of(store, job) == ["queued", "started", "failed", "queued", "started"]


async def test_a_worker_learns_at_its_next_write_that_the_job_was_canceled(store: Store, other_store: Store) -> None:
    job = await store.create(new(), actor="user:x")
    held = await store.append(job, starting(), actor="worker:w1")
    await other_store.append(held, canceling, actor="user:x")

    with pytest.raises(NotAllowed) as refused:
        await store.append(held, completing(), actor="worker:w1")

    assert refused.value.job.status is Status.CANCELED


async def test_one_of_many_starts_of_one_attempt_in_two_processes_succeeds(store: Store, other_store: Store) -> None:
    job = await store.create(new(), actor="user:x")

    answers = await asyncio.gather(
        *((store, other_store)[n % 2].append(job, starting(f"w{n}"), actor=f"worker:w{n}") for n in range(30)),
        return_exceptions=True,
    )

    winners = [answer for answer in answers if isinstance(answer, Job)]
    assert len(winners) == 1
    assert {type(answer) for answer in answers} == {Job, NotAllowed}
    assert await words_of(store, job) == ["queued", "started"]


HISTORIES: dict[str, list[Decision]] = {
    "queued": [],
    "processing": [starting()],
    "retried": [starting(), failing()],
    "processing again": [starting(), failing(), starting(attempt=2)],
    "retried later": [starting(), failing(retry_in=timedelta(days=1))],
    "completed": [starting(), completing()],
    "failed": [starting(), failing(retry_in=None)],
    "canceled": [canceling],
    "canceled and retried": [canceling, retry],
}


@pytest.mark.parametrize("history", HISTORIES.values(), ids=HISTORIES)
@pytest.mark.parametrize("attempt", [1, 2, 3])
async def test_start_jobs_does_to_a_job_what_the_rules_say(
    store: Store, database: Database, history: list[Decision], attempt: int
) -> None:
    job = await store.create(new(), actor="user:x")
    for decide in history:
        job = await store.append(job, decide, actor="worker:w1")
    try:
        [expected] = start(job, attempt=attempt, worker="w2")
    except NotAllowed:
        expected = None

    started = await store.start_attempt(job.id, attempt, "rooms", worker="w2")

    row, folded = await row_and_fold(database, store, job.id)
    assert row == folded
    if expected is None:
        assert (started, row) == (None, job)
        return
    assert started == row
    [event] = await store.history.events(job.id, after=job.seq)
    assert (event.event, event.attempt, event.actor) == (expected, attempt, "worker:w2")


async def test_a_start_checks_the_job_type_and_its_pauses(store: Store, connection: Connection) -> None:
    job = await store.create(new(), actor="user:x")
    pause = "insert into pauses (type, until, reason, actor) values ('rooms', $1, 'test', 'user:x')"

    assert await store.start_attempt(job.id, 1, "messages", worker="w1") is None
    for until_then in (None, datetime.now(UTC) + timedelta(hours=1)):
        await connection.execute(pause, until_then)
        assert await store.start_attempt(job.id, 1, "rooms", worker="w1") is None
        await connection.execute("delete from pauses")

    assert await store.start_attempt(job.id, 1, "rooms", worker="w1") is not None
    assert await words_of(store, job) == ["queued", "started"]


async def test_one_start_of_each_attempt_succeeds_if_two_processes_start_many(
    database_url: str, connection: Connection
) -> None:
    async with open_store(database_url) as one, open_store(database_url) as two:
        jobs = await one.create_many([new() for _ in range(50)], actor="user:x")
        hints = [(job, n) for job in jobs for n in range(6)]
        random.shuffle(hints)

        answers = await asyncio.gather(
            *((one, two)[n % 2].start_attempt(job.id, 1, "rooms", worker=f"w{n % 3}") for job, n in hints)
        )

    assert sorted(job.id for job in answers if job is not None) == sorted(job.id for job in jobs)
    assert await deadlocks(connection) == 0
    assert await what_is_broken(connection) == []


async def test_appends_to_one_job_from_many_tasks_are_all_kept_in_order(store: Store, other_store: Store) -> None:
    job = await store.create(new(), actor="user:x")
    job = await store.append(job, starting(), actor="worker:w1")

    async with asyncio.timeout(20):
        await asyncio.gather(*((store, other_store)[n % 2].append(job, reporting(n), actor="worker:w1") for n in range(40)))

    history = await store.history.events(job.id)
    assert [event.seq for event in history] == list(range(1, 43))
    assert sorted(event.event.result for event in history[2:] if hasattr(event.event, "result")) == list(range(40))


async def test_a_history_is_read_from_a_seq_and_a_job_is_folded_up_to_one(store: Store) -> None:
    jobs = [await store.create(new(), actor="user:x")]
    for step in (starting(), reporting(1), reporting(2), completing(3)):
        jobs.append(await store.append(jobs[-1], step, actor="worker:w1"))
    job = jobs[-1]

    assert [await store.history.past(job.id, seq=seq) for seq in range(7)] == [None, *jobs, job]
    assert [await store.history.past(job.id, at=each.updated_at) for each in jobs] == jobs
    assert await store.history.past(job.id, at=job.created_at - timedelta(microseconds=1)) is None
    assert await store.history.past(BOB, seq=1) is None
    assert [event.seq for event in await store.history.events(job.id, after=2)] == [3, 4, 5]
    assert await store.history.events(job.id, after=5) == []
    assert await store.history.events(BOB) == []
