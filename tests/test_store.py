"""The one write, against a real database: nothing half-done, nothing twice, nothing lost, whoever races and whatever breaks."""

import asyncio
import random
import re
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, Self
from uuid import UUID

import asyncpg
import pytest
from structlog.testing import capture_logs

from events import database as database_module
from events import store as store_module
from events.bus import Bus, Change
from events.database import AWAY, Connection, Database, connect
from events.elapsed import CLOCK
from events.group_commit import STOPS_WITHIN
from events.job import (
    Completed,
    Event,
    Job,
    JobError,
    NotAllowed,
    Started,
    Status,
    fail,
    fold,
    force_fail,
    hand_back,
    rescue,
    retry,
    start,
    word,
)
from events.store import AlreadyActive, DatabaseClock, Decision, Idempotency, KeyTaken, NewJob, Store, UnknownJob
from projections.jobs import JobsView
from tests.histories import (
    ALICE,
    BOB,
    ERROR,
    RETRY_AT_ONCE,
    canceling,
    completing,
    failing,
    new,
    open_store,
    reporting,
    starting,
    until,
    what_is_broken,
)
from tests.proxy import Fault, Proxy, proxy_before


class Counted:
    """A decision that remembers on which jobs it was made."""

    def __init__(self, decide: Decision) -> None:
        self._decide = decide
        self.jobs: list[Job] = []

    def __call__(self, job: Job) -> list[Event]:
        self.jobs.append(job)
        return self._decide(job)


@pytest.fixture
async def other_store(database_url: str) -> AsyncIterator[Store]:
    async with open_store(database_url) as store:
        yield store


@pytest.fixture
async def proxy(database_url: str) -> AsyncIterator[Proxy]:
    async with proxy_before(database_url) as proxy:
        yield proxy


@pytest.fixture
async def far_store(proxy: Proxy) -> AsyncIterator[Store]:
    """A store whose connections go through the proxy."""
    async with open_store(proxy.url) as store:
        yield store


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[Connection]:
    connection = await connect(database_url, application_name="the test")
    yield connection
    await connection.close()


@pytest.fixture
async def locker(database_url: str) -> AsyncIterator[Connection]:
    """One more connection, for locks that are held a while."""
    connection = await connect(database_url, application_name="the test", idle_in_transaction_session_timeout="0")
    yield connection
    await connection.close()


async def words_of(store: Store, job: Job | str) -> list[str]:
    return [word(event.event) for event in await store.history(job if isinstance(job, str) else job.id)]


async def counts(connection: Connection) -> tuple[int, int, int]:
    """How many events, jobs and idempotency keys there are."""
    row = await connection.fetchrow(
        "select (select count(*) from job_events), (select count(*) from jobs), (select count(*) from idempotency_keys)"
    )
    assert row is not None
    return (row[0], row[1], row[2])


async def row_and_fold(database: Database, store: Store, job_id: str) -> tuple[Job | None, Job | None]:
    return await JobsView(database).get(job_id), fold(await store.history(job_id))


# Both or none ---------------------------------------------------------------------------------------------------------------------


async def test_an_accepted_job_stands_in_log_and_view_at_once(store: Store, database: Database) -> None:
    job = await store.create(new(delay=timedelta(minutes=5)), actor="user:x", request_id="r1")

    shown, folded = await row_and_fold(database, store, job.id)
    [event] = await store.history(job.id)

    assert job == shown == folded
    assert (event.seq, event.attempt, word(event.event), event.actor, event.position) == (1, 1, "queued", "user:x", None)
    assert job.run_at == job.created_at + timedelta(minutes=5)
    assert UUID(job.id).version == 7


async def test_every_append_answers_with_what_view_and_log_show(store: Store, database: Database) -> None:
    job = await store.create(new(), actor="user:x")
    steps = [
        starting(), reporting({"n": 1}), failing(), starting("w2", 2), canceling, retry, starting("w3", 3),
        reporting([1], "w3", 3), completing({"s": "終"}, "w3", 3),
    ]  # fmt: skip

    for step in steps:
        job = await store.append(job, step, actor="worker:w1")

        assert (job, job) == await row_and_fold(database, store, job.id)
    assert [event.seq for event in await store.history(job.id)] == list(range(1, 12))


async def test_who_asked_is_kept_with_the_event(store: Store, connection: Connection) -> None:
    job = await store.create(new(), actor="user:x", request_id="r1")

    await store.append(job, starting(), actor="worker:w1", request_id="r2")

    rows = await connection.fetch("select actor, request_id from job_events order by seq")
    assert [tuple(row) for row in rows] == [("user:x", "r1"), ("worker:w1", "r2")]


async def test_a_failure_and_its_retry_are_of_one_transaction(store: Store, connection: Connection) -> None:
    job = await store.create(new(), actor="user:x")
    job = await store.append(job, starting(), actor="worker:w1")

    job = await store.append(job, failing(), actor="worker:w1")

    assert (job.status, job.attempt, job.seq) == ("queued", 2, 4)
    assert await connection.fetchval("select count(distinct xid) from job_events where seq in (3, 4)") == 1
    assert await connection.fetchval("select count(distinct at) from job_events where seq in (3, 4)") == 1


async def test_a_decision_for_nothing_writes_nothing(store: Store, connection: Connection) -> None:
    job = await store.create(new(), actor="user:x")

    same = await store.append(job, lambda job: [], actor="user:x")

    assert same == job
    assert await counts(connection) == (1, 1, 0)


