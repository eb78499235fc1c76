"""One attempt of a job, from start to end.

Invariants:

- A handler runs only after the `started` of its attempt is durable.
- A handler's result counts only while the job has this attempt and this worker: `seq` guards each
  append, and `Context.store` guards each effect.
- A slot is free again once its handler has ended, or `PATIENCE` seconds after the handler was told
  to stop.
- `ended` is called once for each attempt that was begun, after the last write about it.
- Each attempt ends in the log. If this worker does not write the end, a cancel or a rescue does.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from enum import Enum, IntEnum, auto
from typing import Any

import structlog
from pydantic import ValidationError

from events import job as rules
from events.bus import Change
from events.concurrency import Deadlines
from events.database import DATABASE_ERRORS
from events.job import JSON, Job, JobError, NotAllowed, Status
from events.writes import Decision
from workers.attempt.context import STILL_MINE, RunContext
from workers.attempt.failures import error_from
from workers.attempt.outcome_json import as_json
from workers.attempt.progress import ProgressReports
from workers.attempt.slots import Slots, StuckHandler
from workers.delivery.wire import Claim
from workers.job_type import JobType, Payload
from workers.outcomes import Final, GiveUp
from workers.resources import Resources

log = structlog.get_logger(__name__)

PATIENCE = 2.0  # seconds that a handler has to end after it was told to stop; later it counts as stuck

Send = Callable[[Job, Decision], Awaitable[Job]]
"""Appends the events of a decision to the log, in the worker's name.

Raises:
    NotAllowed: the job has ended or has another attempt.
