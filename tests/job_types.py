"""Job types for tests, a real worker that runs them, and waits for conditions.

```python
async with working(database, store, bus, wire, job_types) as worker:
    job = await queue(store, wire, QUICK)
    assert (await ended(database, job)).status is Status.COMPLETED
```
"""

import asyncio
import inspect
import os
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import Any, TypeVar, cast, overload

import asyncpg
from pydantic import ConfigDict
from pydantic.alias_generators import to_camel

from events import job as rules
from events.bus import Bus
from events.database import Database
from events.job import ENDED, JSON, NO_DELAY, Failed, Job, Queued, Recorded, Started, Status, word
from events.store import Store
from projections.jobs import JobsView
from workers.delivery.enqueue import enqueue
from workers.delivery.wire import AttemptId, Capacity, Claim, Wire
from workers.job_type import Backoff, Context, JobType, Payload
from workers.outcomes import Final, GiveUp
from workers.resources import Resources
from workers.worker import Worker

T = TypeVar("T")

AT_ONCE = Backoff(first=0.0, ceiling=0.0, jitter=0.0)
LONG = 20.0  # seconds after which a test that waits for a condition fails


class Anything(Payload):
    """A payload with any fields, by which a test controls its handler."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="allow", frozen=True)


class Numbered(Payload):
    n: int = 0


def job_type(name: str, run: Callable[[Context, Any], Awaitable[JSON]], **policy: Any) -> JobType[Any]:
    """Returns a job type with this handler. Without a `backoff`, retries come at once."""
    rest: dict[str, Any] = {"payload": Anything, "run": run, "deadline": 30.0, "backoff": AT_ONCE} | policy
    return JobType(name, **rest)


def capacity_for(slots: int, *types: str) -> Capacity:
    """Returns the capacity of a worker with `slots` free slots for jobs of these types."""
    return Capacity(slots, 0, types, [])


async def quick(context: Context, payload: Payload) -> JSON:
    return payload.to_json()


async def slow(context: Context, payload: Any) -> JSON:
    """Works until it is stopped, and reports its progress ten times a second."""
    steps = 0
    while True:
        await context.progress({"steps": steps})
        await asyncio.sleep(0.1)
        steps += 1


async def hold(context: Context, payload: Any) -> JSON:
    """Stays for ever inside the transaction that stores its effects."""
    async with context.store():
        await context.database.execute("insert into effects values ('one', :attempt)", {"attempt": context.attempt})
        await asyncio.Event().wait()
    return None


async def hang(context: Context, payload: Any) -> JSON:
    await asyncio.Event().wait()
    return None


async def fail_in_first_attempt(context: Context, payload: Any) -> JSON:
    if context.attempt == 1:
        raise RuntimeError("the first attempt always fails")
    return {"attempt": context.attempt}


async def fail(context: Context, payload: Any) -> JSON:
    raise ValueError(f"attempt {context.attempt} fails")


async def fail_for_good(context: Context, payload: Any) -> JSON:
    raise NotWorthAnotherTry("this error forbids a retry")


async def give_up(context: Context, payload: Any) -> JSON:
    raise GiveUp("the handler gives up")


async def swallow_cancellation(context: Context, payload: Any) -> JSON:
    """Ignores every cancellation for half a second, then returns."""
    await wait_deaf_to_cancellation(asyncio.Event(), at_most=0.5)
    return {"heard": False}


async def wait_deaf_to_cancellation(event: asyncio.Event, *, at_most: float = 10.0) -> None:
    """Waits for `event` and ignores cancellation, for at most `at_most` seconds."""
    give_up_at = time.monotonic() + at_most
    while not event.is_set() and time.monotonic() < give_up_at:
        with suppress(asyncio.CancelledError, TimeoutError):
            await asyncio.wait_for(event.wait(), 0.1)


async def block_the_loop(context: Context, payload: Any) -> JSON:
    """Blocks the event loop, as a long computation does that should run in a thread."""
    time.sleep(payload.seconds)  # noqa: ASYNC251
    return {"blocked": payload.seconds}


async def crash_the_process(context: Context, payload: Any) -> JSON:
    """Ends the process at once in the first attempt, as a segmentation fault would."""
    if context.attempt == 1:
        os._exit(9)
    return {"attempt": context.attempt}


class NotWorthAnotherTry(Final):
    pass


QUICK: JobType[Any] = job_type("quick", quick, payload=Numbered)
SLOW = job_type("slow", slow)
HANG = job_type("hang", hang)
COSTLY = job_type("costly", hang, retry_when_worker_lost=False)
ONCE = job_type("once", hang, max_attempts=1)
FAIL_ONCE = job_type("fail_once", fail_in_first_attempt)
FAIL = job_type("fail", fail, max_attempts=3)
BLOCK = job_type("block", block_the_loop)
CRASH = job_type("crash", crash_the_process)

MEETINGS: dict[str, asyncio.Barrier] = {}


async def meet(context: Context, payload: Any) -> JSON:
    """Ends when as many handlers run at the same time as the meeting expects."""
    await asyncio.wait_for(MEETINGS[payload.meeting].wait(), LONG)
    return "met"


MEET = job_type("meet", meet)

HOLDS = job_type("holds", hold)
JOB_TYPES: tuple[JobType[Any], ...] = (QUICK, SLOW, HANG, HOLDS, COSTLY, ONCE, FAIL_ONCE, FAIL, BLOCK, CRASH)
"""The job types that a worker in a separate process knows (`worker_process.py`)."""


def new_worker(
    database: Database, store: Store, bus: Bus, wire: Wire, job_types: Iterable[JobType[Any]], *, slots: int = 10
) -> Worker:
    return Worker(
        database=database,
        store=store,
        bus=bus,
        wire=wire,
        resources=Resources(database=database, chatwork=None, summariser=cast(Any, None)),
        job_types={job_type.name: job_type for job_type in (*job_types, MEET)},
        slots=slots,
    )


@asynccontextmanager
async def working(
    database: Database, store: Store, bus: Bus, wire: Wire, job_types: Iterable[JobType[Any]], *, slots: int = 10
) -> AsyncIterator[Worker]:
    """Runs a worker that knows these job types, and yields it.

    At the end of the block, checks that its background tasks still run. Then stops it, so that it
    hands back its running jobs.
    """
    worker = new_worker(database, store, bus, wire, job_types, slots=slots)
    await worker.start()
    try:
        yield worker
        must_be_whole(worker)
    finally:
        await worker.stop(grace=0)


def must_be_whole(worker: Worker) -> None:
    assert [part for part in worker.parts if part.done()] == []


def claim_of(job: Job) -> Claim:
    """Returns the claim with which the wire gives the job to a worker."""
    return Claim(AttemptId(job.id, job.attempt), job.type)


async def lives_on(worker: Worker, store: Store, database: Database) -> None:
    """Waits until every slot is free, then checks that the worker can fill all of them again."""
    runner = worker.runner
    await until(lambda: runner.free == runner.slots.size and not runner.in_hand)
    must_be_whole(worker)
    meeting = secrets.token_hex(4)
    MEETINGS[meeting] = asyncio.Barrier(runner.slots.size)
    jobs = [await queue(store, None, MEET, {"meeting": meeting}) for _ in range(runner.slots.size)]

    for job in jobs:
        runner.run(claim_of(job), started=lambda: None)

    for job in jobs:
        assert (await ended(database, job)).result == "met"
    await until(lambda: runner.free == runner.slots.size)


async def queue(
    store: Store, wire: Wire | None, job_type: JobType[Any], payload: JSON = None, *, delay: timedelta = NO_DELAY
) -> Job:
    """Queues a job. Without a wire, no hint is sent, so only the tick finds the job."""
    target = wire if wire is not None else cast(Wire, Nobody())
    return await enqueue(store, target, job_type, payload or {}, user_id=None, actor="system:test", delay=delay)


class Nobody:
    """A wire that drops every hint."""

    def push(self, hints: Any, *, even_if_full: bool = False) -> None:
        return


async def cancel(store: Store, job: Job) -> Job:
    """Cancels the job in the log, as a user does through the API."""
    return await store.append(job, lambda job: rules.cancel(job, reason="test"), actor="user:test")


@overload
async def until(condition: Callable[[], Awaitable[T]], *, within: float = ..., what: str = ...) -> T: ...


@overload
async def until(condition: Callable[[], T], *, within: float = ..., what: str = ...) -> T: ...


async def until(condition: Callable[[], Any], *, within: float = LONG, what: str = "") -> Any:
    """Returns the result of `condition` once it is true. Fails after `within` seconds."""
    give_up_at = time.monotonic() + within
    while True:
        value = condition()
        if inspect.isawaitable(value):
            value = await value
        if value:
            return value
        if time.monotonic() > give_up_at:
            raise AssertionError(
                f"this did not become true within {within} seconds: {what or inspect.getsource(condition).strip()}"
            )
        await asyncio.sleep(0.005)


async def ended(database: Database, job: Job, *, within: float = LONG) -> Job:
    """Waits until the job has ended for good, and returns it."""
    return await until_job(database, job, lambda now: now.status in ENDED and now.finished_at is not None, within=within)


async def running(database: Database, job: Job, *, attempt: int = 1, within: float = LONG) -> Job:
    return await until_job(database, job, lambda now: (now.status, now.attempt) == (Status.PROCESSING, attempt), within=within)


async def until_job(database: Database, job: Job, condition: Callable[[Job], bool], *, within: float = LONG) -> Job:
    view = JobsView(database)
    give_up_at = time.monotonic() + within
    while True:
        now = await view.get(job.id)
        assert now is not None
        if condition(now):
            return now
        if time.monotonic() > give_up_at:
            raise AssertionError(f"the job had not ended after {within} seconds: {now}")
        await asyncio.sleep(0.005)


async def words(store: Store, job: Job) -> list[str]:
    """Returns the job's history in words: "queued", "started", "failed, retried", …"""
    return [_word(recorded) for recorded in await store.history.events(job.id)]


