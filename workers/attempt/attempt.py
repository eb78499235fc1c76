"""One attempt of a job, from start to end.

Invariants: nothing runs before its `started` is durable; a handler's word counts only while the job has this attempt and this
worker (every append is guarded by `seq`, every effect by `Context.store`); whatever a handler does, its slot is free again once it
has ended, or has had its time to stop, and its attempt ends in the log. An attempt that is not recorded as ended by us is ended
by somebody else: a cancel, a rescue.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from enum import Enum, IntEnum, auto
from typing import Any

import structlog
from pydantic import ValidationError

from events import job as rules
from events.bus import Change
from events.database import DATABASE_ERRORS, Database
from events.job import JSON, Job, JobError, NotAllowed, Status
from events.writes import Decision
from workers.attempt.failures import error_from
from workers.attempt.outcome_json import as_json
from workers.attempt.progress import ProgressReports
from workers.attempt.runner import Runner, Stuck
from workers.delivery.wire import Claim
from workers.job_type import Payload
from workers.outcomes import AttemptOver, Final, GiveUp

log = structlog.get_logger(__name__)
PATIENCE = 2.0  # seconds that a canceled handler has to stop, before it counts as stuck

STILL_MINE = """
select 1 from jobs where id = :job_id and attempt = :attempt and worker = :worker and status = 'processing'
"""


class Interruption(IntEnum):
    """Why a running handler is stopped from outside. Of those that come together the first in this order counts."""

    OVER = 1  # canceled, or moved on to another attempt
    TIMEOUT = 2  # the deadline of the attempt has passed
    STOPPING = 3  # the worker is stopping
    LOST = 4  # the worker was declared gone


class Lost(Exception):
    """Nothing may be recorded: the worker was declared gone."""


class Phase(Enum):
    """How far an attempt is."""

    STARTING = auto()
    STARTED = auto()  # the log says so
    HANDLING = auto()
    TOLD = auto()  # the handler was told to stop
    ENDED = auto()  # the handler has ended, or is waited for no longer


class Attempt:
    """One attempt in this process's hands. One task runs its handler and then records how that ended; to stop the handler is to
    cancel the task. Where the handler does not listen, the end is recorded by another, and the first records nothing any more."""

    task: asyncio.Task[None]
    job: Job
    """The job as last written here. There is none before the attempt was started."""

    def __init__(self, runner: Runner, claim: Claim) -> None:
        self.runner = runner
        self.id = claim.id
        self.job_id, self.number = claim.id
        self.type = claim.type
        self.worker = runner.worker_id
        self.reports: ProgressReports | None = None
        self._type = runner.job_types[claim.type]
        self._phase = Phase.STARTING
        self._interruption: Interruption | None = None
        self._heard = 0  # the newest seq that was told of before we knew our own
        self._doubted = False  # whether something was heard since the log was last asked
        self._asking: asyncio.Task[None] | None = None
        self._deadlines = runner.deadlines[claim.type]
        self._patience: asyncio.TimerHandle | None = None  # once it was told to stop
        self._result: JSON = None
        self._error: BaseException | None = asyncio.CancelledError()

    @property
    def has_ended(self) -> bool:
        """Whether its handler runs no more, or is waited for no longer."""
        return self._phase is Phase.ENDED

    def begin(self, job: Job) -> None:
        """Runs the attempt: `job` was started for it."""
        self.job = job
        self._phase = Phase.STARTED
        self.task = asyncio.create_task(self._run())

    def interrupt(self, why: Interruption) -> None:
        """Stops the handler. What comes after its end changes nothing."""
        if self._phase is Phase.ENDED:
            return
        self._interruption = why if self._interruption is None else min(why, self._interruption)
        if self._phase is Phase.HANDLING:
            # Not this very moment: a handler that has what it was waiting for may end by itself.
            asyncio.get_running_loop().call_soon(self._tell)

    def time_out(self) -> None:
        self.interrupt(Interruption.TIMEOUT)

    def hear(self, change: Change) -> None:
        """Somebody else may have moved the job on. Our own events come back over the bus too, and they are not newer than we
        know. The log is asked before anything is stopped, because whoever reaches Redis can announce what is not so."""
        if (change.attempt, change.status) == (self.number, Status.PROCESSING):
            return
        if self._phase is Phase.STARTING:
            self._heard = max(self._heard, change.seq)
        elif self._phase is not Phase.ENDED and change.seq > self.job.seq:
            self._doubted = True
            if self._asking is None or self._asking.done():
                self._asking = asyncio.create_task(self._ask_the_log())

    async def _ask_the_log(self) -> None:
        while self._doubted and self._phase is not Phase.ENDED:
            self._doubted = False
            if not await self._is_still_ours():
                self.interrupt(Interruption.OVER)

    async def _is_still_ours(self) -> bool:
        """As far as the log can be asked; while it is away nothing is stopped, and the next write or heartbeat finds out."""
        values = {"job_id": self.job_id, "attempt": self.number, "worker": self.worker}
        try:
            return await self.runner.resources.database.fetch_val(STILL_MINE, values) is not None
        except DATABASE_ERRORS:
            return True

    async def append(self, decide: Decision) -> Job:
        self.job = await self.runner.store.append(self.job, decide, actor=f"worker:{self.worker}")
        return self.job

    async def _run(self) -> None:
        """The story of an attempt that was started: do, record."""
        if self._heard > self.job.seq and not await self._is_still_ours():
            self.interrupt(Interruption.OVER)
        if not self.runner.leased or self._interruption is Interruption.LOST:
            # Nothing has been done yet: a rescue would count an attempt for it, and end for good what costs money.
            self._interruption = Interruption.STOPPING
        elif self._interruption is None and not await self._handle():
            return
        await self._record()

    async def _handle(self) -> bool:
        """Runs the handler to its end. False where that came too late."""
        self._phase = Phase.HANDLING
        self._deadlines.add(self)
        result: JSON = None
        error: BaseException | None = None
        try:
            result = as_json(await self._type.run(RunContext(self), self._payload()))
        except (SystemExit, KeyboardInterrupt) as raised:
            # asyncio would let these end the whole worker.
            error = TriedToExit(f"the handler raised {raised!r}")
            error.__cause__ = raised
        except BaseException as raised:
            error = raised
        if self._phase is Phase.ENDED:
            return False
        if self._phase is Phase.HANDLING and self._interruption in (Interruption.STOPPING, Interruption.TIMEOUT):
            # What is done is done: it is recorded, though the worker is stopping, or the deadline has passed at that moment.
            self._interruption = None
        self._phase = Phase.ENDED
        self._deadlines.remove(self)
        if self._patience is not None:
            self._patience.cancel()
        if self.task.cancelling():
            await _shake_off(self.task)
        self._result, self._error = result, error
        return True

    def _payload(self) -> Payload:
        try:
            payload: Payload = self._type.payload.model_validate(self.job.payload)
        except ValidationError as error:
            fields = [
                ".".join(map(str, problem["loc"])) for problem in error.errors(include_url=False, include_input=False)[:10]
            ]
            raise InvalidPayload(f"the stored payload is not one of this job type: see {', '.join(fields)}") from error
        return payload

    def _tell(self) -> None:
        """Tells the handler to stop, if it still runs."""
        if self._phase is not Phase.HANDLING:
            return
        self._phase = Phase.TOLD
        self.task.cancel()
        self._deadlines.remove(self)
        self._patience = asyncio.get_running_loop().call_later(PATIENCE, self._give_up)

    def _give_up(self) -> None:
        """The handler swallows its cancellation: its attempt ends without it."""
        self._phase = Phase.ENDED
        log.error("handler swallows its cancellation", job_id=self.job.id, attempt=self.number, type=self.type)
        self.runner.stuck[self.task] = Stuck(self.job.id, self.number, self.type, time.monotonic())
        self.task.add_done_callback(self.runner.stuck.pop)
        self.task = asyncio.create_task(self._record())

    async def _record(self) -> None:
        """Writes how the attempt ended. Its slot may be used by another meanwhile."""
        self._phase = Phase.ENDED
        self.runner.recording += 1
        self.runner.freed.set()
        try:
            ended = await self._end()
            if ended.status is not Status.COMPLETED:  # The history says so; a line for each would cost more than the attempt.
                name = ended.error and ended.error.name
                log.info(
                    "attempt ended", job_id=ended.id, attempt=self.number, type=ended.type, status=ended.status, error=name
                )
        except NotAllowed as refusal:
            now = refusal.job
            log.info("attempt is over", job_id=now.id, attempt=self.number, status=now.status, now_in_attempt=now.attempt)
        except Lost:
            log.warning("attempt lost: the worker was declared gone", job_id=self.job.id, attempt=self.number)
        except Exception as error:
            log.error("attempt not recorded: it will be rescued", job_id=self.job.id, attempt=self.number, exc_info=error)
        finally:
            self.runner.recording -= 1
            if self._asking is not None:
                self._asking.cancel()
            self.runner.end(self)

    async def _end(self) -> Job:
        if self._interruption is Interruption.LOST:
            if self.reports is not None:
                self.reports.drop()
            raise Lost
        if self.reports is not None:
            await self.reports.finish()
        match self._interruption:
            case Interruption.STOPPING:
                return await self._hand_back()
            case Interruption.TIMEOUT:
                message = f"the attempt did not end within {self._type.deadline:g} seconds"
                return await self._fail(JobError("Timeout", message), retry=True)
            case _:
                return await self._record_outcome()

    async def _hand_back(self) -> Job:
        handed_back = await self.append(lambda job: rules.hand_back(job, attempt=self.number, worker=self.worker))
        self.runner.tell(handed_back)
        return handed_back

    async def _record_outcome(self) -> Job:
        """How the handler ended becomes the attempt's end. After a cancel this is refused, which is how we learn of it."""
        match self._error:
            case None:
                return await self.append(
                    lambda job: rules.complete(job, attempt=self.number, worker=self.worker, result=self._result)
                )
            case asyncio.CancelledError():
                return await self._fail(JobError("CancelledError", "the handler was cancelled from within"), retry=True)
            case GiveUp() as error:
                reason = error_from(error).message
                return await self.append(lambda job: rules.give_up(job, attempt=self.number, worker=self.worker, reason=reason))
            case error:
                return await self._fail(error_from(error), retry=not isinstance(error, Final))

    async def _fail(self, error: JobError, *, retry: bool) -> Job:
        retry_in = self._type.backoff.after(self.number) if retry else None
        return await self.append(
            lambda job: rules.fail(job, attempt=self.number, worker=self.worker, error=error, retry_in=retry_in)
        )


