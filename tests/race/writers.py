"""The writers of the race, which make random decisions on jobs that may have changed.

Each process has several stores, each store has several writers, and each writer makes several
decisions at the same time. So writes compete within a batch, between the connections of a store,
between stores and between processes.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, MutableMapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import structlog
import uvloop

from events.bus import Bus
from events.database import AWAY, Database
from events.history import job_from
from events.job import (
    Event,
    Job,
    JobError,
    NotAllowed,
    Status,
    cancel,
    complete,
    fail,
    force_fail,
    hand_back,
    progress,
    rescue,
    retry,
    start,
)
from events.statements import JOB_COLUMNS
from events.store import Store
from events.writes import Decision, NewJob
from tests.histories import RETRY_AT_ONCE
from tests.proxy import Fault, proxy_before

TYPE = "race"
HOT = f"select {JOB_COLUMNS} from jobs where type = $1 and status in ('queued', 'processing', 'failed', 'canceled')"
MOST_AT_ONCE = 12  # how many decisions a writer makes at the same time
MOST_UNEXPECTED = 20  # unexpected errors after which the race ends
CONNECTIONS = 3  # connections in the pool of a store; the group commit of the store opens further connections

SENT_AGAIN = "group commit: no answer from PostgreSQL; sending the writes again"


@dataclass
class Told:
    """The replies that the writers of one process got."""

    accepted: dict[str, tuple[str, int, int]] = field(default_factory=dict)
    """By request id: the job, its `seq` after the decision, and the number of decided events."""
    started: dict[tuple[str, int], str] = field(default_factory=dict)
    """By job and attempt: the worker whose start of this attempt was accepted."""
    refused: int = 0
    decided_again: int = 0
    cut: int = 0
    """Connections that were cut during a write, before PostgreSQL got or answered the write."""
    sent_again: int = 0
    """Statements that were sent again, because they could not be sent or had no answer."""
    unexpected: list[str] = field(default_factory=list)


def new_job() -> NewJob:
    return NewJob(TYPE, {"n": 1}, None, max_attempts=20)


def race_in_a_process(url: str, names: Sequence[Sequence[str]], decisions: int, cut_every: int, seed: int) -> Told:
    """Runs the writers of one process, until each has made its number of accepted decisions.

    `names` has the names of the writers of each store. On average, the connection is cut in one of `cut_every` decisions; 0
    means never.
    """
    told = Told()

    def count(logger: Any, method: str, event: MutableMapping[str, Any]) -> Any:
        told.sent_again += event["event"] == SENT_AGAIN
        raise structlog.DropEvent

    structlog.configure(processors=[count])
    uvloop.run(_race(url, names, decisions, cut_every, random.Random(seed), told))
    return told


async def _race(
    url: str, names: Sequence[Sequence[str]], decisions: int, cut_every: int, chance: random.Random, told: Told
) -> None:
    def ask(request_id: str) -> None:
        if cut_every and chance.random() * cut_every < 1:
            proxy.once(request_id, chance.choice([Fault.CUT_AFTER, Fault.CUT_AFTER, Fault.CUT_BEFORE]))

    async with proxy_before(url) as proxy, AsyncExitStack() as stack:
        writers = []
        for of_one_store in names:
            database, store = await stack.enter_async_context(_open(proxy.url if cut_every else url))
            writers += [Writer(name, database, store, random.Random(chance.random()), ask, told) for name in of_one_store]
        await asyncio.gather(*(writer.write(decisions) for writer in writers))
        told.cut = len(proxy.faults_met)


@asynccontextmanager
async def _open(url: str) -> AsyncIterator[tuple[Database, Store]]:
    database = Database(url, pool_size=CONNECTIONS)
    await _connect(database)
    store = Store(database, Bus())
    await store.start()
    try:
        yield database, store
    finally:
        await store.stop()
        await database.disconnect()


async def _connect(database: Database) -> None:
    """Opens the database. Tries again if its first connection is terminated."""
    while True:
        with suppress(*AWAY):
            await database.connect()
            return


class Writer:
    def __init__(
        self, name: str, database: Database, store: Store, chance: random.Random, ask: Callable[[str], None], told: Told
    ) -> None:
        self._name = name
        self._database = database
        self._store = store
        self._chance = chance
        self._ask = ask
        self._told = told
        self._seen: dict[str, Job] = {}
        self._asked = 0
        self._accepted = 0

    async def write(self, decisions: int) -> None:
        while self._accepted < decisions and len(self._told.unexpected) < MOST_UNEXPECTED:
            if not self._seen or self._chance.random() < 0.1:
                await self._look()
            jobs = self._chance.sample(list(self._seen.values()), min(len(self._seen), self._chance.randint(1, MOST_AT_ONCE)))
            await asyncio.gather(*(self._start(job) if self._is_to_start(job) else self._decide_on(job) for job in jobs))

    async def _look(self) -> None:
        """Reads the job for the next decision, in the way that a worker or the API does."""
        try:
            async with self._database.raw() as connection:
                self._seen = {row["id"]: job_from(row) for row in await connection.fetch(HOT, TYPE)}
        except AWAY:
            await asyncio.sleep(0)

    def _is_to_start(self, job: Job) -> bool:
        """Decides at random whether to start the job by the workers' statement (START_JOBS).

        True for half of the queued jobs; the other half is started by a decision, which the store
        makes again if the job has changed. True for 2 % of the jobs in other states.
        """
        return self._chance.random() < (0.5 if job.status is Status.QUEUED else 0.02)

    async def _start(self, job: Job) -> None:
        self._ask(f"worker:{self._name}")
        attempt = job.attempt + (self._chance.random() < 0.02)
        try:
            started = await self._store.start_attempt(job.id, attempt, TYPE, worker=self._name)
        except Exception as error:
            self._told.unexpected.append(f"{self._name} starts attempt {attempt} of {job.id}: {error!r}")
            return
        if started is None:
            self._told.refused += 1
            return
        if (started.status, started.attempt, started.worker) != (Status.PROCESSING, attempt, self._name):
            self._told.unexpected.append(f"{self._name} got this reply to the start of attempt {attempt}: {started}")
        self._told.started[started.id, attempt] = self._name
        self._accepted += 1
        self._seen[job.id] = started

    async def _decide_on(self, job: Job) -> None:
        self._asked += 1
        asked = f"{self._name}:{self._asked}"
        self._ask(asked)
        actor, decide = self._choose(job, asked)
        decided: list[list[Event]] = []

        def decide_and_note(job: Job) -> list[Event]:
            decided.append([])
            decided[-1] = decide(job)
            return decided[-1]

        try:
            seen = job.id if self._chance.random() < 0.3 else job
            after = await self._store.append(seen, decide_and_note, actor=actor, request_id=asked)
        except NotAllowed as refused:
            self._told.refused += 1
            after = refused.job
        except Exception as error:
            self._told.unexpected.append(f"{asked} on {job.id}: {error!r}")
            return
        else:
            self._told.accepted[asked] = (job.id, after.seq, len(decided[-1]))
            self._accepted += 1
            if after.status is Status.COMPLETED:
                # A completed job allows no decision, so the writer makes another job to take its
                # place.
                fresh = await self._store.create(new_job(), actor="system:race")
                self._seen[fresh.id] = fresh
        self._told.decided_again += len(decided) - 1
        self._seen[job.id] = after
        if after.status is Status.COMPLETED:
            del self._seen[job.id]

    def _choose(self, job: Job, asked: str) -> tuple[str, Decision]:
        """Chooses a decision, usually one that is allowed in the last known state of the job."""
        status = self._chance.choice(list(Status)) if self._chance.random() < 0.05 else job.status
        attempt = job.attempt + (self._chance.random() < 0.02)
        match status:
            case Status.QUEUED:
                starting = f"worker:{self._name}", lambda job: start(job, attempt=attempt, worker=self._name)
                return self._chance.choices([starting, _by_a_person(asked)], [12, 1])[0]
            case Status.FAILED | Status.CANCELED:
                return "user:x", retry
            case _:
                # Usually the writer acts as the worker of the attempt. Then several writers act as
                # one worker, as after a double delivery. Otherwise it acts as a late worker with an
                # old attempt.
                worker = job.worker if job.worker is not None and self._chance.random() < 0.9 else self._name
                return self._chance.choices(*_while_processing(worker, attempt, asked, self._chance.random()))[0]


def _by_a_person(asked: str) -> tuple[str, Decision]:
    return "user:x", lambda job: cancel(job, reason=asked)


def _while_processing(worker: str, attempt: int, asked: str, number: float) -> tuple[list[tuple[str, Decision]], list[int]]:
    """Returns the possible decisions on a processing job, and how often to choose each."""
    me, error = f"worker:{worker}", JobError("Race", asked)
    result = {"asked": asked, "number": number}
    often: list[tuple[int, str, Decision]] = [
        (40, me, lambda job: progress(job, attempt=attempt, worker=worker, result=result)),
        (2, me, lambda job: complete(job, attempt=attempt, worker=worker, result=result)),
        (16, me, lambda job: fail(job, attempt=attempt, worker=worker, error=error, retry_in=RETRY_AT_ONCE)),
        (8, me, lambda job: hand_back(job, attempt=attempt, worker=worker)),
        (8, "system:rescue", lambda job: rescue(job, attempt=attempt, worker=worker, error=error, retry_in=RETRY_AT_ONCE)),
        (4, "user:admin", lambda job: force_fail(job, error=error)),
        (8, *_by_a_person(asked)),
    ]
    return [(actor, decide) for _, actor, decide in often], [weight for weight, _, _ in often]
