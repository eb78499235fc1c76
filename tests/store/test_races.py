"""Concurrent writers keep log and view equal, and never deadlock."""

import asyncio
import random
from collections.abc import Sequence

import pytest

from events.database import Connection
from events.job import (
    Job,
    NotAllowed,
    Status,
    force_fail,
    hand_back,
    rescue,
    retry,
)
from events.store import Store
from events.writes import Decision, Idempotency, NewJob
from tests.histories import (
    ALICE,
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
from tests.store.stores import Counted, counts, deadlocks, waiting_for_locks

HOT_JOBS = 24
WRITERS = 16
RACE_SECONDS = 4.0


class Writer:
    """A writer that makes random decisions on jobs that may have changed since it saw them."""

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
                # A completed job allows no decision, so the writer makes another job to take its
                # place.
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


async def test_view_and_log_never_differ_while_writers_change_the_same_jobs(database_url: str, connection: Connection) -> None:
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


async def test_batches_that_lock_the_same_jobs_never_deadlock(database_url: str, connection: Connection) -> None:
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


async def test_batches_with_jobs_in_opposite_orders_that_meet_a_locked_job_do_not_deadlock(
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


async def test_starts_in_opposite_orders_that_meet_a_locked_job_do_not_deadlock(
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
async def test_new_jobs_with_keys_in_opposite_orders_that_meet_a_locked_key_do_not_deadlock(
    database_url: str, connection: Connection, locker: Connection, hold: str, refused: str
) -> None:
    def with_key(key: str) -> NewJob:
        return new(unique_key=key) if hold is HOLD_UNIQUE_KEY else new(idempotency=Idempotency(key, "h"))

    answers = []
    async with open_store(database_url) as one, open_store(database_url) as two, asyncio.timeout(30):
        for turn in range(5):
            # The locked key is in the middle of all keys, in the order of this list and in
            # alphabetical order.
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
