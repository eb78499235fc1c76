"""The rules of a job: the events that may happen to it, and its state after them.

Everything here is pure: no clock, no I/O, no randomness. A decision (`start`, `cancel`, …) takes a job as the caller last
read it, and returns the events to append, or raises `NotAllowed`. `evolve` returns the job after one more event; to fold a
history is to call `evolve` for each of its events. The live view, the past states, the rebuild and the verification all use
this one `evolve`, so a stored word ("queued", "willRetry") must never change its meaning. `Recorded` and `Job` are created
for every event. They are named tuples, which are immutable like frozen dataclasses, and several times faster to create.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import Any, Literal, NamedTuple, assert_never

from events.audit_findings import FindingName

JSON = Any
"""A JSON value: dict, list, str, int, float, bool or None."""

Reason = Literal["new", "retry", "manual_retry", "worker_lost", "worker_shutdown"]
NO_DELAY = timedelta(0)


class Status(StrEnum):
    QUEUED = "queued"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELED = "canceled"


ACTIVE = frozenset({Status.QUEUED, Status.PROCESSING})
RETRYABLE = frozenset({Status.FAILED, Status.CANCELED})
ENDED = frozenset({Status.COMPLETED, Status.FAILED, Status.CANCELED})


@dataclass(frozen=True, slots=True)
class JobError:
    """The error of an attempt: a name for programs, a message for people, maybe a stack trace."""

    name: str
    message: str
    stack: str | None = None

    def to_json(self) -> dict[str, JSON]:
        """Returns `{name, message, stack}`."""
        return {"name": self.name, "message": self.message, "stack": self.stack}


@dataclass(frozen=True, slots=True)
class Queued:
    """An attempt was queued. It may run once `delay` has passed since this event.

    `type`, `payload`, `user_id` and `unique_key` are set only in the first event of a job.
    """

    reason: Reason
    max_attempts: int
    delay: timedelta = NO_DELAY
    type: str | None = None
    payload: JSON = None
    user_id: str | None = None
    unique_key: str | None = None

    def run_at(self, at: datetime) -> datetime:
        """Returns the earliest time at which the attempt may run, if the event's time is `at`."""
        return at + self.delay if self.delay else at


@dataclass(frozen=True, slots=True)
class Started:
    worker: str


@dataclass(frozen=True, slots=True)
class Progress:
    result: JSON


@dataclass(frozen=True, slots=True)
class Completed:
    result: JSON


@dataclass(frozen=True, slots=True)
class Failed:
    error: JobError
    will_retry: bool


@dataclass(frozen=True, slots=True)
class Canceled:
    reason: str


