"""Job types whose handlers behave as their payload says."""

import asyncio
import contextlib
import random
from typing import Any

from events.job import JSON
from tests.simulation.checks import Checks, Handler
from tests.simulation.loop import PROCESS
from tests.simulation.statements import STORE_EFFECT
from workers.job_type import Backoff, Context, JobType, Payload, Unique
from workers.outcomes import AttemptOver, Final, GiveUp

KINDS = ("quick", "slow", "failing", "final", "gives up", "deaf", "late", "chatty", "storing", "cancels itself")
DEADLINE = 6.0  # seconds until an attempt is timed out
SOON = Backoff(first=0.5, ceiling=3.0)


class Script(Payload):
    """The payload: a way to behave (one of `KINDS`), its duration in seconds, and a number."""

    kind: str
    seconds: float = 0.0
    n: int = 0


def job_types(checks: Checks) -> dict[str, JobType[Any]]:
    """Returns the simulated job types, which share one handler and differ in retry policy."""

    async def run(context: Context, script: Script) -> JSON:
        handler = Handler(PROCESS.get(), deaf=script.kind == "deaf", since=asyncio.get_running_loop().time())
        checks.handler_began(context.job_id, context.attempt, context._worker, handler)  # type: ignore[attr-defined]
        try:
            result = await _behave(context, script)
            checks.handler_returned(context.job_id, handler, types[checks.jobs[context.job_id].view["type"]].deadline)
            return result
        finally:
            handler.ended = True

    policies: tuple[JobType[Any], ...] = (
        JobType("plain", Script, run, DEADLINE, max_attempts=3, backoff=SOON),
        JobType("long", Script, run, 15.0, max_attempts=3, backoff=SOON),
        JobType("paid", Script, run, DEADLINE, max_attempts=2, backoff=SOON, retry_when_worker_lost=False),
        JobType("unique", Script, run, DEADLINE, max_attempts=3, backoff=SOON, unique=Unique.PER_PAYLOAD),
    )
    types = {type.name: type for type in policies}
    return types


async def _behave(context: Context, script: Script) -> JSON:
    match script.kind:
        case "slow":
            await asyncio.sleep(script.seconds)
        case "failing" if random.random() < 0.7:
            await asyncio.sleep(script.seconds / 4)
            raise ValueError("no such room")
        case "final":
            raise Final("no such token")
        case "gives up":
            raise GiveUp("nothing to do")
        case "deaf":
            await _deaf(context, script.seconds * 2)
        case "late":
            await asyncio.sleep(DEADLINE + script.seconds)
        case "chatty":
            await _chat(context, script.seconds)
        case "storing":
            await _store(context, script.seconds)
        case "cancels itself":
            raise asyncio.CancelledError
    return {"did": script.kind}


async def _deaf(context: Context, seconds: float) -> None:
    """Ignores cancellations for `seconds`, then tries to report progress and store an effect."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while (left := end - loop.time()) > 0:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(left)
    await context.progress({"deaf": True})
    with contextlib.suppress(AttemptOver):
        await _effect(context, 0)


async def _chat(context: Context, seconds: float) -> None:
    steps = int(seconds * 3)
    for step in range(steps):
        await context.progress({"step": step, "of": steps})
        await asyncio.sleep(random.random() * 0.7)


async def _store(context: Context, seconds: float) -> None:
    for n in range(3):
        await asyncio.sleep(seconds / 3)
        await _effect(context, n)


async def _effect(context: Context, n: int) -> None:
    async with context.store():
        await context.database.execute(STORE_EFFECT, {"job_id": context.job_id, "attempt": context.attempt, "n": n})
