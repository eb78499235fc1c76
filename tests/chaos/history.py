"""Computes a job from its events, and reports what the contract does not allow.

This is a second implementation of the fold, written from docs/architecture.md alone. It shares no
line with the service's rules, so a difference between the two shows a mistake.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import orjson

State = dict[str, Any]
"""A job as in the JSON of the API: keys in camelCase, times as text."""


class Event(NamedTuple):
    """A row of the log. `data` is already parsed."""

    job_id: str
    seq: int
    attempt: int
    type: str
    data: dict[str, Any]
    actor: str
    at: datetime
    position: int | None = None


class Violation(NamedTuple):
    """A broken promise of the service.

    `invariant` is its number in docs/architecture.md, or a word if the promise has no number.
    """

    invariant: int | str
    job_id: str | None
    detail: str


MAY_FOLLOW: Mapping[str, frozenset[str]] = {
    "nothing": frozenset({"queued"}),
    "queued": frozenset({"started", "canceled"}),
    "processing": frozenset({"queued", "progress", "completed", "failed", "canceled"}),
    "failed": frozenset({"queued"}),
    "canceled": frozenset({"queued"}),
    "completed": frozenset(),
}


class Folded:
    """Computes one job from its events, which `add` takes one by one.

    `state` is the job after the events so far. `violations` lists what the contract does not allow.
    """

    def __init__(self, job_id: str) -> None:
        self.job_id = job_id
        self.state: State = {}
        self.violations: list[Violation] = []
        self._status = "nothing"
        self._seq = 0
        self._attempt = 0
        self._runner: str | None = None  # the worker that wrote the attempt's `started`
        self._started: set[int] = set()
        self._last: Event | None = None

    def add(self, event: Event) -> None:
        self._check_place(event)
        match event.type:
            case "queued":
                self._queued(event)
            case "started":
                self._started_(event)
            case "progress" | "completed":
                self._result(event)
            case "failed":
                self._failed(event)
            case "canceled":
                self._canceled(event)
            case _:
                self._complain(4, f"seq {event.seq}: there is no event {event.type!r}")
        self.state |= {"status": self._status, "seq": event.seq, "updatedAt": text(event.at)}
        self._seq = event.seq
        self._last = event

    def end(self) -> None:
        """Checks that the last event is not a failure with `willRetry`.

        Call it after all events.
        """
        if self._last is not None and self._last.type == "failed" and self._last.data.get("willRetry"):
            self._complain(4, f"seq {self._last.seq}: failed and to be retried, but no event follows")

    @property
    def is_over(self) -> bool:
        """Whether the job has ended: completed, canceled, or failed without another attempt."""
        ended = self._status in ("completed", "canceled", "failed")
        return ended and not (self._last is not None and self._last.data.get("willRetry"))

    def _check_place(self, event: Event) -> None:
        if event.seq != self._seq + 1:
            self._complain(2, f"seq {event.seq} comes after seq {self._seq}")
        if event.type not in MAY_FOLLOW[self._status]:
            self._complain(4, f"seq {event.seq}: {event.type} is not allowed while the job is {self._status}")
        expected = self._attempt + 1 if event.type == "queued" else self._attempt
        if event.attempt != expected:
            self._complain(
                4, f"seq {event.seq}: {event.type} is of attempt {event.attempt}, but the job is in attempt {self._attempt}"
            )
        if self._last is not None and event.at < self._last.at:
            self._complain("time", f"seq {event.seq} is earlier than the event before it")
        retried = self._last is not None and self._last.type == "failed" and self._last.data.get("willRetry")
        if retried and (event.type, event.data.get("reason")) not in (("queued", "retry"), ("queued", "worker_lost")):
            self._complain(4, f"seq {event.seq}: {event.type} after a failure that is to be retried")

    def _queued(self, event: Event) -> None:
        data = event.data
        if self._seq == 0:
            self._created(event)
        else:
            self._check_reason(event)
        self._status, self._attempt, self._runner = "queued", event.attempt, None
        if event.attempt > data["maxAttempts"]:
            self._complain(6, f"seq {event.seq}: attempt {event.attempt} of {data['maxAttempts']}")
        self.state |= {
            "result": None, "startedAt": None, "finishedAt": None, "worker": None, "attempt": event.attempt,
            "maxAttempts": data["maxAttempts"], "runAt": data["runAt"],
        }  # fmt: skip

    def _created(self, event: Event) -> None:
        data = event.data
        if data.get("reason") != "new" or event.seq != 1 or not {"type", "payload", "userId"} <= data.keys():
            self._complain(1, f"the history begins with {event.type} ({data.get('reason')}) at seq {event.seq}")
        self.state |= {
            "id": event.job_id, "type": data.get("type"), "payload": data.get("payload"), "userId": data.get("userId"),
            "error": None, "createdAt": text(event.at),
        }  # fmt: skip

    def _check_reason(self, event: Event) -> None:
        reason, before = event.data.get("reason"), self._last
        more = event.data["maxAttempts"] - self.state["maxAttempts"]
        failed_before = before is not None and before.type == "failed" and before.data.get("willRetry")
        match reason:
            case "retry" | "worker_lost":
                same = before is not None and before.actor == event.actor
                allowed = bool(failed_before) and same and more == 0
            case "worker_shutdown":
                allowed = self._status == "processing" and more == 1
                if event.actor != f"worker:{self._runner}":
                    self._complain(7, f"seq {event.seq}: handed back by {event.actor}, but {self._runner} ran the attempt")
            case "manual_retry":
                allowed = self._status in ("failed", "canceled") and not failed_before and more == 1
                allowed = allowed and event.actor.startswith("user:")
            case _:
                allowed = False
        if not allowed:
            self._complain(
                4, f"seq {event.seq}: queued again ({reason}, {more:+} attempts, by {event.actor}) while {self._status}"
            )

    def _started_(self, event: Event) -> None:
        self._status, self._runner = "processing", event.data["worker"]
        if event.attempt in self._started:
            self._complain(6, f"seq {event.seq}: attempt {event.attempt} was started before")
        self._started.add(event.attempt)
        if event.actor != f"worker:{self._runner}":
            self._complain(7, f"seq {event.seq}: {event.actor} wrote that {self._runner} started the attempt")
        self.state |= {"worker": self._runner, "startedAt": text(event.at)}

    def _result(self, event: Event) -> None:
        self._must_be_the_runner(event)
        self.state["result"] = event.data["result"]
        if event.type == "completed":
            self._status = "completed"
            self.state |= {"error": None, "worker": None, "finishedAt": text(event.at)}

    def _failed(self, event: Event) -> None:
        if event.actor.startswith("worker:"):
            self._must_be_the_runner(event)
        elif event.actor != "system:rescue" and not event.actor.startswith("user:"):
            self._complain(7, f"seq {event.seq}: failed by {event.actor}")
        elif event.actor.startswith("user:") and event.data["willRetry"]:
            self._complain(7, f"seq {event.seq}: failed by {event.actor}, who may only end the job for good")
        self._status = "failed"
        ended = None if event.data["willRetry"] else text(event.at)
        self.state |= {"error": event.data["error"], "worker": None, "finishedAt": ended}

    def _canceled(self, event: Event) -> None:
        if not event.actor.startswith("user:"):
            self._must_be_the_runner(event)
        self._status = "canceled"
        self.state |= {"worker": None, "finishedAt": text(event.at)}

    def _must_be_the_runner(self, event: Event) -> None:
        if self._runner is None or event.actor != f"worker:{self._runner}":
            self._complain(7, f"seq {event.seq}: {event.type} by {event.actor}, but {self._runner} runs the attempt")

    def _complain(self, invariant: int | str, detail: str) -> None:
        self.violations.append(Violation(invariant, self.job_id, detail))


def fold(events: Sequence[Event]) -> Folded:
    """Computes a job from all its events."""
    folded = Folded(events[0].job_id)
    for event in events:
        folded.add(event)
    folded.end()
    return folded


def differences(folded: State, shown: State) -> list[str]:
    """Returns the fields in which a job shown to a client differs from the computed one.

    A missing stack is no difference, because only admins see it. The description is no state: the job's type makes it from
    the payload whenever it is asked.
    """
    return [
        f"{key} is {_short(shown.get(key))}, but {_short(folded.get(key))} by the log"
        for key in sorted((folded.keys() | shown.keys()) - {"description"})
        if not _same(key, folded.get(key), shown.get(key))
    ]


def highest_in_any_window(times: Iterable[float], seconds: float) -> int:
    """Returns the largest number of these times that lie within any period of `seconds`.

    Two times exactly `seconds` apart are not in one period.
    """
    ordered = sorted(times)
    most = first = 0
    for last, time in enumerate(ordered):
        while ordered[first] <= time - seconds:
            first += 1
        most = max(most, last - first + 1)
    return most


def text(time: datetime) -> str:
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _same(key: str, folded: Any, shown: Any) -> bool:
    if key == "error" and isinstance(folded, dict) and isinstance(shown, dict) and "stack" not in shown:
        folded = {name: value for name, value in folded.items() if name != "stack"}
    return _json(folded) == _json(shown)


def _json(value: Any) -> bytes:
    # The values are compared as JSON, because 1, 1.0 and True are equal in Python.
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def _short(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) < 120 else shown[:117] + "..."