async def events_of(store: Store, job: Job, type: type[T]) -> list[T]:
    return [recorded.event for recorded in await store.history.events(job.id) if isinstance(recorded.event, type)]


async def starts(store: Store, job: Job) -> list[tuple[int, str]]:
    """Returns each started attempt of the job with the id of the worker that started it."""
    history = await store.history.events(job.id)
    return [(recorded.attempt, recorded.event.worker) for recorded in history if isinstance(recorded.event, Started)]


async def must_fold(database: Database, store: Store, job: Job) -> None:
    """Checks that the job's history is legal, and folds to the job in the table `jobs`."""
    assert rules.fold(await store.history.events(job.id)) == await JobsView(database).get(job.id)


@asynccontextmanager
async def row_locked(database: Database, *jobs: Job) -> AsyncIterator[None]:
    """Locks the rows of these jobs until the block ends, so that every write to them waits.

    A write that waits longer than five seconds fails.
    """
    connection = await asyncpg.connect(database.url)
    try:
        async with connection.transaction():
            await connection.execute("select from jobs where id = any($1::uuid[]) for update", [job.id for job in jobs])
            yield
    finally:
        await connection.close()


async def until_waiting_for_locks(database: Database, connections: int) -> None:
    """Waits until exactly this number of connections to the database wait for a lock."""
    query = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
    seen = -1

    async def as_many() -> bool:
        nonlocal seen
        seen = int(await database.fetch_val(query))
        return seen == connections

    await until(as_many, what=f"{connections} connections wait for locks")


def _word(recorded: Recorded) -> str:
    match recorded.event:
        case Queued(reason=reason) if reason != "new":
            return f"queued: {reason}"
        case Failed(will_retry=True):
            return "failed, retried"
        case event:
            return word(event)
