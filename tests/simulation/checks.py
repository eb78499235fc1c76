"""Checks the invariants after every committed statement and every answer to a client.

It computes each job from its events by a second implementation of the fold. That implementation was
written from docs/architecture.md and uses nothing of `events/job.py`.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Never

import orjson

from tests.simulation.clock import EPOCH
from tests.simulation.loop import Process, VirtualLoop

ENDS = ("completed", "failed", "canceled")
# Reasons of `queued` that leave maxAttempts as it is. Every other reason raises maxAttempts by one.
SPENDS_AN_ATTEMPT = ("retry", "worker_lost")
FAILS_WHEN_ITS_WORKER_IS_LOST = "paid"  # the job type that is not retried when its worker is lost
STOPS_WITHIN = 5.0  # seconds from the end of an attempt within which its handler must stop: one heartbeat and a margin
HEARS_WITHIN = 2.0  # seconds within which a handler must stop after a cancel, if the bus loses no message
KNOWS_WITHIN = 10.0  # seconds within which a worker must notice that it was declared gone


class Violation(BaseException):
    """An invariant is broken.

    It is a `BaseException`, so that no `except Exception` of the code under simulation catches it.
    """


@dataclass(slots=True)
class Folded:
    """A job computed from its events.

    `ended` has the kind of end of each attempt, and `over_at` the virtual time of that end.
    """

    view: dict[str, Any]
    kind: str
    """The behaviour of the job's handler: a word of `KINDS` in `handlers.py`."""
    started_by: dict[int, str] = field(default_factory=dict)
    ended: dict[int, str] = field(default_factory=dict)
    over_at: dict[int, float] = field(default_factory=dict)


@dataclass(slots=True)
class Handler:
    process: Process
    deaf: bool
    since: float
    ended: bool = False


