"""Makes histories of jobs for tests, and checks rules that every snapshot must satisfy.

`job_after(queued(), Started("w1"), Failed(ERROR, will_retry=True), queued("retry"))` is the job
after these events.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

from events.bus import Bus
from events.database import Connection, Database
from events.history import histories, job_from
from events.job import (
    JSON,
    NO_DELAY,
    Canceled,
    Completed,
    Event,
    Failed,
    Job,
    JobError,
    Progress,
    Queued,
    Reason,
    Recorded,
    Started,
    cancel,
    complete,
    fail,
    fold,
    progress,
    start,
    word,
)
from events.statements import JOB_COLUMNS
from events.store import Store
from events.writes import Decision, NewJob
from projections.seal import seal_everything
from projections.verify import UNSEALED

AT = datetime(2026, 11, 23, 9, 0, 0, 123456, tzinfo=UTC)
STEP = timedelta(seconds=1, microseconds=1)
JOB_ID = "0190b1a0-0000-7000-8000-000000000001"
ALICE = "11111111-1111-4111-8111-111111111111"
BOB = "22222222-2222-4222-8222-222222222222"
ERROR = JobError("ValueError", "no such room", "Traceback: line 1")
EXAMPLES: dict[str, Event] = {
    "started": Started("w1"),
    "progress": Progress({"done": 1}),
    "completed": Completed({"done": 2}),
    "failed": Failed(ERROR, will_retry=False),
    "canceled": Canceled("asked"),
}
"""An example of each event but `queued`, whose meaning depends on the events before it."""

BY_THE_RULES = 0


def queued(
    reason: Reason = "new", *, max_attempts: int = BY_THE_RULES, delay: timedelta = NO_DELAY, payload: JSON = None
) -> Queued:
    """Returns the first `queued` of a job with three attempts, or a later `queued`.

    If `max_attempts` is left out, `recorded` takes the number from the previous `queued`. It adds
    one if `reason` says that the previous attempt does not count.
    """
    if reason == "new":
        return Queued(reason, max_attempts or 3, delay, "rooms", {"n": 1} if payload is None else payload, ALICE)
    return Queued(reason, max_attempts, delay)


def recorded(*events: Event, job_id: str = JOB_ID) -> list[Recorded]:
    """Returns these events as the log keeps them, with `seq`, attempt and time.

    They are a second and a microsecond apart.
    """
    history: list[Recorded] = []
    attempt, max_attempts = 0, 0
    for place, event in enumerate(events):
        if isinstance(event, Queued):
            attempt += 1
            if event.max_attempts == BY_THE_RULES:
                event = replace(event, max_attempts=max_attempts + (event.reason in ("manual_retry", "worker_shutdown")))
            max_attempts = event.max_attempts
        history.append(Recorded(job_id, place + 1, attempt, event, "system:test", AT + place * STEP))
    return history


def job_after(*events: Event) -> Job:
    job = fold(recorded(*events))
    assert job is not None
    return job


def next_recorded(job: Job, event: Event) -> Recorded:
    """Returns `event` as the log would keep it after the events of `job`."""
    attempt = job.attempt + (word(event) == "queued")
    return Recorded(job.id, job.seq + 1, attempt, event, "system:test", job.updated_at + STEP)


def every_reason() -> tuple[Reason, ...]:
    reasons: tuple[Reason, ...] = get_args(Reason)
    return reasons


RETRY_AT_ONCE = timedelta(0)


def new(type: str = "rooms", *, payload: Any = None, max_attempts: int = 3, **more: Any) -> NewJob:
    return NewJob(type, {"n": 1} if payload is None else payload, more.pop("user_id", ALICE), max_attempts, **more)


def starting(worker: str = "w1", attempt: int = 1) -> Decision:
    return lambda job: start(job, attempt=attempt, worker=worker)


def reporting(result: Any, worker: str = "w1", attempt: int = 1) -> Decision:
    return lambda job: progress(job, attempt=attempt, worker=worker, result=result)


def completing(result: Any = None, worker: str = "w1", attempt: int = 1) -> Decision:
    return lambda job: complete(job, attempt=attempt, worker=worker, result=result)


def failing(worker: str = "w1", attempt: int = 1, retry_in: timedelta | None = RETRY_AT_ONCE) -> Decision:
    return lambda job: fail(job, attempt=attempt, worker=worker, error=ERROR, retry_in=retry_in)


def canceling(job: Job) -> list[Event]:
    return cancel(job, reason="asked")


@asynccontextmanager
async def open_store(url: str) -> AsyncIterator[Store]:
    """Opens a second store with its own connections, as another process would have it."""
    database = Database(url)
    await database.connect()
    store = Store(database, Bus())
    await store.start()
    try:
        yield store
    finally:
        await store.stop()
        await database.disconnect()


async def until(condition: Callable[[], Awaitable[Any]], *, seconds: float = 10) -> None:
    """Waits until `condition` is true. Raises `TimeoutError` after `seconds`."""
    async with asyncio.timeout(seconds):
        while True:
            if await condition():
                return
            await asyncio.sleep(0.005)


async def give_positions(database: Database) -> None:
    """Waits until the sealer has given every event its position in the order of the whole log.

    An open transaction in any database of the server may delay that for a moment.
    """

    async def every_event_has_one() -> bool:
        await seal_everything(database)
        return not await database.fetch_val(UNSEALED)

    await until(every_event_has_one)


BROKEN_RULES = {
    "1: a job in the view has no `queued` at seq 1": """
        select j.id from jobs j
        where not exists (select from job_events e where e.job_id = j.id and e.seq = 1 and e.type = 'queued')
    """,
    "2: the view's seq is not the number of the job's events": """
        select coalesce(j.id, e.job_id) from jobs j
        full join (select job_id, max(seq) as last, count(*) as events from job_events group by job_id) e on e.job_id = j.id
        where j.seq is distinct from e.last or e.last is distinct from e.events
    """,
    "4: an attempt has two ends": """
        select job_id from job_events where type in ('completed', 'failed', 'canceled')
        group by job_id, attempt having count(*) > 1
    """,
    "4: an end is followed by another event than `queued` with the next attempt": """
        select e.job_id from job_events e join job_events n on n.job_id = e.job_id and n.seq = e.seq + 1
        where e.type in ('completed', 'failed', 'canceled')
        and (e.type = 'completed' or n.type <> 'queued' or n.attempt <> e.attempt + 1)
    """,
    "6: an attempt was started twice": """
        select job_id from job_events where type = 'started' group by job_id, attempt having count(*) > 1
    """,
    "6: more attempts than maxAttempts": """
        select id from jobs where attempt > max_attempts
        union all
        select job_id from job_events where type = 'queued' and attempt > (data->>'maxAttempts')::int
    """,
    "7: an event of an attempt is not from the worker that started it": """
        select e.job_id from job_events e
        left join job_events s on s.job_id = e.job_id and s.attempt = e.attempt and s.type = 'started' and s.seq < e.seq
        where e.type in ('progress', 'completed', 'failed')
        and e.actor is distinct from 'worker:' || (s.data->>'worker') and not (e.type = 'failed' and e.actor !~ '^worker:')
    """,
    "8: the job of an idempotency key does not exist": """
        select job_id from idempotency_keys k where not exists (select from jobs j where j.id = k.job_id)
    """,
    "times run backwards within a job": """
        select e.job_id from job_events e join job_events n on n.job_id = e.job_id and n.seq = e.seq + 1 where n.at < e.at
    """,
}


async def what_is_broken(connection: Connection) -> list[str]:
    """Returns the rules that the database breaks, checked in one snapshot."""
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        # The lock keeps a rebuild from swapping the table `jobs` meanwhile, because the new table
        # would not fit the snapshot.
        await connection.execute("lock table jobs in access share mode")
        broken = [
            f"{rule}: {row[0]}" for rule, query in BROKEN_RULES.items() for row in await connection.fetch(f"{query} limit 5")
        ]
        return broken + await _where_view_and_fold_differ(connection)


async def _where_view_and_fold_differ(connection: Connection) -> list[str]:
    logged: dict[str, list[Recorded]] = {}
    async for event in histories(connection):
        logged.setdefault(event.job_id, []).append(event)
    shown = {row["id"]: job_from(row) for row in await connection.fetch(f"select {JOB_COLUMNS} from jobs")}
    folded = {job_id: fold(history) for job_id, history in logged.items()}
    return [
        f"3: the view differs from the fold in {', '.join(_differing(shown.get(id), folded.get(id)))}: {id}"
        for id in sorted(shown.keys() | folded.keys())
        if shown.get(id) != folded.get(id)
    ]


def _differing(shown: Job | None, folded: Job | None) -> list[str]:
    if shown is None or folded is None:
        return ["existence"]
    return [field for field, in_view, by_log in zip(Job._fields, shown, folded, strict=True) if in_view != by_log]