"""


class Interruption(IntEnum):
    """Why a handler is stopped from outside.

    If there are several reasons, the one with the lowest number counts.
    """

    OVER = 1  # the job was canceled, or has another attempt
    TIMEOUT = 2  # the deadline of the attempt has passed
    STOPPING = 3  # the worker is stopping
    LOST = 4  # the worker was declared gone


class WorkerLost(Exception):
    """This worker was declared gone, so it may append nothing."""


class Phase(Enum):
    """How far an attempt has come."""

    STARTING = auto()  # its `started` is being written
    STARTED = auto()  # its `started` is durable
    HANDLING = auto()  # its handler runs
    TOLD = auto()  # its handler was told to stop
    ENDED = auto()  # its handler has ended, or counts as stuck


class Attempt:
    """One attempt that this process starts, runs and records.

    One task runs the handler and then records how it ended. Canceling the task stops the handler.
    If the handler ignores the cancellation, a second task records the end, and the first task
    records nothing.
    """

    task: asyncio.Task[None]
    job: Job
    """The job after the last append of this attempt. Unset until `begin`."""

    def __init__(
        self,
        claim: Claim,
        job_type: JobType[Any],
        *,
        worker: str,
        resources: Resources,
        slots: Slots,
        deadlines: "Deadlines[Attempt]",
        send: Send,
        handed_back: Callable[[Job], None],
        ended: "Callable[[Attempt], None]",
    ) -> None:
        """`send` appends to the log. `handed_back` and `ended` tell the worker what happened.

        The attempt calls `handed_back` with its job when any worker may start the job at once. It
        calls `ended` with itself, once, after its last write.
        """
        self.id = claim.id
        self.job_id, self.number = claim.id
        self.worker = worker
        self._job_type = job_type
        self._resources = resources
        self._slots = slots
        self._deadlines = deadlines
        self._send = send
        self._handed_back = handed_back
        self._ended = ended
        self.progress: ProgressReports | None = None
        self._phase = Phase.STARTING
        self._interruption: Interruption | None = None
        self._heard = 0  # the newest seq that the bus announced before `begin`
        self._doubted = False  # whether the bus has announced a change that was not yet compared with the log
        self._asking: asyncio.Task[None] | None = None
        self._patience: asyncio.TimerHandle | None = None  # set once the handler was told to stop
        self._result: JSON = None
        self._error: BaseException | None = asyncio.CancelledError()

    def begin(self, job: Job) -> None:
        """Starts the task that runs the attempt. `job` is the job after its event `started`."""
        self.job = job
        self._phase = Phase.STARTED
        self.task = asyncio.create_task(self._run())

    def interrupt(self, why: Interruption) -> None:
        """Stops the handler for the reason `why`, or keeps it from being called.

        Does nothing once the handler has ended.
        """
        if self._phase is Phase.ENDED:
            return
        self._interruption = why if self._interruption is None else min(why, self._interruption)
        if self._phase is Phase.HANDLING:
            # The handler is told to stop in the loop's next turn, because a handler that needs only
            # this turn ends by itself before.
            asyncio.get_running_loop().call_soon(self._tell)

    def time_out(self) -> None:
        self.interrupt(Interruption.TIMEOUT)

    def hear(self, change: Change) -> None:
        """Stops the handler if the bus announces that the job was canceled or restarted.

        Changes with an older `seq`, such as those of this attempt's own events, are ignored. The
        log is read before the handler is stopped, because anyone with access to Redis can announce
        a false change.
        """
        if (change.attempt, change.status) == (self.number, Status.PROCESSING):
            return
        if self._phase is Phase.STARTING:
            self._heard = max(self._heard, change.seq)
        elif self._phase is not Phase.ENDED and change.seq > self.job.seq:
            self._doubted = True
            if self._asking is None or self._asking.done():
                self._asking = asyncio.create_task(self._ask_the_log())

    async def report(self, result: JSON) -> None:
        """Appends progress to the log, throttled (`ProgressReports`)."""
        if self.progress is None:
            self.progress = ProgressReports(self._append_progress)
        await self.progress.report(result)

    def context(self) -> RunContext:
        """Returns the `Context` for the handler."""
        return RunContext(self.job, worker=self.worker, resources=self._resources, report=self.report)

    async def append(self, decide: Decision) -> Job:
        """Appends the events that `decide` returns. Returns the job after these events.

        Raises:
            NotAllowed: the job has ended or has another attempt.
        """
        self.job = await self._send(self.job, decide)
        return self.job

    async def _run(self) -> None:
        """Runs the handler, then records how it ended."""
        if self._heard > self.job.seq and not await self._is_still_ours():
            self.interrupt(Interruption.OVER)
        if self._interruption is Interruption.LOST:
            # The handler was not called yet. The job is handed back, because a rescue would use up
            # an attempt, and would fail a job that may not be retried after its worker was lost.
            self._interruption = Interruption.STOPPING
        elif self._interruption is None and not await self._handle():
            return
        await self._record()

    async def _ask_the_log(self) -> None:
        while self._doubted and self._phase is not Phase.ENDED:
            self._doubted = False
            if not await self._is_still_ours():
                self.interrupt(Interruption.OVER)

    async def _is_still_ours(self) -> bool:
        """Returns whether the job is still processing in this attempt and by this worker.

        Returns true if PostgreSQL is unreachable, because the next append or heartbeat finds out.
        """
        values = {"job_id": self.job_id, "attempt": self.number, "worker": self.worker}
        try:
            return await self._resources.database.fetch_val(STILL_MINE, values) is not None
        except DATABASE_ERRORS:
            return True

    async def _handle(self) -> bool:
        """Runs the handler to its end.

        Returns false if the handler counted as stuck, because another task has then recorded the
        attempt's end.
        """
        self._phase = Phase.HANDLING
        self._deadlines.add(self)
        result, error = await self._call_handler()
        if self._phase is Phase.ENDED:
            return False
        if self._phase is Phase.HANDLING and self._interruption in (Interruption.STOPPING, Interruption.TIMEOUT):
            # The handler ended before it was told to stop. Its result is recorded, because the work
            # is done.
            self._interruption = None
        self._phase = Phase.ENDED
        self._deadlines.remove(self)
        if self._patience is not None:
            self._patience.cancel()
        if self.task.cancelling():
            await _shake_off(self.task)
        self._result, self._error = result, error
        return True

    async def _call_handler(self) -> tuple[JSON, BaseException | None]:
        """Returns the result of the handler, or the exception that the handler raised."""
        try:
            return as_json(await self._job_type.run(self.context(), self._payload())), None
        except (SystemExit, KeyboardInterrupt) as raised:
            # These exceptions would end the whole worker, so the task must not raise them.
            error = TriedToExit(f"the handler raised {raised!r}")
            error.__cause__ = raised
            return None, error
        except BaseException as raised:
            return None, raised

    def _payload(self) -> Payload:
        try:
            payload: Payload = self._job_type.payload.model_validate(self.job.payload)
        except ValidationError as error:
            fields = [
                ".".join(map(str, problem["loc"])) for problem in error.errors(include_url=False, include_input=False)[:10]
            ]
            raise InvalidPayload(f"the stored payload does not fit this job type: see {', '.join(fields)}") from error
        return payload

    def _tell(self) -> None:
        """Tells the handler to stop, by cancelling its task, if it still runs."""
        if self._phase is not Phase.HANDLING:
            return
        self._phase = Phase.TOLD
        self.task.cancel()
        self._deadlines.remove(self)
        self._patience = asyncio.get_running_loop().call_later(PATIENCE, self._give_up)

    def _give_up(self) -> None:
        """Ends the attempt although its handler ignores its stop and continues."""
        self._phase = Phase.ENDED
        log.error(
            "handler ignores its cancellation and counts as stuck",
            job_id=self.job_id,
            attempt=self.number,
            type=self._job_type.name,
        )
        self._slots.keep_stuck(self.task, StuckHandler(self.job_id, self.number, self._job_type.name))
        self.task = asyncio.create_task(self._record())

    async def _record(self) -> None:
        """Writes the end of the attempt to the log. Another attempt may use the slot meanwhile."""
        self._phase = Phase.ENDED
        self._slots.record(self.id)
        try:
            ended = await self._end()
            # A completed attempt gets no log line, because the line would cost more than the
            # attempt. The job's history has the event.
            if ended.status is not Status.COMPLETED:
                name = ended.error and ended.error.name
                log.info(
                    "attempt ended", job_id=ended.id, attempt=self.number, type=ended.type, status=ended.status, error=name
                )
        except NotAllowed as refusal:
            now = refusal.job
            log.info(
                "attempt ended without effect: the job was canceled or has another attempt",
                job_id=now.id,
                attempt=self.number,
                status=now.status,
                now_in_attempt=now.attempt,
            )
        except WorkerLost:
            log.warning("attempt not recorded: this worker was declared gone", job_id=self.job_id, attempt=self.number)
        except Exception as error:
            log.error(
                "the end of an attempt cannot be written: the job will be rescued",
                job_id=self.job_id,
                attempt=self.number,
                exc_info=error,
            )
        finally:
            if self._asking is not None:
                self._asking.cancel()
            self._ended(self)

    async def _end(self) -> Job:
        if self._interruption is Interruption.LOST:
            if self.progress is not None:
                self.progress.drop()
            raise WorkerLost
        if self.progress is not None:
            await self.progress.finish()
        match self._interruption:
            case Interruption.STOPPING:
                return await self._hand_back()
            case Interruption.TIMEOUT:
                message = f"the attempt did not end within {self._job_type.deadline:g} seconds"
                return await self._fail(JobError("Timeout", message), retry=True)
            case _:
                return await self._record_outcome()

    async def _hand_back(self) -> Job:
        job = await self.append(lambda job: rules.hand_back(job, attempt=self.number, worker=self.worker))
        self._handed_back(job)
        return job

    async def _record_outcome(self) -> Job:
        """Appends the end of the attempt: completed, canceled or failed, as the handler ended.

        If the job was canceled before, the log refuses this end with `NotAllowed`.
        """
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
        retry_in = self._job_type.backoff.after(self.number) if retry else None
        return await self.append(
            lambda job: rules.fail(job, attempt=self.number, worker=self.worker, error=error, retry_in=retry_in)
        )

    async def _append_progress(self, result: JSON) -> None:
        try:
            await self.append(lambda job: rules.progress(job, attempt=self.number, worker=self.worker, result=result))
        except NotAllowed:
            self.interrupt(Interruption.OVER)


class InvalidPayload(Final):
    """The stored payload does not fit the job type: another version of it queued the job."""


class TriedToExit(Final):
    """The handler raised `SystemExit` or `KeyboardInterrupt`.

    A handler may not end the process.
    """


async def _shake_off(task: asyncio.Task[Any]) -> None:
    """Drops a cancellation that arrives after the handler has ended.

    It was meant for the handler, and would now cancel the write of the attempt's end.
    """
    while task.uncancel():
        pass
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.sleep(0)