Event = Queued | Started | Progress | Completed | Failed | Canceled


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A row of the log that the service cannot have written.

    It can be shown, but `evolve` refuses it. `data` is the stored JSON, or the stored text if it is not JSON. `why` says what
    is wrong with the data.
    """

    type: str
    data: JSON
    why: str


class Recorded(NamedTuple):
    """An event with its job, `seq`, attempt, actor and time: one row of `job_events`.

    `request_id` is the id of the HTTP request that wrote the event. `cause` names an earlier event (`<job id>/<seq>`) or an
    outside trigger (`schedule:…`, `webhook:…`). Both may be None.
    """

    job_id: str
    seq: int
    attempt: int
    event: Event | Unreadable
    actor: str
    at: datetime
    position: int | None = None
    request_id: str | None = None
    cause: str | None = None


class Job(NamedTuple):
    """The state of a job after its event number `seq`: one row of the view `jobs`."""

    id: str
    type: str
    status: Status
    payload: JSON
    result: JSON
    error: JobError | None
    user_id: str | None
    attempt: int
    max_attempts: int
    worker: str | None
    seq: int
    run_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    created_at: datetime
    updated_at: datetime


class NotAllowed(Exception):
    """The state of the job forbids the action. `job` is its current state."""

    def __init__(self, action: str, job: Job) -> None:
        super().__init__(f"cannot {action} job {job.id}: it is {job.status} in attempt {job.attempt}")
        self.action = action
        self.job = job


def queue(
    *,
    job_type: str,
    payload: JSON,
    user_id: str | None,
    max_attempts: int,
    delay: timedelta = NO_DELAY,
    unique_key: str | None = None,
) -> list[Event]:
    """Creates a job: returns its first event."""
    return [Queued("new", max_attempts, delay, job_type, payload, user_id, unique_key)]


# Every decision below returns the events to append, and raises `NotAllowed` when the state of the job forbids it.


def start(job: Job, *, attempt: int, worker: str) -> list[Event]:
    """Starts the queued attempt on a worker."""
    if job.status is not Status.QUEUED or job.attempt != attempt:
        raise NotAllowed("start", job)
    return [Started(worker)]


def progress(job: Job, *, attempt: int, worker: str, result: JSON) -> list[Event]:
    """Records an intermediate result of the running attempt."""
    _must_run_this_attempt("report progress of", job, attempt, worker)
    return [Progress(result)]


def complete(job: Job, *, attempt: int, worker: str, result: JSON) -> list[Event]:
    """Completes the job, because the running attempt has succeeded."""
    _must_run_this_attempt("complete", job, attempt, worker)
    return [Completed(result)]


def fail(job: Job, *, attempt: int, worker: str, error: JobError, retry_in: timedelta | None) -> list[Event]:
    """Fails the running attempt, and queues the next attempt if there is one.

    There is one if `retry_in` is given and the job has attempts left. Both events belong to one write, so that no reader
    takes a failure with a retry for the end of the job.
    """
    _must_run_this_attempt("fail", job, attempt, worker)
    return _failed(job, error, retry_in, "retry")


def cancel(job: Job, *, reason: str) -> list[Event]:
    """Cancels an active job because a user asked for it, whichever attempt it is in."""
    if job.status not in ACTIVE:
        raise NotAllowed("cancel", job)
    return [Canceled(reason)]


def give_up(job: Job, *, attempt: int, worker: str, reason: str) -> list[Event]:
    """Cancels the job because the handler of its running attempt gives it up."""
    _must_run_this_attempt("cancel", job, attempt, worker)
    return [Canceled(reason)]


def retry(job: Job) -> list[Event]:
    """Queues one more attempt of a failed or canceled job because a user asked for it.

    The attempt is allowed even when `max_attempts` is reached, because this adds one to
    `max_attempts`.
    """
    if job.status not in RETRYABLE:
        raise NotAllowed("retry", job)
    return [Queued("manual_retry", job.max_attempts + 1)]


def hand_back(job: Job, *, attempt: int, worker: str) -> list[Event]:
    """Queues the job again for its stopping worker, so that another worker runs it at once.

    This spends no attempt, because it also adds one to `max_attempts`.
    """
    _must_run_this_attempt("hand back", job, attempt, worker)
    return [Queued("worker_shutdown", job.max_attempts + 1)]


def rescue(job: Job, *, attempt: int, worker: str, error: JobError, retry_in: timedelta | None) -> list[Event]:
    """Fails the running attempt, because its worker is gone.

    Queues the next attempt like `fail`. `retry_in` is None if the job type allows no retry after a lost worker.
    """
    _must_run_this_attempt("rescue", job, attempt, worker)
    return _failed(job, error, retry_in, "worker_lost")


def force_fail(job: Job, *, error: JobError) -> list[Event]:
    """Fails a running attempt that does not end by itself, because an admin asked for it."""
    if job.status is not Status.PROCESSING:
        raise NotAllowed("force-fail", job)
    return [Failed(error, will_retry=False)]


def _must_run_this_attempt(action: str, job: Job, attempt: int, worker: str) -> None:
    """Raises `NotAllowed` unless this worker is running this attempt of the job.

    This is the fence against a worker that writes after its attempt has ended.
    """
    if job.status is not Status.PROCESSING or job.attempt != attempt or job.worker != worker:
        raise NotAllowed(action, job)


def _failed(job: Job, error: JobError, retry_in: timedelta | None, reason: Reason) -> list[Event]:
    if retry_in is None or job.attempt >= job.max_attempts:
        return [Failed(error, will_retry=False)]
    return [Failed(error, will_retry=True), Queued(reason, job.max_attempts, retry_in)]


HAS_A_CAUSE = frozenset({"retry", "worker_lost", "manual_retry"})
"""The reasons of a `queued` event that the event before it has caused.

