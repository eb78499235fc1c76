"""The job types of the load, and the endpoint that queues them.

Child processes of the campaign register both. All other code that they run is the service's.
"""

import asyncio
import os
import random
import time
from contextlib import suppress
from typing import Any

from events.job import JSON
from workers.job_type import Backoff, Context, JobType, Payload, Unique
from workers.outcomes import Final, GiveUp

STORE_EFFECT = """
insert into chaos_effects (job_id, attempt, worker_pid, at) values (:job_id, :attempt, :pid, clock_timestamp())
on conflict (job_id, attempt) do nothing
"""

EFFECTS_TABLE = """
create table chaos_effects (
    job_id     uuid        not null,
    attempt    integer     not null,
    worker_pid integer     not null,
    at         timestamptz not null,
    primary key (job_id, attempt)
)
"""


class Task(Payload):
    """The payload. `mark` names the client's request; each mark must have only one job."""

    mark: str
    seconds: float = 0.0


class Retryable(Exception):
    pass


class Permanent(Final):
    pass


async def quick(context: Context, task: Task) -> JSON:
    return {"mark": task.mark}


async def slow(context: Context, task: Task) -> JSON:
    steps = max(int(task.seconds), 1)
    for step in range(steps):
        await context.progress({"steps": steps, "done": step})
        await asyncio.sleep(task.seconds / steps)
    return {"mark": task.mark}


async def flaky(context: Context, task: Task) -> JSON:
    await asyncio.sleep(task.seconds)
    if random.random() < 0.5:
        raise Retryable(f"attempt {context.attempt} fails at random")
    return {"attempt": context.attempt}


async def hopeless(context: Context, task: Task) -> JSON:
    if random.random() < 0.1:
        raise Permanent("a failure that forbids another attempt")
    raise Retryable(f"attempt {context.attempt} of a job that always fails")


async def overdue(context: Context, task: Task) -> JSON:
    await asyncio.sleep(3600)
    return None


async def chatty(context: Context, task: Task) -> JSON:
    for n in range(60):
        await context.progress({"total": 60, "done": n})
        await asyncio.sleep(task.seconds / 60)
    return {"total": 60}


async def deaf(context: Context, task: Task) -> JSON:
    """Ignores every cancellation until its work is finished."""
    until = time.monotonic() + task.seconds
    while time.monotonic() < until:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(0.2)
    await context.progress({"deaf": True})
    return {"mark": task.mark}


async def wait(context: Context, task: Task) -> JSON:
    await asyncio.sleep(task.seconds)
    return {"mark": task.mark}


async def with_effects(context: Context, task: Task) -> JSON:
    """Waits, stores a row for this attempt in `chaos_effects`, and waits again.

    Faults that happen during the waits show whether the row is stored once.
    """
    await asyncio.sleep(task.seconds / 2)
    async with context.store():
        values = {"job_id": context.job_id, "attempt": context.attempt, "pid": os.getpid()}
        await context.database.execute(STORE_EFFECT, values)
    await asyncio.sleep(task.seconds / 2)
    return {"attempt": context.attempt}


async def late(context: Context, task: Task) -> JSON:
    if context.attempt == 1:
        raise Retryable("the first attempt of this job always fails")
    return {"attempt": context.attempt}


async def quitter(context: Context, task: Task) -> JSON:
    await asyncio.sleep(task.seconds)
    raise GiveUp("the handler cancels its own job")


SOON = Backoff(first=0.2, ceiling=2.0)


def _type(name: str, run: Any, **policy: Any) -> JobType[Task]:
    rest: dict[str, Any] = {"deadline": 30.0, "backoff": SOON, "role": "employee"} | policy
    return JobType(name=f"chaos_{name}", payload=Task, run=run, **rest)


TYPES: dict[str, JobType[Any]] = {
    job_type.name: job_type
    for job_type in (
        _type("quick", quick),
        _type("slow", slow),
        _type("flaky", flaky, max_attempts=8),
        _type("hopeless", hopeless, max_attempts=3),
        _type("overdue", overdue, max_attempts=2, deadline=1.0),
        _type("chatty", chatty),
        _type("deaf", deaf, deadline=2.0, max_attempts=2),
        _type("costly", wait, retry_when_worker_lost=False),
        _type("effects", with_effects),
        _type("unique", wait, unique=Unique.PER_PAYLOAD),
        _type("late", late, backoff=Backoff(first=3.0, ceiling=3.0)),
        _type("quitter", quitter),
    )
}

# For each job type: its share of the requests in percent, and the least and the most seconds that
# its work takes.
LOAD: dict[str, tuple[int, tuple[float, float]]] = {
    "chaos_quick": (26, (0.0, 0.0)),
    "chaos_slow": (10, (1.0, 8.0)),
    "chaos_flaky": (14, (0.0, 0.5)),
    "chaos_hopeless": (4, (0.0, 0.0)),
    "chaos_overdue": (4, (0.0, 0.0)),
    "chaos_chatty": (7, (0.5, 4.0)),
    "chaos_deaf": (4, (0.5, 6.0)),
    "chaos_costly": (9, (0.2, 4.0)),
    "chaos_effects": (11, (0.0, 4.0)),
    "chaos_unique": (4, (0.2, 2.0)),
    "chaos_late": (5, (0.0, 0.0)),
    "chaos_quitter": (2, (0.0, 0.5)),
}
