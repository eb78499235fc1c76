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
import traceback
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import orjson
import structlog
from pydantic import ValidationError

from events import job as rules
from events.bus import Bus, Change
from events.database import Database
from events.elapsed import elapsed
from events.job import JSON, Job, JobError, NotAllowed, Status
from events.store import Decision, Store
from workers.job_type import AttemptOver, Final, GiveUp, JobType
from workers.resources import Resources

log = structlog.get_logger(__name__)

PROGRESS_EVERY = 1.0  # seconds between two progress events of a job, after the first two
PATIENCE = 2.0  # seconds that a canceled handler has to stop, before it counts as stuck
HAND_BACK_WITHIN = 10.0  # seconds; what could not be handed back by then is rescued by somebody else
LONGEST_MESSAGE = 2_000  # characters of an error's message that are kept
LONGEST_STACK = 16_000
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
        self.stuck: dict[asyncio.Task[JSON], Stuck] = {}
        self.freed = asyncio.Event()
        """Set when a slot becomes free."""
        self._tasks: dict[asyncio.Task[None], Attempt] = {}
        self._recording = 0
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
        return min(self.slots - len(self._tasks) + self._recording, 2 * self.slots - len(self._tasks))

    @property
    def running_types(self) -> set[str]:
        return {attempt.job.type for attempt in self.attempts.values()}

    def run(self, job: Job, *, started: Callable[[], None]) -> None:
        """Runs the attempt that `job` is queued for. Calls `started` as soon as its `started` is durable or refused: from
        then on nobody needs to be told that the job waits. A worker that may be gone starts nothing, and leaves it to others."""
        if not self.leased:
            return
        other = self.attempts.get(job.id)
        if other is not None and other.number == job.attempt:
            # A second delivery. Redis excludes nobody, so this happens.
            started()
            return
        attempt = self.attempts[job.id] = Attempt(self, job)
        if other is not None:
            other.interrupt(Interruption.OVER)
        task = asyncio.create_task(self._run(attempt, started))
        self._tasks[task] = attempt
        task.add_done_callback(self._free)

    async def stop(self, *, grace: float) -> None:
        """Waits up to `grace` seconds for what runs, then hands it back. Nothing new may be run meanwhile."""
        await self._all_ended(within=grace)
        for attempt in list(self.attempts.values()):
            attempt.interrupt(Interruption.STOPPING)
        await self._all_ended(within=PATIENCE + HAND_BACK_WITHIN)
        self._stop_listening()

    def started(self) -> dict[str, "Attempt"]:
        """The attempts whose `started` is durable, by job id."""
        return {id: attempt for id, attempt in self.attempts.items() if attempt.job.status is Status.PROCESSING}

    @contextlib.contextmanager
    def recording(self) -> Iterator[None]:
        """Around what is left to do of an attempt whose handler has ended."""
        self._recording += 1
        self.freed.set()
        try:
            yield
        finally:
            self._recording -= 1

    def lease(self, *, until: float) -> None:
        """Nobody declares this worker gone before then (`elapsed`)."""
        self._leased_until = until
        self.freed.set()

    def lose(self) -> None:
        """This worker was declared gone: others run what it ran. Stops it all, and runs no more until `go_on`."""
        self._lost = True
        for attempt in list(self.attempts.values()):
            attempt.interrupt(Interruption.LOST)

    def go_on(self, new_worker_id: str) -> None:
        """Under a new id, which is registered: nobody takes it for gone."""
        self.worker_id = new_worker_id
        self._lost = False
        self.freed.set()

    def _hear(self, change: Change) -> None:
        attempt = self.attempts.get(change.job_id)
        if attempt is not None and (change.attempt, change.status) != (attempt.number, Status.PROCESSING):
            attempt.interrupt_if_older_than(change)

    async def _all_ended(self, *, within: float) -> None:
        if self._tasks and within > 0:
            await asyncio.wait(set(self._tasks), timeout=within)

    def _free(self, task: asyncio.Task[None]) -> None:
        attempt = self._tasks.pop(task)
        self.freed.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("attempt not recorded: it will be rescued", job_id=attempt.job.id, attempt=attempt.number, exc_info=error)

    async def _run(self, attempt: "Attempt", started: Callable[[], None]) -> None:
        """The story of an attempt: start, do, record."""
        job = attempt.job
        try:
            try:
                await attempt.start()
            finally:
                started()
            ended = await attempt.run()
            if ended.status is Status.COMPLETED:
                # The history says so; a line for each would cost more than the attempt.
                log.debug("attempt completed", job_id=job.id, attempt=job.attempt, type=job.type)
            else:
                name = ended.error and ended.error.name
                log.info("attempt ended", job_id=job.id, attempt=job.attempt, type=job.type, status=ended.status, error=name)
        except NotAllowed as refusal:
            now = refusal.job
            log.info("attempt is over", job_id=job.id, attempt=job.attempt, status=now.status, now_in_attempt=now.attempt)
        except Lost:
            log.warning("attempt lost: the worker was declared gone", job_id=job.id, attempt=job.attempt, type=job.type)
        finally:
            if self.attempts.get(attempt.job.id) is attempt:
                del self.attempts[attempt.job.id]