A new job may have a cause outside its own history (`NewJob.cause`). A worker's shutdown is no event.
"""


def cause_of(event: Event, before: Job) -> str | None:
    """Returns the cause of an event that follows others of its job.

    Returns None if no event caused it.

    An automatic retry and a rescue follow from the failure before them, a manual retry from the job's last event.
    """
    if isinstance(event, Queued) and event.reason in HAS_A_CAUSE:
        return event_name(before.id, before.seq)
    return None


def event_name(job_id: str, seq: int) -> str:
    """Returns the name of an event as a cause holds it: `<job id>/<seq>`."""
    return f"{job_id}/{seq}"


class BrokenHistory(Exception):
    """A recorded event that no decision could have produced after the events before it.

    `name` classifies the fault, and `job_id` and `seq` say where the event stands.
    """

    def __init__(
        self, detail: str, name: FindingName = FindingName.MODIFIED, job_id: str | None = None, seq: int | None = None
    ) -> None:
        super().__init__(detail)
        self.name = name
        self.job_id = job_id
        self.seq = seq


def evolve(job: Job | None, recorded: Recorded) -> Job:
    """Returns the job after one more event; `job` is None before the first event.

    Raises `BrokenHistory`.
    """
    event, at = recorded.event, recorded.at
    if isinstance(event, Unreadable):
        raise BrokenHistory(event.why, FindingName.MODIFIED, recorded.job_id, recorded.seq)
    if job is None:
        return _created(recorded, event)
    _must_follow(job, recorded, event)
    result, error, worker, max_attempts = job.result, job.error, None, job.max_attempts
    run_at, started_at, finished_at = job.run_at, job.started_at, job.finished_at
    match event:
        case Queued():
            status, result, max_attempts = Status.QUEUED, None, event.max_attempts
            run_at, started_at, finished_at = event.run_at(at), None, None
        case Started():
            status, worker, started_at = Status.PROCESSING, event.worker, at
        case Progress():
            status, worker, result = job.status, job.worker, event.result
        case Completed():
            status, result, error, finished_at = Status.COMPLETED, event.result, None, at
        case Failed():
            status, error, finished_at = Status.FAILED, event.error, None if event.will_retry else at
        case Canceled():
            status, finished_at = Status.CANCELED, at
        case _:
            assert_never(event)
    return Job(
        job.id, job.type, status, job.payload, result, error, job.user_id, recorded.attempt, max_attempts, worker, recorded.seq,
        run_at, started_at, finished_at, job.created_at, at,
    )  # fmt: skip


def fold(history: Iterable[Recorded]) -> Job | None:
    """Returns the job after all events of `history`, which is in order of `seq`.

    Returns None if there are no events. Raises `BrokenHistory`.
    """
    job: Job | None = None
    for recorded in history:
        job = evolve(job, recorded)
    return job


def _created(recorded: Recorded, event: Event) -> Job:
    if (
        not isinstance(event, Queued)
        or event.type is None
        or event.reason != "new"
        or event.max_attempts < 1
        or (recorded.seq, recorded.attempt) != (1, 1)
    ):
        name = FindingName.SEQ_GAP if recorded.seq > 1 else FindingName.ILLEGAL_TRANSITION
        detail = f"job {recorded.job_id} begins with {word(event)} at seq {recorded.seq}"
        raise BrokenHistory(detail, name, recorded.job_id, recorded.seq)
    return Job(
        id=recorded.job_id, type=event.type, status=Status.QUEUED, payload=event.payload, result=None, error=None,
        user_id=event.user_id, attempt=1, max_attempts=event.max_attempts, worker=None, seq=1,
        run_at=event.run_at(recorded.at), started_at=None, finished_at=None, created_at=recorded.at, updated_at=recorded.at,
    )  # fmt: skip


MAY_FOLLOW: dict[Status, tuple[type[Event], ...]] = {
    Status.QUEUED: (Started, Canceled),
    Status.PROCESSING: (Queued, Progress, Completed, Failed, Canceled),
    Status.FAILED: (Queued,),
    Status.CANCELED: (Queued,),
    Status.COMPLETED: (),
}
"""The events that may follow each state (docs/architecture.md).

`evolve` refuses every other event.
"""


def _must_follow(job: Job, recorded: Recorded, event: Event) -> None:
    next_attempt = job.attempt + 1 if isinstance(event, Queued) else job.attempt
    if (
        recorded.seq != job.seq + 1
        or recorded.attempt != next_attempt
        or not isinstance(event, MAY_FOLLOW[job.status])
        or recorded.at < job.updated_at
        or (isinstance(event, Queued) and not _may_be_queued_again(job, event))
        or (isinstance(event, Failed) and event.will_retry and job.attempt >= job.max_attempts)
    ):
        raise BrokenHistory(
            f"job {job.id}: {word(event)} (seq {recorded.seq}, attempt {recorded.attempt}) may not follow"
            f" {job.status} (seq {job.seq}, attempt {job.attempt})",
            _what_is_wrong(job, recorded),
            job.id,
            recorded.seq,
        )


def _what_is_wrong(job: Job, recorded: Recorded) -> FindingName:
    if recorded.seq > job.seq + 1:
        return FindingName.SEQ_GAP
    if recorded.seq <= job.seq:
        return FindingName.INSERTED
    return FindingName.BACKDATED if recorded.at < job.updated_at else FindingName.ILLEGAL_TRANSITION


def _may_be_queued_again(job: Job, event: Queued) -> bool:
    match event.reason:
        case "retry" | "worker_lost":
            # A failed job has no `finished_at` only if its failure is followed by a retry.
            expected = job.status is Status.FAILED and job.finished_at is None, job.max_attempts
        case "manual_retry":
            expected = job.finished_at is not None, job.max_attempts + 1
        case "worker_shutdown":
            expected = job.status is Status.PROCESSING, job.max_attempts + 1
        case _:
            return False
    return expected == (True, event.max_attempts) and event.type is None


_WORDS: dict[type[Event], str] = {
    Queued: "queued",
    Started: "started",
    Progress: "progress",
    Completed: "completed",
    Failed: "failed",
    Canceled: "canceled",
}
EVENT_TYPES = tuple(_WORDS.values())


def word(event: Event | Unreadable) -> str:
    """Returns the stored type of the event: one of `EVENT_TYPES`, unless it is unreadable."""
    return event.type if isinstance(event, Unreadable) else _WORDS[type(event)]


@lru_cache(maxsize=64)  # most jobs of a batch have the same time
def rfc3339(time: datetime) -> str:
    """Formats a time by RFC 3339 in UTC with microseconds: "2026-11-23T09:00:00.000000Z"."""
    return time.astimezone(UTC).isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"