async def test_an_event_that_the_log_refuses_leaves_the_view_as_it_was(store: Store, database: Database) -> None:
    job = await store.create(new(), actor="user:x")

    with pytest.raises(asyncpg.CheckViolationError):
        await store.append(job, starting(), actor="nobody")

    assert (job, job) == await row_and_fold(database, store, job.id)


async def test_a_row_that_the_view_refuses_leaves_the_log_as_it_was(
    store: Store, database: Database, connection: Connection
) -> None:
    await connection.execute("alter table jobs add constraint a_test_refuses_this_worker check (worker <> 'unwanted')")
    job = await store.create(new(), actor="user:x")

    with pytest.raises(asyncpg.CheckViolationError):
        await store.append(job, starting("unwanted"), actor="worker:unwanted")

    assert (job, job) == await row_and_fold(database, store, job.id)


async def test_a_new_job_whose_event_is_refused_leaves_neither_row_nor_key(store: Store, connection: Connection) -> None:
    with pytest.raises(asyncpg.CheckViolationError):
        await store.create(new(idempotency=Idempotency("k", "h"), unique_key="u"), actor="nobody")

    assert await counts(connection) == (0, 0, 0)


async def test_a_job_that_is_not_there_is_said_to_be_missing(store: Store, connection: Connection) -> None:
    job = await store.create(new(), actor="user:x")
    await connection.execute("delete from jobs")

    for seen in (job, job.id):
        with pytest.raises(UnknownJob, match=job.id):
            await store.append(seen, starting(), actor="worker:w1")

    assert await words_of(store, job) == ["queued"]


async def test_the_store_is_as_durable_as_the_server_is_set_up(store: Store, connection: Connection, database_url: str) -> None:
    await connection.execute("create table seen (synchronous_commit text)")
    await connection.execute("""
        create function see() returns trigger language plpgsql as $$
        begin insert into seen values (current_setting('synchronous_commit')); return new; end $$;
        create trigger see before insert on job_events for each row execute function see();
    """)

    job = await store.create(new(), actor="user:x")
    await store.append(job, starting(), actor="worker:w1")

    plain = await asyncpg.connect(database_url)
    usual = await plain.fetchval("show synchronous_commit")
    await plain.close()
    assert {row[0] for row in await connection.fetch("select synchronous_commit from seen")} == {usual}


# Refused and decided again --------------------------------------------------------------------------------------------------------


async def test_a_refused_write_decides_again_on_the_job_as_it_is(store: Store, other_store: Store) -> None:
    job = await store.create(new(), actor="user:x")
    started = await other_store.append(job, starting(), actor="worker:w1")
    decision = Counted(canceling)

    canceled = await store.append(job, decision, actor="user:x")

    assert decision.jobs == [job, started]
    assert (canceled.status, canceled.seq) == ("canceled", 3)


async def test_of_a_job_that_nobody_has_seen_it_is_decided_on_what_it_is_now(store: Store, other_store: Store) -> None:
    job = await other_store.create(new(), actor="user:x")
    started = await other_store.append(job, starting(), actor="worker:w1")
    decision = Counted(canceling)

    after = await store.append(job.id, decision, actor="user:x", request_id="r1")

    assert decision.jobs == [started]
    assert (after.status, after.seq) == ("canceled", 3)
    assert await words_of(store, job) == ["queued", "started", "canceled"]


async def test_of_many_jobs_that_nobody_has_seen_each_is_decided_for_itself(store: Store, connection: Connection) -> None:
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
    assert [len(await store.history(job.id)) for job in jobs] == [2, 2, 1, 2]
    assert await what_is_broken(connection) == []


async def test_decisions_on_one_job_that_nobody_has_seen_are_made_one_after_the_other(store: Store, other_store: Store) -> None:
    job = await store.create(new(), actor="user:x")

    answers = await asyncio.gather(
        *(each.append(job.id, canceling, actor="user:x") for each in (store, other_store) for _ in range(10)),
        return_exceptions=True,
    )

    assert sorted(type(answer).__name__ for answer in answers) == ["Job", *["NotAllowed"] * 19]
    assert await words_of(store, job) == ["queued", "canceled"]


async def test_a_late_worker_is_told_what_has_happened_and_writes_nothing(store: Store, other_store: Store) -> None:
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