class Checks:
    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop
        self.jobs: dict[str, Folded] = {}
        self.accepted: set[str] = set()
        self.handlers: dict[tuple[str, int], Handler] = {}
        self.gone: dict[str, float] = {}
        self.left: set[str] = set()
        self.workers: dict[str, Process] = {}
        self._carried_out: set[str] = set()
        self._jobs_of_keys: dict[str, str] = {}

    def fail(self, what: str) -> Never:
        """Ends the run with a `Violation`. A call from any task ends it."""
        self._loop.failure = violation = Violation(what)
        raise violation

    def committed(self, row: dict[str, Any], events: list[dict[str, Any]]) -> None:
        """Checks a committed write: the job's new row of the view, and its new events."""
        for event in events:
            self._fold(event)
        folded = self.jobs.get(row["id"])
        if folded is None or not events:
            self.fail(f"job {row['id']}: its row of the view was written without an event")
        view = row | {"result": _json(row["result"]), "error": _json(row["error"])}
        self._must(
            view["status"] != "failed" or not _will_retry(events[-1]),
            events[-1],
            "a failure to be retried was committed without the `queued` that follows",
        )
        differs = {column: (view[column], value) for column, value in folded.view.items() if view[column] != value}
        if differs:
            self.fail(f"job {row['id']} at seq {row['seq']}: the view differs from the fold (view, fold): {differs}")
        request = events[0]["request_id"]
        if request is not None and request in self._carried_out:
            self.fail(f"request {request} was carried out twice: {_shown(events[0])}")
        self._carried_out.add(request)

    def _fold(self, event: dict[str, Any]) -> None:
        folded = self.jobs.get(event["job_id"])
        data = orjson.loads(event["data"])
        if folded is None:
            self._created(event, data)
            return
        view = folded.view
        self._must(event["seq"] == view["seq"] + 1, event, "the event's seq is not the next one of the job")
        self._must(event["at"] >= view["updated_at"], event, "time runs backwards")
        view["seq"], view["updated_at"] = event["seq"], event["at"]
        if event["type"] == "queued":
            self._queued(folded, event, data)
            return
        self._must(event["attempt"] == view["attempt"], event, "the event is of another attempt than the job")
        self._must(event["attempt"] not in folded.ended, event, "the event's attempt has ended before")
        if event["type"] == "started":
            self._started(folded, event, data)
        elif event["type"] == "canceled":
            self._must(view["status"] in ("queued", "processing"), event, f"the job is {view['status']}")
            self._ended(folded, event)
        else:
            self._must(view["status"] == "processing", event, f"the job is {view['status']}")
            self._by_whom(folded, event, data)
            self._worked(folded, event, data)

    def _created(self, event: dict[str, Any], data: Any) -> None:
        first = event["type"], event["seq"], event["attempt"], data["reason"]
        self._must(
            first == ("queued", 1, 1, "new"), event, "the first event must be `queued` with seq 1, attempt 1 and reason `new`"
        )
        at = event["at"]
        self.jobs[event["job_id"]] = Folded(
            {
                "id": event["job_id"], "type": data["type"], "status": "queued", "result": None, "error": None,
                "user_id": data["userId"], "attempt": 1, "max_attempts": data["maxAttempts"], "worker": None, "seq": 1,
                "run_at": _time(data["runAt"]), "started_at": None, "finished_at": None, "created_at": at, "updated_at": at,
            },
            data["payload"]["kind"],
        )  # fmt: skip

    def _queued(self, folded: Folded, event: dict[str, Any], data: Any) -> None:
        view, attempt, reason = folded.view, event["attempt"], data["reason"]
        expected = None if reason == "worker_shutdown" else f"{event['job_id']}/{event['seq'] - 1}"
        self._must(event["cause"] == expected, event, f"the event's cause is {event['cause']}")
        self._must(attempt == view["attempt"] + 1, event, "the event's attempt is not the next one of the job")
        spends = reason in SPENDS_AN_ATTEMPT
        self._must(data["maxAttempts"] == view["max_attempts"] + (not spends), event, "the event has the wrong maxAttempts")
        self._must(attempt <= data["maxAttempts"], event, "more attempts than allowed")
        if reason == "worker_shutdown":
            self._must(view["status"] == "processing", event, "handed back although no worker runs the job")
            self._must(
                event["actor"] == f"worker:{view['worker']}",
                event,
                "handed back by another worker than the one that runs the job",
            )
            folded.over_at[view["attempt"]] = self._loop.time()
        elif spends:
            self._must(folded.ended.get(view["attempt"]) == "to be retried", event, "an automatic retry after a final end")
        else:
            self._must(
                folded.ended.get(view["attempt"]) in ("failed", "canceled"), event, "a manual retry before the end of the job"
            )
        view |= {
            "status": "queued", "result": None, "worker": None, "attempt": attempt, "max_attempts": data["maxAttempts"],
            "run_at": _time(data["runAt"]), "started_at": None, "finished_at": None,
        }  # fmt: skip

    def _started(self, folded: Folded, event: dict[str, Any], data: Any) -> None:
        self._must(folded.view["status"] == "queued", event, f"the job is {folded.view['status']}")
        self._must(event["attempt"] not in folded.started_by, event, "the attempt was started before")
        self._must(
            event["actor"] == f"worker:{data['worker']}", event, "the event's actor is not the worker that the event names"
        )
        worker = data["worker"]
        unaware_since = max(self.gone.get(worker, self._loop.time()), self.workers[worker].trouble_at)
        self._must(
            self._loop.time() <= unaware_since + KNOWS_WITHIN, event, "the worker should know by now that it was declared gone"
        )
        folded.started_by[event["attempt"]] = data["worker"]
        folded.view |= {"status": "processing", "worker": data["worker"], "started_at": event["at"]}

    def _by_whom(self, folded: Folded, event: dict[str, Any], data: Any) -> None:
        worker = folded.started_by[event["attempt"]]
        actor = event["actor"]
        if actor == f"worker:{worker}":
            by_itself = folded.kind == "cancels itself" or event["type"] != "failed"
            self._must(
                by_itself or data["error"]["name"] != "CancelledError",
                event,
                "a handler's cancellation was written as a failure",
            )
            return
        self._must(
            event["type"] == "failed" and actor.startswith(("system:rescue", "user:")),
            event,
            f"{actor} may not write this event",
        )
        if actor == "system:rescue" and data["error"]["name"] == "WorkerLost":
            self._must(worker in self.gone, event, "the rescue wrote this event although the worker was not declared gone")
            costly = folded.view["type"] == FAILS_WHEN_ITS_WORKER_IS_LOST
            self._must(
                not (costly and data["willRetry"]), event, "a job type that costs money is retried after its worker was lost"
            )
            process = self.workers[worker]
            handed_back = worker in self.left and process.trouble_at < process.asked_to_stop_at
            self._must(not handed_back, event, "the rescue wrote this event although the worker had time to hand the job back")

    def _worked(self, folded: Folded, event: dict[str, Any], data: Any) -> None:
        view = folded.view
        if event["type"] == "progress":
            view["result"] = data["result"]
            return
        self._ended(folded, event, will_retry=data.get("willRetry", False))
        if event["type"] == "failed":
            view["error"] = data["error"]
        else:
            view |= {"result": data["result"], "error": None}

    def _ended(self, folded: Folded, event: dict[str, Any], *, will_retry: bool = False) -> None:
        view, attempt = folded.view, event["attempt"]
        folded.ended[attempt] = "to be retried" if will_retry else event["type"]
        folded.over_at[attempt] = self._loop.time()
        view |= {"status": event["type"], "worker": None, "finished_at": None if will_retry else event["at"]}

    def _must(self, holds: bool, event: dict[str, Any], what: str) -> None:
        if not holds:
            self.fail(f"{event['type']}: {what}: {_shown(event)}")

    def acknowledged(self, job_id: str, key: str | None) -> None:
        """Records that a client was told the job is queued, and checks that the job exists."""
        self.accepted.add(job_id)
        if job_id not in self.jobs:
            self.fail(f"job {job_id} was accepted and does not exist")
        if key is not None and self._jobs_of_keys.setdefault(key, job_id) != job_id:
            self.fail(f"idempotency key {key} was answered with jobs {self._jobs_of_keys[key]} and {job_id}")

    def cancel_acknowledged(self, job_id: str, attempt: int, status: str) -> None:
        if status != "canceled" or self.jobs[job_id].ended.get(attempt) != "canceled":
            self.fail(f"job {job_id}: its cancel was acknowledged, but attempt {attempt} is {status}")

    def handler_began(self, job_id: str, attempt: int, worker: str, handler: Handler) -> None:
        if self.jobs[job_id].started_by.get(attempt) != worker:
            self.fail(f"job {job_id}: the handler of attempt {attempt} runs, but the log has no `started` of {worker}")
        if (job_id, attempt) in self.handlers:
            self.fail(f"job {job_id}: a second handler was started for attempt {attempt}")
        self.handlers[job_id, attempt] = handler

    def handler_returned(self, job_id: str, handler: Handler, deadline: float) -> None:
        """Checks that a handler that returned by itself did so before its deadline.

        This does not hold for a handler that ignores cancellation, or whose process had a fault.
        """
        took = self._loop.time() - handler.since
        excused = handler.deaf or handler.process.trouble_at >= handler.since
        if took > deadline + 0.5 and not excused:
            self.fail(f"job {job_id}: its handler ran for {took:.1f} s; its deadline is {deadline:g} s")

    def effect_committed(self, job_id: str, attempt: int, checked: tuple[str, int, float] | None) -> None:
        """Checks the rows that a handler stored in the transaction of `context.store()`.

        `checked` is the attempt that this transaction found processing, and the time at which it
        looked.
        """
        folded = self.jobs[job_id]
        if checked is None or checked[:2] != (job_id, attempt):
            self.fail(f"job {job_id}: an effect of attempt {attempt} was committed without the check of the attempt")
        if attempt not in folded.started_by or folded.over_at.get(attempt, checked[2]) < checked[2]:
            self.fail(f"job {job_id}: an effect of attempt {attempt} was committed after the attempt had ended")

    def declared_gone(self, worker: str, process: Process, last_seen: datetime) -> None:
        self.gone[worker] = self._loop.time()
        excused = process.dead or process.frozen or process.trouble_at >= (last_seen - EPOCH).total_seconds()
        if not excused:
            self.fail(f"worker {worker} was declared gone, last seen {last_seen}, although no fault had hit its process")

    def said_goodbye(self, worker: str) -> None:
        self.gone[worker] = self._loop.time()
        self.left.add(worker)

    def check_no_handler_outlives_its_attempt(self, calm_since: float, *, bus: bool) -> None:
        """Checks that no handler still runs long after the end of its attempt.

        After a fault of its process, a handler has more time. `bus` says whether the bus reaches
        every process.
        """
        now = self._loop.time()
        for (job_id, attempt), handler in self.handlers.items():
            over_at = self.jobs[job_id].over_at.get(attempt)
            listens = not (handler.ended or handler.deaf or handler.process.dead)
            if over_at is None or not listens:
                continue
            canceled_in_calm = self.jobs[job_id].ended.get(attempt) == "canceled" and over_at > calm_since
            longest = HEARS_WITHIN if bus and canceled_in_calm else STOPS_WITHIN
            if now > max(over_at, calm_since, handler.process.trouble_at) + longest:
                self.fail(f"job {job_id}: the handler of attempt {attempt} still runs, {now - over_at:.0f} s after its end")

    def unended(self) -> list[str]:
        """Describes each job that has not ended, in one text."""
        return [
            f"job {id} is {folded.view['status']} in attempt {folded.view['attempt']} of {folded.view['max_attempts']}"
            for id, folded in self.jobs.items()
            if folded.ended.get(folded.view["attempt"]) not in ENDS
        ]


def _shown(event: dict[str, Any]) -> dict[str, Any]:
    return {name: event[name] for name in ("job_id", "seq", "attempt", "type", "actor", "data")}


def _will_retry(event: dict[str, Any]) -> bool:
    return event["type"] == "failed" and bool(orjson.loads(event["data"])["willRetry"])


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _json(text: str | None) -> Any:
    return None if text is None else orjson.loads(text)
