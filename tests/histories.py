"""Given, when, then: histories of jobs as plain values, and what must hold for all of them in any snapshot of a database.

`given(queued(), Started("w1"), Failed(ERROR, will_retry=True), queued("retry"))` is the job after these events.
"""

from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from typing import get_args

from events.database import Connection
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
    fold,
    word,
)
from events.store import JOB_COLUMNS, histories, job_from

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
"""One of each event that means the same after any other."""

AS_THE_RULES_HAVE_IT = 0


def queued(
    reason: Reason = "new", *, max_attempts: int = AS_THE_RULES_HAVE_IT, delay: timedelta = NO_DELAY, payload: JSON = None
) -> Queued:
    """The first event of a job with three attempts, or a later one. Unless `max_attempts` says otherwise, `given` raises them
    by one where the reason does not spend any."""
    if reason == "new":
        return Queued(reason, max_attempts or 3, delay, "rooms", {"n": 1} if payload is None else payload, ALICE)
    return Queued(reason, max_attempts, delay)


def recorded(*events: Event, job_id: str = JOB_ID) -> list[Recorded]:
    """These events with their places, a second and a microsecond apart."""
    history: list[Recorded] = []
    attempt, max_attempts = 0, 0
    for place, event in enumerate(events):
        if isinstance(event, Queued):
            attempt += 1
            if event.max_attempts == AS_THE_RULES_HAVE_IT:
                event = replace(event, max_attempts=max_attempts + (event.reason in ("manual_retry", "worker_shutdown")))
            max_attempts = event.max_attempts
        history.append(Recorded(job_id, place + 1, attempt, event, "system:test", AT + place * STEP))
    return history


def given(*events: Event) -> Job:
    job = fold(recorded(*events))
    assert job is not None
    return job


def next_recorded(job: Job, event: Event) -> Recorded:
    """`event` as it would stand in the log after `job`."""
    attempt = job.attempt + (word(event) == "queued")
    return Recorded(job.id, job.seq + 1, attempt, event, "system:test", job.updated_at + STEP)


def every_reason() -> tuple[Reason, ...]:
    reasons: tuple[Reason, ...] = get_args(Reason)
    return reasons


# What must always hold (DESIGN, section 7), asked of one snapshot ---------------------------------------------------------------

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
    "4: two ends of one attempt": """
        select job_id from job_events where type in ('completed', 'failed', 'canceled')
        group by job_id, attempt having count(*) > 1
    """,
    "4: after an end comes something else than `queued` with the next attempt": """
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
    "7: somebody else speaks for the worker that started the attempt": """
        select e.job_id from job_events e
        left join job_events s on s.job_id = e.job_id and s.attempt = e.attempt and s.type = 'started' and s.seq < e.seq
        where e.type in ('progress', 'completed', 'failed')
        and e.actor is distinct from 'worker:' || (s.data->>'worker') and not (e.type = 'failed' and e.actor !~ '^worker:')
    """,
    "8: an idempotency key leads to no job": """
        select job_id from idempotency_keys k where not exists (select from jobs j where j.id = k.job_id)
    """,
    "times run backwards within a job": """
        select e.job_id from job_events e join job_events n on n.job_id = e.job_id and n.seq = e.seq + 1 where n.at < e.at
    """,
}


async def what_is_broken(connection: Connection) -> list[str]:
    """Which rules the database breaks, as of one snapshot that it takes itself."""
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        # Without this a view that is swapped in after the snapshot was taken would be read with it.
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
        f"3: view and fold differ in {', '.join(_differing(shown.get(id), folded.get(id)))}: {id}"
        for id in sorted(shown.keys() | folded.keys())
        if shown.get(id) != folded.get(id)
    ]


def _differing(shown: Job | None, folded: Job | None) -> list[str]:
    if shown is None or folded is None:
        return ["existence"]
    return [field.name for field in fields(Job) if getattr(shown, field.name) != getattr(folded, field.name)]