class Lost(Exception):
    """Nothing may be recorded: the worker was declared gone."""


class Attempt:
    """One attempt in this process's hands. `job` is the job as last written here."""

    def __init__(self, runner: Runner, job: Job) -> None:
        self.runner = runner
        self.job = job
        self.number = job.attempt
        self.worker = runner.worker_id
        self._type = runner.job_types[job.type]
        self._interruption: Interruption | None = None
        self._over = asyncio.get_running_loop().create_future()

    def interrupt(self, why: Interruption) -> None:
        """Stops the handler. What comes after it was told so changes nothing."""
        self._interruption = why if self._interruption is None else min(why, self._interruption)
        self._end_wait()

    def interrupt_if_older_than(self, change: Change) -> None:
        """Somebody else moved the job on. Our own events come back over the bus too, and they are not newer than we know."""
        if change.seq > self.job.seq:
            self.interrupt(Interruption.OVER)

    async def append(self, decide: Decision) -> Job:
        self.job = await self.runner.store.append(self.job, decide, actor=f"worker:{self.worker}")
        return self.job

    async def start(self) -> None:
        """Raises `NotAllowed` where the job does not wait for this attempt any more."""
        await self.append(lambda job: rules.start(job, attempt=self.number, worker=self.worker))

    async def run(self) -> Job:
        """Runs the handler and records how it ended. Raises `NotAllowed` where somebody else has ended the attempt."""
        if not self.runner.leased or self._interruption is Interruption.LOST:
            # Nothing has been done yet: a rescue would count an attempt for it, and end for good what costs money.
            return await self._hand_back()
        progress = ProgressReports(self)
        context = RunContext(self, progress)
        handler: asyncio.Task[JSON] = asyncio.create_task(self._handle(context))
        why = await self._wait_for(handler)
        if not await _stopped(handler):
            self._report_stuck(handler)
        with self.runner.recording():
            return await self._end(handler, why, progress)

    async def _end(self, handler: asyncio.Task[JSON], why: Interruption | None, progress: "ProgressReports") -> Job:
        if why is Interruption.LOST:
            progress.drop()
            raise Lost
        await progress.finish()
        match why:
            case Interruption.STOPPING:
                return await self._hand_back()
            case Interruption.TIMEOUT:
                message = f"the attempt did not end within {self._type.deadline:g} seconds"
                return await self._fail(JobError("Timeout", message), retry=True)
            case _:
                return await self._record(handler)

    async def _hand_back(self) -> Job:
        handed_back = await self.append(lambda job: rules.hand_back(job, attempt=self.number, worker=self.worker))
        self.runner.tell(handed_back)
        return handed_back

    async def _handle(self, context: "RunContext") -> JSON:
        try:
            payload = self._type.payload.model_validate(self.job.payload)
        except ValidationError as error:
            raise InvalidPayload(str(error)) from error
        try:
            return as_json(await self._type.run(context, payload))
        except (SystemExit, KeyboardInterrupt) as error:
            # asyncio would let these end the whole worker.
            raise TriedToExit(f"the handler raised {error!r}") from error

    async def _wait_for(self, handler: asyncio.Task[JSON]) -> Interruption | None:
        """Why the handler was stopped; None if it ended by itself."""
        # One future for the handler's end, the deadline and every interruption: `asyncio.wait` makes several.
        handler.add_done_callback(self._end_wait)
        deadline = asyncio.get_running_loop().call_later(self._type.deadline, self.interrupt, Interruption.TIMEOUT)
        try:
            await self._over
        finally:
            deadline.cancel()
        # What is done is done: it is recorded, though the worker is stopping, or the deadline has passed at that moment.
        if handler.done() and self._interruption in (None, Interruption.STOPPING, Interruption.TIMEOUT):
            return None
        handler.cancel()
        return self._interruption

    def _end_wait(self, _: object = None) -> None:
        if not self._over.done():
            self._over.set_result(None)

    async def _record(self, handler: asyncio.Task[JSON]) -> Job:
        """How the handler ended becomes the attempt's end. After a cancel this is refused, which is how we learn of it."""
        if not handler.done() or handler.cancelled():
            return await self._fail(JobError("CancelledError", "the handler was cancelled from within"), retry=True)
        error = handler.exception()
        match error:
            case None:
                result = handler.result()
                return await self.append(
                    lambda job: rules.complete(job, attempt=self.number, worker=self.worker, result=result)
                )
            case GiveUp():
                reason = error_from(error).message
                return await self.append(lambda job: rules.give_up(job, attempt=self.number, worker=self.worker, reason=reason))
            case _:
                return await self._fail(error_from(error), retry=not isinstance(error, Final))

    async def _fail(self, error: JobError, *, retry: bool) -> Job:
        retry_in = self._type.backoff.after(self.number) if retry else None
        return await self.append(
            lambda job: rules.fail(job, attempt=self.number, worker=self.worker, error=error, retry_in=retry_in)
        )

    def _report_stuck(self, handler: asyncio.Task[JSON]) -> None:
        log.error("handler swallows its cancellation", job_id=self.job.id, attempt=self.number, type=self.job.type)
        self.runner.stuck[handler] = Stuck(self.job.id, self.number, self.job.type, time.monotonic())
        handler.add_done_callback(self.runner.stuck.pop)