class RunContext:
    """The `Context` that a handler is handed."""

    def __init__(self, attempt: Attempt) -> None:
        self.job_id = attempt.job_id
        self.attempt = attempt.number
        self.user_id = attempt.job.user_id
        self.resources = attempt.runner.resources
        self._attempt = attempt

    @property
    def database(self) -> Database:
        return self.resources.database

    async def progress(self, result: JSON) -> None:
        if self._attempt.reports is None:
            self._attempt.reports = ProgressReports(self._attempt)
        await self._attempt.reports.report(result)

    @contextlib.asynccontextmanager
    async def store(self) -> AsyncIterator[None]:
        async with self.database.transaction():
            yield
            values = {"job_id": self.job_id, "attempt": self.attempt, "worker": self._attempt.worker}
            if await self.database.fetch_val(STILL_MINE, values) is None:
                raise AttemptOver(f"attempt {self.attempt} of job {self.job_id} is over: its effects were not stored")


class InvalidPayload(Final):
    """The stored payload is not one of this job type: it was queued by another version."""


class TriedToExit(Final):
    """A handler does not decide that the process ends."""


async def _shake_off(task: asyncio.Task[Any]) -> None:
    """The handler was told to stop, and that may still be on its way: it is nothing to what its task does after it."""
    while task.uncancel():
        pass
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.sleep(0)
