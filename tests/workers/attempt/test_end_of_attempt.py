"""An attempt tells its worker once that it has ended.

However an attempt ends, it calls `ended` once, after its last write.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast

import pytest

from events.concurrency import Deadlines
from events.database import Database
from events.job import JSON, Job
from events.store import Store
from tests.job_types import (
    cancel,
    claim_of,
    fail_for_good,
    give_up,
    hang,
    job_type,
    queue,
    quick,
    until,
    wait_deaf_to_cancellation,
    words,
)
from workers.attempt.attempt import Attempt, Interruption, Send
from workers.attempt.slots import Slots
from workers.job_type import Context, JobType
from workers.resources import Resources

DONE = ["queued", "started", "completed"]
FAILED = ["queued", "started", "failed"]
CANCELED = ["queued", "started", "canceled"]
HANDED_BACK = ["queued", "started", "queued: worker_shutdown"]


@dataclass
class InHand:
    """A started attempt without a worker: its slot, and the arguments of its callbacks."""

    attempt: Attempt
    job: Job
    slots: Slots
    ended: list[Attempt] = field(default_factory=list)
    handed_back: list[Job] = field(default_factory=list)

    def begin(self) -> None:
        self.attempt.begin(self.job)

    async def must_end_once(self) -> None:
        """Waits for the attempt's end. Checks that `ended` was called once and the slot is free."""
        await until(lambda: self.ended)
        await asyncio.wait({self.attempt.task})
        assert self.attempt.task.exception() is None
        assert self.ended == [self.attempt]
        assert self.slots.all_free
        assert self.slots.free == 1


@asynccontextmanager
async def in_hand(database: Database, store: Store, kind: JobType[Any], *, send: Send | None = None) -> AsyncIterator[InHand]:
    job = await queue(store, None, kind)
    claim = claim_of(job)
    slots = Slots(1)
    slots.take(claim.id, claim.type)
    started = await store.start_attempt(*claim.id, claim.type, worker="w1")
    assert started is not None

    def end(attempt: Attempt) -> None:
        held.ended.append(attempt)
        slots.release(attempt.id)

    attempt = Attempt(
        claim,
        kind,
        worker="w1",
        resources=Resources(database=database, chatwork=None, summariser=cast(Any, None)),
        slots=slots,
        deadlines=Deadlines(kind.deadline, Attempt.time_out),
        send=send or partial(store.append, actor="worker:w1"),
        handed_back=lambda job: held.handed_back.append(job),
        ended=end,
    )
    held = InHand(attempt, started, slots)
    yield held


async def exit_the_process(context: Context, payload: Any) -> JSON:
    raise SystemExit(3)


@pytest.mark.parametrize(
    ("kind", "history"),
    [
        (job_type("returns", quick), DONE),
        (job_type("fails", fail_for_good), FAILED),
        (job_type("gives_up", give_up), CANCELED),
        (job_type("exits", exit_the_process), FAILED),
        (job_type("times_out", hang, deadline=0.05, max_attempts=1), FAILED),
    ],
    ids=lambda value: value.name if isinstance(value, JobType) else "",
)
async def test_an_attempt_that_ends_by_itself_reports_its_end_once(
    database: Database, store: Store, kind: JobType[Any], history: list[str]
) -> None:
    async with in_hand(database, store, kind) as held:
        held.begin()

        await held.must_end_once()

    assert await words(store, held.job) == history
    assert held.handed_back == []


@pytest.mark.parametrize(
    ("why", "history"),
    [
        (Interruption.OVER, CANCELED),
        (Interruption.TIMEOUT, FAILED),
        (Interruption.STOPPING, HANDED_BACK),
        (Interruption.LOST, ["queued", "started"]),
    ],
    ids=lambda value: value.name.lower() if isinstance(value, Interruption) else "",
)
@pytest.mark.parametrize("listens", [True, False], ids=["listens", "is stuck"])
async def test_a_stopped_attempt_reports_its_end_once_whether_or_not_its_handler_stops(
    database: Database, store: Store, why: Interruption, history: list[str], listens: bool
) -> None:
    entered, release = asyncio.Event(), asyncio.Event()

    async def wait(context: Context, payload: Any) -> JSON:
        entered.set()
        await (release.wait() if listens else wait_deaf_to_cancellation(release))
        return "too late"

    async with in_hand(database, store, job_type("waits", wait, max_attempts=1)) as held:
        held.begin()
        handler = held.attempt.task
        await entered.wait()
        if why is Interruption.OVER:
            await cancel(store, held.job)

        held.attempt.interrupt(why)

        await held.must_end_once()
        assert len(held.slots.stuck) == (0 if listens else 1)
        release.set()
        await asyncio.wait({handler})
        assert handler.exception() is None
        await until(lambda: not held.slots.stuck)
        assert held.ended == [held.attempt]
    assert await words(store, held.job) == history
    assert [job.id for job in held.handed_back] == ([held.job.id] if history == HANDED_BACK else [])


@pytest.mark.parametrize("why", [Interruption.STOPPING, Interruption.LOST])
async def test_an_attempt_stopped_before_its_handler_is_called_is_handed_back(
    database: Database, store: Store, why: Interruption
) -> None:
    entered: list[int] = []

    async def enter(context: Context, payload: Any) -> JSON:
        entered.append(context.attempt)
        return None

    async with in_hand(database, store, job_type("enters", enter)) as held:
        held.attempt.interrupt(why)
        held.begin()

        await held.must_end_once()

    assert entered == []
    assert await words(store, held.job) == HANDED_BACK
    assert [job.id for job in held.handed_back] == [held.job.id]


async def test_an_attempt_whose_end_cannot_be_written_reports_its_end_once_and_frees_its_slot(
    database: Database, store: Store
) -> None:
    async def refuse(job: Job, decide: Any) -> Job:
        raise OSError("the write to the log fails")

    async with in_hand(database, store, job_type("returns", quick), send=refuse) as held:
        held.begin()

        await held.must_end_once()

    assert await words(store, held.job) == ["queued", "started"]


async def test_ended_is_called_after_the_end_is_in_the_log_and_the_slot_is_free_before(
    database: Database, store: Store
) -> None:
    written, write = asyncio.Event(), asyncio.Event()

    async def write_late(job: Job, decide: Any) -> Job:
        written.set()
        await write.wait()
        return await store.append(job, decide, actor="worker:w1")

    async with in_hand(database, store, job_type("returns", quick), send=write_late) as held:
        held.begin()
        await written.wait()

        assert (held.slots.free, held.slots.all_free, held.ended) == (1, False, [])
        write.set()

        await held.must_end_once()
    assert await words(store, held.job) == DONE
