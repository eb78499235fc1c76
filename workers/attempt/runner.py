"""Runs attempts in one worker process: starts them in the log, gives them slots, and stops them."""

import asyncio
import contextlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any

import structlog

from events.bus import Bus, Change
from events.concurrency import Deadlines, elapsed
from events.job import Job
from events.store import Store
from events.writes import Answer
from workers.attempt.attempt import PATIENCE, Attempt, Interruption
from workers.delivery.wire import AttemptId, Claim
from workers.job_type import JobType
from workers.resources import Resources

log = structlog.get_logger(__name__)


HAND_BACK_WITHIN = 10.0  # seconds; what could not be handed back by then is rescued by somebody else


@dataclass(frozen=True, slots=True)
class Stuck:
    """A handler that swallows its cancellation. Its attempt is over, and what it writes is refused."""

    job_id: str
    attempt: int
    type: str
    since: float
    """`time.monotonic()`"""


class Runner:
    """Runs attempts, at most `slots` handlers at a time, under one worker id. While the end of one is being written, the next may
    use its slot; of such there are never more than `slots` either."""

    def __init__(
        self,
        *,
        store: Store,
        bus: Bus,
        resources: Resources,
        job_types: Mapping[str, JobType[Any]],
        worker_id: str,
        slots: int,
        tell: Callable[[Job], None],
    ) -> None:
        """`tell` is called with a job that was handed back: others may start it at once."""
        self.store = store
        self.tell = tell
        self.resources = resources
        self.job_types = job_types
        self.worker_id = worker_id
        self.slots = slots
        self.attempts: dict[str, Attempt] = {}
        """Those that were started, by job id."""
        self.stuck: dict[asyncio.Task[None], Stuck] = {}
        self.deadlines = {name: Deadlines(type.deadline, Attempt.time_out) for name, type in job_types.items()}
        """Of the handlers that run, by job type."""
        self.freed = asyncio.Event()
        """Set when a slot becomes free."""
        self.recording = 0
        """How many handlers have ended whose attempt's end is still being written."""
        self._starting: dict[AttemptId, Attempt] = {}
        self._running: set[Attempt] = set()
        self._lost = False
        self._leased_until = math.inf
        self._stop_listening = bus.listen(self._hear)

    @property
    def leased(self) -> bool:
        """Whether nobody can have declared this worker gone by now."""
        return not self._lost and elapsed() < self._leased_until

    @property
    def free(self) -> int:
        if not self.leased:
            return 0
        taken = len(self._starting) + len(self._running)
        return min(self.slots - taken + self.recording, 2 * self.slots - taken)

    @property
    def in_hand(self) -> dict[str, "Attempt"]:
        """By job id what was started, and what may be started at any moment."""
        return {id.job_id: attempt for id, attempt in self._starting.items()} | self.attempts

    @property
    def running_types(self) -> set[str]:
        """Those of which an attempt has a slot. One whose end is only still being written has none."""
        running = (attempt for attempt in self._running if not attempt.has_ended)
        return {attempt.type for attempt in chain(self._starting.values(), running)}

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
        attempt = self._starting[claim.id] = Attempt(self, claim)
        answer = self.store.start_attempt(*claim.id, claim.type, worker=attempt.worker)
        answer.add_done_callback(lambda answer: self._begin(attempt, started, answer))

    async def stop(self, *, grace: float) -> None:
        """Waits up to `grace` seconds for what runs, then hands it back. Nothing new may be run meanwhile."""
        await self._all_ended(within=grace)
        self._interrupt_all(Interruption.STOPPING)
        await self._all_ended(within=PATIENCE + HAND_BACK_WITHIN)
        self._stop_listening()

    def end(self, attempt: "Attempt") -> None:
        """There is nothing left to do of this attempt."""
        self._running.discard(attempt)
        if self.attempts.get(attempt.job_id) is attempt:
            del self.attempts[attempt.job_id]
        self.freed.set()

    def lease(self, *, until: float) -> None:
        """Nobody declares this worker gone before then (`elapsed`)."""
        self._leased_until = until
        self.freed.set()

    def lose(self) -> None:
        """This worker was declared gone: others run what it ran. Stops it all, and runs no more until `go_on`."""
        self._lost = True
        self._interrupt_all(Interruption.LOST)

    def go_on(self, new_worker_id: str) -> None:
        """Under a new id, which is registered: nobody takes it for gone."""
        self.worker_id = new_worker_id
        self._lost = False
        self.freed.set()

    def _begin(self, attempt: "Attempt", started: Callable[[], None], answer: Answer) -> None:
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
            self._running.add(attempt)
            attempt.begin(job)
            return
        self.freed.set()

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
                while self._starting or self._running:
                    self.freed.clear()
                    await self.freed.wait()
