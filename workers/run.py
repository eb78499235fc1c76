"""One attempt of a job, from start to end.

Invariants: nothing runs before its `started` is durable; a handler's word counts only while the job has this attempt and this
worker (every append is guarded by `seq`, every effect by `Context.store`); whatever a handler does, its slot is free again once it
has ended, or has had its time to stop, and its attempt ends in the log. An attempt that is not recorded as ended by us is ended
by somebody else: a cancel, a rescue.
"""

import asyncio
import contextlib
import math
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from enum import Enum, IntEnum, auto
from itertools import chain
from typing import Any

import orjson
import structlog
from pydantic import ValidationError

from events import job as rules
from events.bus import Bus, Change
from events.database import DATABASE_ERRORS, Database
from events.deadlines import Deadlines
from events.elapsed import elapsed
from events.job import JSON, Job, JobError, NotAllowed, Status
from events.store import Answer, Decision, Store
from workers.deliver import AttemptId, Claim
from workers.failures import error_from
from workers.job_type import AttemptOver, Final, GiveUp, JobType, Payload
from workers.resources import Resources

log = structlog.get_logger(__name__)

PROGRESS_EVERY = 1.0  # seconds between two progress events of a job, after the first two
PATIENCE = 2.0  # seconds that a canceled handler has to stop, before it counts as stuck
HAND_BACK_WITHIN = 10.0  # seconds; what could not be handed back by then is rescued by somebody else
ROOM_FOR_WRAPPING = 10  # levels of nesting that events and answers put around a result: orjson writes no more than 254

STILL_MINE = """
select 1 from jobs where id = :job_id and attempt = :attempt and worker = :worker and status = 'processing'
"""


class Interruption(IntEnum):
    """Why a running handler is stopped from outside. Of those that come together the first in this order counts."""

    OVER = 1  # canceled, or moved on to another attempt
    TIMEOUT = 2  # the deadline of the attempt has passed
    STOPPING = 3  # the worker is stopping
    LOST = 4  # the worker was declared gone


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


class ProgressReports:
    """Progress on its way into the log: the first report and the first change at once, then at most one a second, and always
    the last. One append at a time."""

    def __init__(self, attempt: Attempt) -> None:
        self._attempt = attempt
        self._unsent: list[JSON] = []  # at most one: the newest
        self._appended = 0
        self._last_append = 0.0
        self._appending = asyncio.Lock()
        self._later: asyncio.Task[None] | None = None
        self._sending: asyncio.Future[None] | None = None

    async def report(self, result: JSON) -> None:
        self._unsent[:] = [as_json(result)]
        async with self._appending:
            if self._appended < 2 or self._wait <= 0:
                await self._append()
            elif self._later is None or self._later.done():
                self._later = asyncio.create_task(self._append_later())

    def drop(self) -> None:
        """Appends nothing more by itself."""
        self._unsent.clear()
        if self._later is not None:
            self._later.cancel()

    async def finish(self) -> None:
        """Appends what is left. A refusal is left to whoever records the end."""
        if self._later is not None:
            self._later.cancel()
            await asyncio.wait({self._later})
        async with self._appending:
            await self._append()

    @property
    def _wait(self) -> float:
        return self._last_append + PROGRESS_EVERY - time.monotonic()

    async def _append_later(self) -> None:
        while self._unsent:
            await asyncio.sleep(self._wait)
            async with self._appending:
                # A report that came just now may have been appended at once.
                if self._wait <= 0:
                    await self._append()

    async def _append(self) -> None:
        if self._sending is not None:
            await asyncio.wait({self._sending})
        if not self._unsent:
            return
        self._appended += 1
        self._last_append = time.monotonic()
        # Whoever waits for it may be cancelled: what was taken is sent all the same.
        self._sending = asyncio.ensure_future(self._send(self._unsent.pop()))
        await asyncio.shield(self._sending)

    async def _send(self, result: JSON) -> None:
        attempt = self._attempt
        try:
            await attempt.append(lambda job: rules.progress(job, attempt=attempt.number, worker=attempt.worker, result=result))
        except NotAllowed:
            attempt.interrupt(Interruption.OVER)


class InvalidPayload(Final):
    """The stored payload is not one of this job type: it was queued by another version."""


class TriedToExit(Final):
    """A handler does not decide that the process ends."""


class NotJSON(Final):
    """A handler's result or progress that JSON cannot hold."""


def as_json(value: Any) -> JSON:
    """A copy of `value` that holds only what JSON holds. Raises `NotJSON`."""
    wrapped = value
    for _ in range(ROOM_FOR_WRAPPING):
        wrapped = [wrapped]
    try:
        text = orjson.dumps(wrapped)[ROOM_FOR_WRAPPING:-ROOM_FOR_WRAPPING]
        if b"null" in text and _has_no_json_number(value):
            raise NotJSON(f"{type(value).__name__} holds a number that is not JSON: NaN or an infinity")
        return orjson.loads(text)
    except (TypeError, ValueError) as error:
        raise NotJSON(f"{type(value).__name__} is not JSON: {error}") from error


def _has_no_json_number(value: Any) -> bool:
    match value:
        case float():
            return not math.isfinite(value)
        case dict():
            return any(map(_has_no_json_number, value.values()))
        case list() | tuple():
            return any(map(_has_no_json_number, value))
    return False


async def _shake_off(task: asyncio.Task[Any]) -> None:
    """The handler was told to stop, and that may still be on its way: it is nothing to what its task does after it."""
    while task.uncancel():
        pass
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.sleep(0)
