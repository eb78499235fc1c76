"""Starts attempts in the log, gives them slots, and stops them, for one worker process."""

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
from events.writes import Reply
from workers.attempt.attempt import PATIENCE, Attempt, Interruption
from workers.attempt.slots import Slots
from workers.delivery.wire import AttemptId, Claim
from workers.job_type import JobType
from workers.resources import Resources

log = structlog.get_logger(__name__)

HAND_BACK_WITHIN = 10.0  # seconds to hand jobs back; a job not handed back by then is rescued by another worker


class Runner:
    """Runs attempts under one worker id, at most `slots` handlers at a time.

    Call `run` from the event loop. It returns at once.
    """

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
        """`handed_back` is called with each job that was handed back, which any worker may start."""
        self.worker_id = worker_id
        self.slots = Slots(slots)
        self.attempts: dict[str, Attempt] = {}
        """The started attempts, by job id."""
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
        """Whether this worker's lease has not expired, so that no other worker declared it gone."""
        return not self._lost and elapsed() < self._leased_until

    @property
    def free(self) -> int:
        """How many attempts may be started now: 0 if `leased` is false."""
        return self.slots.free if self.leased else 0

    @property
    def in_hand(self) -> dict[str, Attempt]:
        """The attempts that are started or being started, by job id."""
        return {attempt.job_id: attempt for attempt in self._starting.values()} | self.attempts

    def run(self, claim: Claim, *, started: Callable[[], None]) -> None:
        """Starts the claimed attempt in the log and runs it, if the log allows that.

        The function `started` is called when the start is in the log or was refused, because then
        the delivery can be removed from Redis. If `leased` is false, nothing is started and
        `started` is not called, so other workers can take the delivery.
        """
        if not self.leased:
            return
        if self.slots.holds(claim.id):
            # The wire delivered the same hint twice, which it is allowed to do.
            started()
            return
        attempt = self._starting[claim.id] = self.attempt_of(claim)
        self.slots.take(claim.id, claim.type)
        answer = self._store.start_attempt(*claim.id, claim.type, worker=attempt.worker)
        answer.add_done_callback(lambda answer: self._begin(attempt, started, answer))

    async def stop(self, *, grace: float) -> None:
        """Waits up to `grace` seconds for running attempts, then hands unfinished jobs back.

        Do not call `run` after that.
        """
        await self._all_ended(within=grace)
        self._interrupt_all(Interruption.STOPPING)
        await self._all_ended(within=PATIENCE + HAND_BACK_WITHIN)
        self._stop_listening()

    def attempt_of(self, claim: Claim) -> Attempt:
        """Returns an `Attempt` for the claim, which uses this worker's slots and name."""
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
        """Extends the lease: nobody declares this worker gone before `until` (see `elapsed`)."""
        self._leased_until = until
        self.slots.freed.set()

    def lose(self) -> None:
        """Stops every attempt, because this worker was declared gone. Starts none until `go_on`."""
        self._lost = True
        self._interrupt_all(Interruption.LOST)

    def go_on(self, new_worker_id: str) -> None:
        """Lets attempts start again, under a new worker id that is already registered."""
        self.worker_id = new_worker_id
        self._lost = False
        self.slots.freed.set()

    def _begin(self, attempt: Attempt, started: Callable[[], None], answer: Reply) -> None:
        """Begins the attempt if its `started` is in the log, else frees its slot."""
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
                # The handler was not called yet. The job is handed back, because a rescue would use
                # up an attempt.
                attempt.interrupt(Interruption.STOPPING)
            attempt.begin(job)
            return
        self.slots.release(attempt.id)

    def _forget(self, attempt: Attempt) -> None:
        """Removes an attempt that has ended from `attempts` and releases its slot."""
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
