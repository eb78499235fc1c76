"""Runs attempts in one worker process: starts them in the log, gives them slots, and stops them."""

import asyncio
import contextlib
import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import structlog

from events.bus import Bus, Change
from events.concurrency import Deadlines, elapsed
from events.job import Job
from events.store import Store
from events.writes import Answer
from workers.attempt.attempt import PATIENCE, Attempt, Interruption
from workers.attempt.slots import Slots
from workers.delivery.wire import AttemptId, Claim
from workers.job_type import JobType
from workers.resources import Resources

log = structlog.get_logger(__name__)

HAND_BACK_WITHIN = 10.0  # seconds; what could not be handed back by then is rescued by somebody else


class Runner:
    """Runs attempts under one worker id, at most `slots` handlers at a time."""

    def __init__(
        self,
        *,
        store: Store,
        bus: Bus,
        resources: Resources,
        job_types: Mapping[str, JobType[Any]],
        worker_id: str,
        slots: int,
        handed_back: Callable[[Job], None],
    ) -> None:
        """`handed_back` is called with a job that others may start at once."""
        self.worker_id = worker_id
        self.slots = Slots(slots)
        self.attempts: dict[str, Attempt] = {}
        """The attempts that were started, by job id."""
        self._store = store
        self._resources = resources
        self._job_types = job_types
        self._handed_back = handed_back
        self._deadlines = {name: Deadlines(job_type.deadline, Attempt.time_out) for name, job_type in job_types.items()}
        self._starting: dict[AttemptId, Attempt] = {}
        self._lost = False
        self._leased_until = math.inf
        self._stop_listening = bus.listen(self._hear)

    @property
    def leased(self) -> bool:
        """Whether nobody can have declared this worker gone by now."""
        return not self._lost and elapsed() < self._leased_until

    @property
    def free(self) -> int:
        return self.slots.free if self.leased else 0

    @property
    def in_hand(self) -> dict[str, Attempt]:
        """By job id what was started, and what may be started at any moment."""
        return {id.job_id: attempt for id, attempt in self._starting.items()} | self.attempts

    def run(self, claim: Claim, *, started: Callable[[], None]) -> None:
        """Starts the claimed attempt, if the log allows it, and runs it. Calls `started` as soon as its `started` is durable or
        refused: from then on nobody needs to be told that the job waits. A worker that may be gone starts nothing, and leaves it
        to others."""
        if not self.leased:
            return
        running = self.attempts.get(claim.id.job_id)
        if claim.id in self._starting or (running is not None and running.number == claim.id.attempt):
            # A second delivery. Redis excludes nobody, so this happens.
            started()
            return
        attempt = self._starting[claim.id] = self.attempt_of(claim)
        self.slots.take(claim.id, claim.type)
        answer = self._store.start_attempt(*claim.id, claim.type, worker=attempt.worker)
        answer.add_done_callback(lambda answer: self._begin(attempt, started, answer))

    async def stop(self, *, grace: float) -> None:
        """Waits up to `grace` seconds for what runs, then hands it back. Nothing new may be run meanwhile."""
        await self._all_ended(within=grace)
        self._interrupt_all(Interruption.STOPPING)
        await self._all_ended(within=PATIENCE + HAND_BACK_WITHIN)
        self._stop_listening()

    def attempt_of(self, claim: Claim) -> Attempt:
        """The claimed attempt, in the hands of this worker."""
        return Attempt(
            claim,
            self._job_types[claim.type],
            worker=self.worker_id,
            resources=self._resources,
            slots=self.slots,
            deadlines=self._deadlines[claim.type],
            send=partial(self._store.append, actor=f"worker:{self.worker_id}"),
            handed_back=self._handed_back,
            ended=self._forget,
        )

    def lease(self, *, until: float) -> None:
        """Nobody declares this worker gone before then (`elapsed`)."""
        self._leased_until = until
        self.slots.freed.set()

    def lose(self) -> None:
        """This worker was declared gone: others run what it ran. Stops it all, and runs no more until `go_on`."""
        self._lost = True
        self._interrupt_all(Interruption.LOST)

    def go_on(self, new_worker_id: str) -> None:
        """Under a new id, which is registered: nobody takes it for gone."""
        self.worker_id = new_worker_id
        self._lost = False
        self.slots.freed.set()

    def _begin(self, attempt: Attempt, started: Callable[[], None], answer: Answer) -> None:
        """The log has said whether the attempt was started."""
        del self._starting[attempt.id]
        started()
        if (error := answer.exception()) is not None:
            log.error("attempt not started", job_id=attempt.job_id, attempt=attempt.number, exc_info=error)
        elif (job := answer.result()) is not None:
            before = self.attempts.get(job.id)
            if before is not None:
                before.interrupt(Interruption.OVER)
            self.attempts[job.id] = attempt
            if not self.leased:
                # Nothing was done yet. Hand it back, because a rescue would spend an attempt on it.
                attempt.interrupt(Interruption.STOPPING)
            attempt.begin(job)
            return
        self.slots.release(attempt.id)

    def _forget(self, attempt: Attempt) -> None:
        """Nothing is left to do for this attempt."""
        if self.attempts.get(attempt.job_id) is attempt:
            del self.attempts[attempt.job_id]
        self.slots.release(attempt.id)

    def _hear(self, change: Change) -> None:
        if (attempt := self.attempts.get(change.job_id)) is not None:
            attempt.hear(change)
        if (attempt := self._starting.get(AttemptId(change.job_id, change.attempt))) is not None:
            attempt.hear(change)

    def _interrupt_all(self, why: Interruption) -> None:
        for attempt in self.in_hand.values():
            attempt.interrupt(why)

    async def _all_ended(self, *, within: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within):
                while not self.slots.all_free:
                    self.slots.freed.clear()
                    await self.slots.freed.wait()