async def test_of_many_starts_of_one_attempt_in_two_processes_one_counts(store: Store, other_store: Store) -> None:
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
async def test_a_start_does_to_a_job_what_the_rules_say(
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
    [event] = await store.history(job.id, after=job.seq)
    assert (event.event, event.attempt, event.actor) == (expected, attempt, "worker:w2")


async def test_a_start_asks_for_the_type_and_for_pauses(store: Store, connection: Connection) -> None:
    job = await store.create(new(), actor="user:x")
    pause = "insert into pauses (type, until, reason, actor) values ('rooms', $1, 'test', 'user:x')"

    assert await store.start_attempt(job.id, 1, "messages", worker="w1") is None
    for until_then in (None, datetime.now(UTC) + timedelta(hours=1)):
        await connection.execute(pause, until_then)
        assert await store.start_attempt(job.id, 1, "rooms", worker="w1") is None
        await connection.execute("delete from pauses")

    assert await store.start_attempt(job.id, 1, "rooms", worker="w1") is not None
    assert await words_of(store, job) == ["queued", "started"]


async def test_of_many_starts_of_many_attempts_in_two_processes_one_counts_for_each(
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

    history = await store.history(job.id)
    assert [event.seq for event in history] == list(range(1, 43))
    assert sorted(event.event.result for event in history[2:] if hasattr(event.event, "result")) == list(range(40))


async def test_history_is_read_from_a_place_and_a_job_is_folded_up_to_one(store: Store) -> None:
    jobs = [await store.create(new(), actor="user:x")]
    for step in (starting(), reporting(1), reporting(2), completing(3)):
        jobs.append(await store.append(jobs[-1], step, actor="worker:w1"))
    job = jobs[-1]

    assert [await store.past(job.id, seq=seq) for seq in range(7)] == [None, *jobs, job]
    assert [await store.past(job.id, at=each.updated_at) for each in jobs] == jobs
    assert await store.past(job.id, at=job.created_at - timedelta(microseconds=1)) is None
    assert await store.past(BOB, seq=1) is None
    assert [event.seq for event in await store.history(job.id, after=2)] == [3, 4, 5]
    assert await store.history(job.id, after=5) == []
    assert await store.history(BOB) == []


# Races ----------------------------------------------------------------------------------------------------------------------------

HOT_JOBS = 24
WRITERS = 16
RACE_SECONDS = 4.0


class Writer:
    """Somebody who decides at random on jobs as it last saw them, which others have moved on since."""

    def __init__(self, name: str, store: Store, jobs: Sequence[Job], chance: random.Random) -> None:
        self._name = name
        self._store = store
        self._seen = {job.id: job for job in jobs}
        self._chance = chance
        self.decisions = 0
        self.accepted = 0

    async def write(self) -> None:
        job = self._chance.choice(list(self._seen.values()))
        actor, decide = self._choose(job)
        decision = Counted(decide)
        try:
            self._seen[job.id] = await self._store.append(job, decision, actor=actor)
            self.accepted += 1
        except NotAllowed as refused:
            self._seen[job.id] = refused.job
            if refused.job.status is Status.COMPLETED:
                # Nothing more can happen to it, so another one takes its place.
                del self._seen[job.id]
                fresh = await self._store.create(new(max_attempts=2), actor="system:race")
                self._seen[fresh.id] = fresh
        self.decisions += len(decision.jobs)

    def _choose(self, job: Job) -> tuple[str, Decision]:
        me, attempt = f"worker:{self._name}", job.attempt
        theirs = job.worker or self._name
        if job.status is Status.QUEUED:
            return me, starting(self._name, attempt)
        if job.status in (Status.FAILED, Status.CANCELED):
            return "user:x", retry
        by_its_worker: list[tuple[str, Decision]] = [
            (f"worker:{theirs}", reporting(self._chance.random(), theirs, attempt)),
            (f"worker:{theirs}", reporting(self._chance.random(), theirs, attempt)),
            (f"worker:{theirs}", completing(self._chance.random(), theirs, attempt)),
            (f"worker:{theirs}", failing(theirs, attempt)),
            (f"worker:{theirs}", lambda job: hand_back(job, attempt=attempt, worker=theirs)),
            ("system:rescue", lambda job: rescue(job, attempt=attempt, worker=theirs, error=ERROR, retry_in=RETRY_AT_ONCE)),
            ("user:admin", lambda job: force_fail(job, error=ERROR)),
            ("user:x", canceling),
        ]
        return self._chance.choice(by_its_worker)


async def test_racing_writers_never_make_view_and_log_differ(database_url: str, connection: Connection) -> None:
    chance = random.Random(20261123)
    snapshots = 0

    async with open_store(database_url) as one, open_store(database_url) as two:
        jobs = [await one.create(new(max_attempts=2), actor="system:race") for _ in range(HOT_JOBS)]
        writers = [Writer(f"w{n}", (one, two)[n % 2], jobs, random.Random(chance.random())) for n in range(WRITERS)]
        over = asyncio.Event()

        async def race(writer: Writer) -> None:
            while not over.is_set():
                await writer.write()

        racing = [asyncio.create_task(race(writer)) for writer in writers]
        began = asyncio.get_running_loop().time()
        while snapshots < 3 or asyncio.get_running_loop().time() < began + RACE_SECONDS:
            assert await what_is_broken(connection) == []
            snapshots += 1
        over.set()
        async with asyncio.timeout(20):
            await asyncio.gather(*racing)

    decisions, accepted = sum(writer.decisions for writer in writers), sum(writer.accepted for writer in writers)
    assert await what_is_broken(connection) == []
    assert (await counts(connection))[0] > accepted
    assert accepted > 100
    assert decisions > accepted + 20, "nobody raced"
    assert await deadlocks(connection) == 0


async def deadlocks(connection: Connection) -> int:
    """Of this database, once the last connection of the service has left its numbers behind."""

    async def alone() -> bool:
        service = "select count(*) from pg_stat_activity where datname = current_database() and application_name = 'rireki'"
        return not await connection.fetchval(service)

    await until(alone)
    return int(await connection.fetchval("select deadlocks from pg_stat_database where datname = current_database()"))


async def test_batches_that_lock_the_same_jobs_never_wait_for_each_other_in_a_ring(
    database_url: str, connection: Connection
) -> None:
    async with open_store(database_url) as one, open_store(database_url) as two:
        jobs = await asyncio.gather(*(one.create(new(), actor="system:race") for _ in range(60)))
        jobs = await asyncio.gather(*(one.append(job, starting(), actor="worker:w1") for job in jobs))

        for turn in range(8):
            mixed = [random.Random(seed).sample(jobs, len(jobs)) for seed in (turn, turn + 1000)]
            async with asyncio.timeout(20):
                await asyncio.gather(
                    *(
                        store.append(job, reporting(turn), actor="worker:w1")
                        for store, order in zip((one, two), mixed, strict=True)
                        for job in order
                    )
                )

    assert await connection.fetchval("select count(*) from job_events where type = 'progress'") == 8 * 2 * 60
    assert await deadlocks(connection) == 0
    assert await what_is_broken(connection) == []


async def test_batches_in_crossing_order_that_meet_a_held_job_do_not_end_in_a_ring(
    database_url: str, connection: Connection, locker: Connection
) -> None:
    async with open_store(database_url) as one, open_store(database_url) as two, asyncio.timeout(15):
        a, b, held = sorted([await one.create(new(), actor="user:x") for _ in range(3)], key=lambda job: job.id)
        async with locker.transaction():
            await locker.execute("select from jobs where id = $1 for update", held.id)
            batches = [
                asyncio.gather(*(store.append(job, canceling, actor="user:x") for job in order), return_exceptions=True)
                for store, order in ((one, (a, held, b)), (two, (b, held, a)))
            ]
            await until(lambda: waiting_for_locks(connection, 2))
        answers = [answer for batch in batches for answer in await batch]

    assert sorted(type(answer).__name__ for answer in answers) == ["Job"] * 3 + ["NotAllowed"] * 3
    assert await deadlocks(connection) == 0


async def test_starts_in_crossing_order_that_meet_a_held_job_do_not_end_in_a_ring(
    database_url: str, connection: Connection, locker: Connection
) -> None:
    async with open_store(database_url) as one, open_store(database_url) as two, asyncio.timeout(15):
        a, b, held = sorted([await one.create(new(), actor="user:x") for _ in range(3)], key=lambda job: job.id)
        async with locker.transaction():
            await locker.execute("select from jobs where id = $1 for update", held.id)
            answers = [
                store.start_attempt(job.id, 1, job.type, worker="w")
                for store, order in ((one, (a, held, b)), (two, (b, held, a)))
                for job in order
            ]
            await until(lambda: waiting_for_locks(connection, 2))
        started = [await answer for answer in answers]

    assert sorted(job.id for job in started if job is not None) == [a.id, b.id, held.id]
    assert await deadlocks(connection) == 0


HOLD_UNIQUE_KEY = """
insert into jobs (id, type, status, payload, attempt, max_attempts, seq, run_at, created_at, updated_at, unique_key)
values (gen_random_uuid(), 'rooms', 'queued', '{}', 1, 1, 1, now(), now(), now(), $1)
"""
HOLD_IDEMPOTENCY_KEY = f"""
insert into idempotency_keys (user_id, key, request_hash, job_id) values ('{ALICE}', $1, 'h', gen_random_uuid())
"""


@pytest.mark.parametrize(("hold", "refused"), [(HOLD_UNIQUE_KEY, "AlreadyActive"), (HOLD_IDEMPOTENCY_KEY, "KeyTaken")])
async def test_new_jobs_with_keys_in_crossing_order_that_meet_a_held_key_do_not_end_in_a_ring(
    database_url: str, connection: Connection, locker: Connection, hold: str, refused: str
) -> None:
    def with_key(key: str) -> NewJob:
        return new(unique_key=key) if hold is HOLD_UNIQUE_KEY else new(idempotency=Idempotency(key, "h"))

    answers = []
    async with open_store(database_url) as one, open_store(database_url) as two, asyncio.timeout(30):
        for turn in range(5):
            # In the middle of all keys, however they are put in order.
            keys = [f"{turn} {n}" for n in range(20)] + [f"held {turn}"] + [f"then {turn} {n}" for n in range(20)]
            await locker.execute("begin")
            await locker.execute(hold, f"held {turn}")
            batches = [
                asyncio.gather(*(store.create(with_key(key), actor="user:x") for key in order), return_exceptions=True)
                for store, order in ((one, keys), (two, keys[::-1]))
            ]
            await until(lambda: waiting_for_locks(connection, 2))
            await locker.execute("rollback")
            answers += [type(answer).__name__ for batch in batches for answer in await batch]

    assert {name: answers.count(name) for name in set(answers)} == {"Job": 5 * 41, refused: 5 * 41}
    assert await deadlocks(connection) == 0


# Idempotency keys -----------------------------------------------------------------------------------------------------------------


async def test_one_key_at_the_same_moment_from_many_tasks_is_one_job(
    store: Store, other_store: Store, connection: Connection
) -> None:
    keyed = new(idempotency=Idempotency("once", "hash"))

    answers = await asyncio.gather(
        *((store, other_store)[n % 2].create(keyed, actor="user:x") for n in range(20)), return_exceptions=True
    )

    [job] = [answer for answer in answers if isinstance(answer, Job)]
    others = [answer for answer in answers if isinstance(answer, KeyTaken)]
    assert [(other.job_id, other.request_hash) for other in others] == [(job.id, "hash")] * 19
    assert await counts(connection) == (1, 1, 1)
    assert await store.job_of_key(ALICE, "once") == (job.id, "hash")


async def test_a_key_that_comes_with_another_request_names_the_first(store: Store, connection: Connection) -> None:
    job = await store.create(new(idempotency=Idempotency("once", "hash")), actor="user:x")

    with pytest.raises(KeyTaken) as taken:
        await store.create(new("messages", idempotency=Idempotency("once", "another hash")), actor="user:x")

    assert (taken.value.job_id, taken.value.request_hash) == (job.id, "hash")
    assert await counts(connection) == (1, 1, 1)


async def test_a_key_outlives_the_job_it_made(store: Store) -> None:
    job = await store.create(new(idempotency=Idempotency("once", "hash")), actor="user:x")
    await store.append(job, canceling, actor="user:x")

    with pytest.raises(KeyTaken):
        await store.create(new(idempotency=Idempotency("once", "hash")), actor="user:x")


async def test_the_same_key_of_another_user_is_another_job(store: Store, connection: Connection) -> None:
    mine = await store.create(new(idempotency=Idempotency("once", "hash")), actor="user:a")

    async with asyncio.timeout(5):
        theirs = await store.create(new(user_id=BOB, idempotency=Idempotency("once", "hash")), actor="user:b")

    assert mine.id != theirs.id
    assert await counts(connection) == (2, 2, 2)
    assert await store.job_of_key(BOB, "once") == (theirs.id, "hash")


async def test_many_keys_at_once_in_two_processes_are_one_job_each(
    store: Store, other_store: Store, connection: Connection
) -> None:
    keys = [f"key {n}" for n in range(30)]
    asked = [(store, key) for key in keys] + [(other_store, key) for key in reversed(keys)]

    async with asyncio.timeout(20):
        answers = await asyncio.gather(
            *(each.create(new(idempotency=Idempotency(key, "h")), actor="user:x") for each, key in asked),
            return_exceptions=True,
        )

    assert sum(isinstance(answer, Job) for answer in answers) == 30
    assert sum(isinstance(answer, KeyTaken) for answer in answers) == 30
    assert await counts(connection) == (30, 30, 30)


async def test_many_jobs_are_queued_at_once_and_in_order(store: Store, connection: Connection) -> None:
    jobs = await store.create_many([new(type=f"number {n}") for n in range(1_200)], actor="user:x", request_id="r")

    assert [job.type for job in jobs] == [f"number {n}" for n in range(1_200)]
    assert {(await store.history(job.id))[0].actor for job in jobs[::100]} == {"user:x"}
    assert await connection.fetchval("select count(*) from job_events where request_id = 'r'") == 1_200
    assert await what_is_broken(connection) == []
    assert await store.create_many([], actor="user:x") == []


async def test_of_many_jobs_those_that_may_be_queued_are_and_the_first_that_may_not_is_told(
    store: Store, connection: Connection
) -> None:
    active = await store.create(new(unique_key="u"), actor="user:x")

    with pytest.raises(AlreadyActive) as refused:
        await store.create_many([new(), new(unique_key="u"), new()], actor="user:x")

    assert refused.value.job_id == active.id
    assert await connection.fetchval("select count(*) from jobs") == 3
    assert await what_is_broken(connection) == []


async def test_a_job_that_was_not_made_takes_no_key(store: Store) -> None:
    first = await store.create(new(unique_key="u"), actor="user:x")

    with pytest.raises(AlreadyActive) as active:
        await store.create(new(unique_key="u", idempotency=Idempotency("once", "hash")), actor="user:x")

    assert active.value.job_id == first.id
    assert await store.job_of_key(ALICE, "once") is None


async def test_a_key_is_looked_up_before_uniqueness(store: Store) -> None:
    first = await store.create(new(unique_key="u", idempotency=Idempotency("once", "hash")), actor="user:x")
    await store.append(first, canceling, actor="user:x")
    second = await store.create(new(unique_key="u"), actor="user:x")

    with pytest.raises(KeyTaken) as taken:
        await store.create(new(unique_key="u", idempotency=Idempotency("once", "hash")), actor="user:x")

    assert (taken.value.job_id, second.id != first.id) == (first.id, True)


async def test_a_key_is_given_to_a_job_that_is_there_already_once(store: Store) -> None:
    one = await store.create(new(), actor="user:x")
    two = await store.create(new(), actor="user:x")

    await store.bind_key(ALICE, Idempotency("once", "hash"), one.id)
    await store.bind_key(ALICE, Idempotency("once", "hash"), one.id)

    assert await store.job_of_key(ALICE, "once") == (one.id, "hash")
    for idempotency, job in ((Idempotency("once", "hash"), two), (Idempotency("once", "other"), one)):
        with pytest.raises(KeyTaken) as taken:
            await store.bind_key(ALICE, idempotency, job.id)
        assert (taken.value.job_id, taken.value.request_hash) == (one.id, "hash")


async def test_a_key_comes_to_a_job_with_its_retry_or_not_at_all(
    store: Store, other_store: Store, connection: Connection
) -> None:
    jobs = [await store.append(await store.create(new(), actor="user:x"), canceling, actor="user:x") for _ in range(20)]
    names = [(ALICE, Idempotency(f"key {n // 2}", f"hash {n}")) for n in range(20)]

    answers = await asyncio.gather(
        *((store, other_store)[n % 2].append(job, retry, actor="user:x", names=names[n]) for n, job in enumerate(jobs)),
        return_exceptions=True,
    )

    for n in range(0, 20, 2):
        [retried] = [answer for answer in answers[n : n + 2] if isinstance(answer, Job)]
        [taken] = [answer for answer in answers[n : n + 2] if isinstance(answer, KeyTaken)]
        assert taken.job_id == retried.id
        assert await store.job_of_key(ALICE, f"key {n // 2}") == (retried.id, taken.request_hash)
    assert await what_is_broken(connection) == []


# Unique keys ----------------------------------------------------------------------------------------------------------------------


async def test_of_many_unique_jobs_at_once_one_is_made_and_the_others_name_it(
    store: Store, other_store: Store, connection: Connection
) -> None:
    answers = await asyncio.gather(
        *((store, other_store)[n % 2].create(new(unique_key="rooms"), actor="user:x") for n in range(20)),
        return_exceptions=True,
    )

    [job] = [answer for answer in answers if isinstance(answer, Job)]
    assert [answer.job_id for answer in answers if isinstance(answer, AlreadyActive)] == [job.id] * 19
    assert await counts(connection) == (1, 1, 0)


async def test_unique_jobs_in_crossing_order_do_not_wait_for_each_other_in_a_ring(
    database_url: str, connection: Connection
) -> None:
    async with open_store(database_url) as one, open_store(database_url) as two:
        for turn in range(8):
            kinds = [f"{turn} {n}" for n in range(40)]
            asked = [(one, kind) for kind in kinds] + [(two, kind) for kind in reversed(kinds)]
            async with asyncio.timeout(20):
                await asyncio.gather(
                    *(each.create(new(unique_key=kind), actor="user:x") for each, kind in asked), return_exceptions=True
                )

    assert await counts(connection) == (320, 320, 0)
    assert await deadlocks(connection) == 0


@pytest.mark.parametrize("end", ["completed", "failed", "canceled"])
async def test_a_unique_job_that_has_ended_makes_room_for_another(store: Store, end: str) -> None:
    first = await store.create(new(unique_key="rooms"), actor="user:x")
    first = await store.append(first, starting(), actor="worker:w1")
    with pytest.raises(AlreadyActive):
        await store.create(new(unique_key="rooms"), actor="user:x")

    decide = {"completed": completing(), "failed": failing(retry_in=None), "canceled": canceling}[end]
    await store.append(first, decide, actor="worker:w1")
    second = await store.create(new(unique_key="rooms"), actor="user:x")

    assert second.id != first.id


async def test_a_unique_job_stays_the_only_one_while_it_is_retried(store: Store) -> None:
    first = await store.create(new(unique_key="rooms"), actor="user:x")
    first = await store.append(first, starting(), actor="worker:w1")
    await store.append(first, failing(), actor="worker:w1")

    with pytest.raises(AlreadyActive) as active:
        await store.create(new(unique_key="rooms"), actor="user:x")

    assert active.value.job_id == first.id


async def test_a_retry_of_an_old_job_while_a_new_one_is_active_names_the_new_one(store: Store, connection: Connection) -> None:
    old = await store.create(new(unique_key="rooms"), actor="user:x")
    old = await store.append(old, canceling, actor="user:x")
    fresh = await store.create(new(unique_key="rooms"), actor="user:x")

    with pytest.raises(AlreadyActive) as active:
        await store.append(old, retry, actor="user:x")

    assert active.value.job_id == fresh.id
    assert await words_of(store, old) == ["queued", "canceled"]
    await store.append(fresh, canceling, actor="user:x")
    assert (await store.append(old, retry, actor="user:x")).status is Status.QUEUED
    assert await what_is_broken(connection) == []


async def test_retries_and_new_jobs_of_one_kind_at_once_make_one_active_job(
    store: Store, other_store: Store, connection: Connection
) -> None:
    old = []
    for _ in range(5):
        job = await store.create(new(unique_key="rooms"), actor="user:x")
        old.append(await store.append(job, canceling, actor="user:x"))

    answers = await asyncio.gather(
        *((store, other_store)[n % 2].append(job, retry, actor="user:x") for n, job in enumerate(old)),
        *((store, other_store)[n % 2].create(new(unique_key="rooms"), actor="user:x") for n in range(5)),
        return_exceptions=True,
    )

    [active] = [answer for answer in answers if isinstance(answer, Job)]
    assert [answer.job_id for answer in answers if isinstance(answer, AlreadyActive)] == [active.id] * 9
    assert await what_is_broken(connection) == []


async def test_jobs_without_a_unique_key_are_never_in_each_others_way(store: Store, connection: Connection) -> None:
    await asyncio.gather(*(store.create(new(), actor="user:x") for _ in range(20)))

    assert await counts(connection) == (20, 20, 0)


# Group commit ---------------------------------------------------------------------------------------------------------------------


async def transactions(connection: Connection) -> int:
    """How many transactions the events were written in."""
    return int(await connection.fetchval("select count(distinct xid) from job_events"))


async def test_many_writes_are_few_transactions(store: Store, connection: Connection) -> None:
    jobs = await asyncio.gather(*(store.create(new(), actor="user:x") for _ in range(300)))
    created_in = await transactions(connection)

    await asyncio.gather(*(store.append(job, starting(), actor="worker:w1") for job in jobs))

    assert created_in <= 10
    assert await transactions(connection) - created_in <= 10


async def test_new_jobs_and_moves_at_the_same_moment_are_each_decided_and_sent_once(
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
    "with what is not JSON": ("worker:w1", lambda job: [Started("w1"), Completed({1, 2})]),
}


@pytest.mark.parametrize("what", BAD_WRITES)
async def test_one_bad_write_among_many_hurts_only_itself(store: Store, connection: Connection, what: str) -> None:
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
async def test_one_bad_new_job_among_many_hurts_only_itself(store: Store, connection: Connection, user_id: str) -> None:
    async with asyncio.timeout(5):
        answers = await asyncio.gather(
            *(store.create(new(user_id=user_id if n == 25 else ALICE), actor="user:x") for n in range(50)),
            return_exceptions=True,
        )

    assert [n for n, answer in enumerate(answers) if not isinstance(answer, Job)] == [25]
    assert await counts(connection) == (49, 49, 0)


async def test_a_caller_who_goes_away_while_waiting_hurts_nobody_and_writes_nothing(
    store: Store, connection: Connection, locker: Connection
) -> None:
    job, other = [await store.create(new(), actor="user:x") for _ in range(2)]
    job = await store.append(job, starting(), actor="worker:w1")
    async with locker.transaction():
        await locker.execute("select from jobs where id = $1 for update", job.id)
        first = asyncio.create_task(store.append(job, reporting(1), actor="worker:w1"))
        await until(lambda: waiting_for_locks(connection, 1))
        # The job is in flight, so this one waits its turn inside the process.
        second = asyncio.create_task(store.append(job, reporting(2), actor="worker:w1"))
        await store.append(other, starting(), actor="worker:w1")

        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second

    assert (await first).seq == 3
    assert await words_of(store, job) == ["queued", "started", "progress"]
    assert await what_is_broken(connection) == []


async def test_a_caller_who_goes_away_in_flight_hurts_nobody(store: Store, connection: Connection, locker: Connection) -> None:
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


async def is_true(connection: Connection, query: str) -> bool:
    answer: bool = await connection.fetchval(query)
    return answer


async def waiting_for_locks(connection: Connection, backends: int) -> bool:
    """Whether that many of the service's backends wait for somebody's lock."""
    query = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
    return int(await connection.fetchval(query)) >= backends


async def test_a_job_that_somebody_holds_does_not_hold_up_the_others(
    store: Store, connection: Connection, locker: Connection
) -> None:
    jobs = [await store.create(new(), actor="user:x") for _ in range(20)]
    async with locker.transaction():
        await locker.execute("select from jobs where id = $1 for update", jobs[0].id)
        held = asyncio.create_task(store.append(jobs[0], starting(), actor="worker:w1"))
        await until(lambda: waiting_for_locks(connection, 1))

        async with asyncio.timeout(3):
            await asyncio.gather(*(store.append(job, starting(), actor="worker:w1") for job in jobs[1:]))

        assert not held.done()
    assert (await held).status is Status.PROCESSING


async def test_listeners_are_told_of_what_was_written_and_of_nothing_else(database: Database, connection: Connection) -> None:
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


async def test_a_store_that_is_stopped_first_writes_what_was_given_to_it(database: Database, connection: Connection) -> None:
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


async def test_a_write_to_a_store_that_was_stopped_is_refused_and_does_not_wait_for_ever(database: Database) -> None:
    store = Store(database, Bus())
    await store.start()
    await store.create(new(), actor="user:x")
    await store.stop()

    writing = asyncio.create_task(store.create(new(), actor="user:x"))
    await asyncio.wait([writing], timeout=1)

    assert writing.done(), "it waits for ever"
    # A cancellation that nobody asked for would be taken for one that somebody did.
    assert not writing.cancelled()
    assert writing.exception() is not None


# Time -----------------------------------------------------------------------------------------------------------------------------


class WrongClock(datetime):
    """This machine's clock, set wrongly."""

    error = timedelta(0)

    @classmethod
    def now(cls, tz: Any = None) -> Self:
        return super().now(tz) + cls.error


@pytest.fixture
def wrong_clock(monkeypatch: pytest.MonkeyPatch) -> type[WrongClock]:
    class Clock(WrongClock):
        pass

    monkeypatch.setattr(store_module, "datetime", Clock)
    return Clock


A_LITTLE = timedelta(seconds=0.5)


async def database_time(connection: Connection) -> datetime:
    time: datetime = await connection.fetchval("select clock_timestamp()")
    return time


@pytest.mark.parametrize("error", [timedelta(hours=-3), timedelta(hours=3)])
async def test_events_bear_the_time_of_the_database_although_the_local_clock_is_wrong(
    database: Database, connection: Connection, wrong_clock: type[WrongClock], error: timedelta
) -> None:
    wrong_clock.error = error
    store = Store(database, Bus())
    await store.start()

    before = await database_time(connection)
    job = await store.create(new(), actor="user:x")
    after = await database_time(connection)
    await store.stop()

    assert before - A_LITTLE <= job.created_at <= after + A_LITTLE
    assert job.created_at.tzinfo is not None


@pytest.mark.parametrize("step", [timedelta(hours=-1), timedelta(hours=1)])
async def test_events_bear_the_time_of_the_database_although_the_local_clock_is_set_anew(
    store: Store, connection: Connection, wrong_clock: type[WrongClock], step: timedelta
) -> None:
    await store.create(new(), actor="user:x")

    wrong_clock.error = step
    before = await database_time(connection)
    job = await store.create(new(), actor="user:x")
    after = await database_time(connection)

    assert before - A_LITTLE <= job.created_at <= after + A_LITTLE


async def test_events_bear_the_time_of_the_database_although_the_machine_has_slept(
    store: Store, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.create(new(), actor="user:x")
    awake, slept = time.clock_gettime, timedelta(hours=1)

    # As Linux does it: the clock that counts the sleep has gone on, and `time.monotonic` has not.
    monkeypatch.setattr(time, "clock_gettime", lambda clock: awake(clock) + slept.total_seconds() * (clock == CLOCK))
    before = await database_time(connection) + slept
    job = await store.create(new(), actor="user:x")
    after = await database_time(connection) + slept

    assert before - A_LITTLE <= job.created_at <= after + A_LITTLE


async def test_times_never_run_backwards_within_a_job_although_the_local_clock_does(
    store: Store, connection: Connection, wrong_clock: type[WrongClock]
) -> None:
    job = await store.create(new(), actor="user:x")

    for hours in (-1, 2, -5, 0):
        wrong_clock.error = timedelta(hours=hours)
        job = await store.append(job, starting(attempt=job.attempt), actor="worker:w1")
        job = await store.append(job, failing(attempt=job.attempt, retry_in=timedelta(0)), actor="worker:w1")
        if job.status is not Status.QUEUED:
            job = await store.append(job, retry, actor="user:x")

    times = [event.at for event in await store.history(job.id)]
    assert times == sorted(times)
    assert await what_is_broken(connection) == []


async def test_an_event_is_never_earlier_than_the_one_before_although_the_clock_of_the_database_was_set_back(
    store: Store, database: Database, connection: Connection
) -> None:
    job = await store.create(new(), actor="user:x")
    # As after a move to another server whose clock is behind: what was written bears times to come.
    await connection.execute("alter table job_events disable trigger all")
    await connection.execute("update job_events set at = at + interval '1 hour'")
    later = "created_at = created_at + interval '1 hour', updated_at = updated_at + interval '1 hour'"
    await connection.execute(f"update jobs set {later}")
    shown = await JobsView(database).get(job.id)
    assert shown is not None

    started = await store.append(shown, starting(), actor="worker:w1")
    again = await store.append(started, failing(), actor="worker:w1")

    assert started.updated_at == again.updated_at == shown.updated_at
    assert "times run backwards" not in str(await what_is_broken(connection))


async def test_times_never_run_backwards_between_processes_whose_clocks_differ(
    database_url: str, connection: Connection, wrong_clock: type[WrongClock]
) -> None:
    async with open_store(database_url) as one, open_store(database_url) as two:
        job = await one.create(new(), actor="user:x")
        wrong_clock.error = timedelta(seconds=90)
        job = await two.append(job, starting(), actor="worker:w1")
        for n in range(6):
            wrong_clock.error = timedelta(seconds=90 if n % 2 else -90)
            job = await (one, two)[n % 2].append(job, reporting(n), actor="worker:w1")

    assert await what_is_broken(connection) == []
    assert await connection.fetchval("select count(*) from job_events") == 8


async def test_the_clock_of_the_database_is_measured_to_a_fraction_of_a_second(connection: Connection) -> None:
    clock = DatabaseClock()

    await clock.measure(connection)

    assert abs(clock.now() - await database_time(connection)) < A_LITTLE
    assert clock.now().utcoffset() == timedelta(0)
    assert abs(clock.now() - datetime.now(UTC)) < timedelta(days=1)


# Broken connections ---------------------------------------------------------------------------------------------------------------


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
            lane = await store._connect()
            assert await lane.fetchval("show plan_cache_mode") == mode
            assert await lane.fetchval("show enable_hashjoin") == hash_joins
            await lane.close()

        lane = await store._connect()
        await lane.execute(f"prepare moving as {store_module.MOVE_JOBS}")
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
        modes = [await lane.fetchval("show plan_cache_mode") for lane in store._tunings]
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
    lane = await store._connect()
    await lane.execute(f"prepare starting as {store_module.START_JOBS}")

    plan = [row[0] for row in await lane.fetch(f"explain (costs off) execute starting({', '.join(['null'] * 8)})")]
    await lane.close()

    # The index of what is queued may hold a backlog of millions by now.
    assert set(re.findall(r"(\w+) on jobs j", "\n".join(plan))) == {"Update", "jobs_pkey"}


@pytest.mark.parametrize("statement", [store_module.MOVE_JOBS, store_module.CREATE_JOBS])
async def test_a_jobs_events_get_their_ids_in_order_of_seq_whatever_joins_are_chosen(
    connection: Connection, statement: str
) -> None:
    plan = [row[0].strip() for row in await connection.fetch(f"explain (costs off) {statement}", [], [])]

    # The order is that in which rows reach the insert: a hash join may turn it round.
    inserted = plan[plan.index("->  Insert on job_events") + 1 :]
    assert inserted[0].startswith("->  Subquery Scan")
    assert inserted[1:3] == ["->  Sort", "Sort Key: e.job_id, e.seq"]