class RunContext:
    """The `Context` that a handler is handed."""

    def __init__(self, attempt: Attempt, progress: "ProgressReports") -> None:
        self.job_id = attempt.job.id
        self.attempt = attempt.number
        self.user_id = attempt.job.user_id
        self.resources = attempt.runner.resources
        self._worker = attempt.worker
        self._progress = progress

    @property
    def database(self) -> Database:
        return self.resources.database

    async def progress(self, result: JSON) -> None:
        await self._progress.report(result)

    @contextlib.asynccontextmanager
    async def store(self) -> AsyncIterator[None]:
        async with self.database.transaction():
            yield
            values = {"job_id": self.job_id, "attempt": self.attempt, "worker": self._worker}
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
        if not self._appended and not self._unsent:
            return
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


def error_from(error: BaseException) -> JobError:
    """An exception as it is kept: cut to a readable length, and only characters that PostgreSQL takes."""
    stack = "".join(traceback.format_exception(error))
    try:
        message = str(error)
    except BaseException as unprintable:
        message = f"its message cannot be printed: {type(unprintable).__name__}"
    return JobError(type(error).__name__, _readable(message, LONGEST_MESSAGE), _readable(stack, LONGEST_STACK))


def _readable(text: str, longest: int) -> str:
    text = text.encode("utf-8", "replace").decode().replace("\x00", "\ufffd")
    cut = f" … ({len(text)} characters)"
    return text if len(text) <= longest else text[: longest - len(cut)] + cut


async def _stopped(handler: asyncio.Task[JSON]) -> bool:
    """Waits for a handler that ended or was told to. False for one that does not listen."""
    if not handler.done():
        await asyncio.wait({handler}, timeout=PATIENCE)
    return handler.done()
