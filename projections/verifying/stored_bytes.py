"""A fast check that the history of a job is sound, and that the job's row in the view agrees with it.

It compares stored bytes and integers, and builds no event and no job. It accepts a history only if `histories.py` would find no
fault in it. `histories.py` folds every other history: most have a fault, and the rest are sound but unusual.
`tests/projections/test_stored_bytes.py` looks for a history that is accepted here and has a fault there.

Times are integers: microseconds since 2000-01-01T00:00:00Z. JSON is the stored bytes.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

import orjson

from events.job import JSON

SECOND = 1_000_000
EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
FIRST, LAST = -(10**9) * SECOND, 250 * 10**9 * SECOND  # between the years 1968 and 9922, which have four digits
TIME = 27  # characters of a time
NEW_KEYS = ["reason", "runAt", "maxAttempts", "type", "payload", "userId"]
AGAIN_KEYS = ["reason", "runAt", "maxAttempts"]
RESULT = len(b'{"result":')
ERROR = len(b'{"error":')
ERROR_KEYS = ["name", "message", "stack"]
WILL_RETRY = {True: len(b',"willRetry":true}'), False: len(b',"willRetry":false}')}
NULL = b"null"

HasKey = Callable[[str, JSON, str | None], str | None]
"""Gives the unique key of a job whose first event holds none, from its type, payload and user."""


class _Refused(Exception):
    """The history is unusual, or has a fault."""


class Histories:
    """Checks histories one after another. `unique_key` is the rule of the job types."""

    def __init__(self, unique_key: HasKey) -> None:
        self._unique_key = unique_key

    def accepts(self, shown: Any, history: Any) -> bool:
        """Returns True only if the history is sound and the view's row agrees with it.

        `shown` has the columns of `ranges.VIEW`, and each row of `history` those of `ranges.EVENTS`.
        """
        if len(history) != shown[10]:
            return False
        try:
            state = self._first(shown, history[0])
            for place in range(1, len(history)):
                _next(state, place + 1, history[place])
        except (_Refused, ValueError, TypeError, KeyError, orjson.JSONEncodeError):
            return False
        return state.agrees_with(shown)

    def _first(self, shown: Any, row: Any) -> "_State":
        _, seq, attempt, kind, data, _, at = row
        if seq != 1 or attempt != 1 or kind != "queued":
            raise _Refused
        found = _read(data)
        keys = list(found)
        key = None
        if keys != NEW_KEYS and (keys != [*NEW_KEYS, "uniqueKey"] or type(key := found["uniqueKey"]) is not str):
            raise _Refused
        user_id, job_type = found["userId"], found["type"]
        if found["reason"] != "new" or job_type != shown[1] or user_id != shown[6] or type(job_type) is not str:
            raise _Refused
        in_view = shown[16]
        if key is None:
            if in_view is not None and in_view != self._unique_key(job_type, found["payload"], user_id):
                raise _Refused
        elif in_view != key:
            raise _Refused
        # The data are as orjson writes them, so the payload in them is as orjson writes it too.
        if orjson.dumps(found["payload"]) != shown[3]:
            raise _Refused
        state = _State()
        state.created = state.last = _in_range(at)
        state.run_at = _run_at(found["runAt"], at)
        state.max_attempts = _whole(found["maxAttempts"])
        if state.max_attempts < 1:
            raise _Refused
        return state


class _State:
    """The state of a job after some of its events."""

    __slots__ = (
        "attempt", "created", "error", "finished", "last", "max_attempts", "result", "run_at", "started", "status", "worker",
    )  # fmt: skip

    def __init__(self) -> None:
        self.status = "queued"
        self.attempt = 1
        self.result = NULL
        self.error: bytes | None = None
        self.worker: str | None = None  # as an actor: `worker:<id>`
        self.started: int | None = None
        self.finished: int | None = None
        self.max_attempts = self.run_at = self.created = self.last = 0

    def agrees_with(self, shown: Any) -> bool:
        _, _, status, _, result, error, _, attempt, max_attempts, worker, _, run_at, started, finished, created, updated, _ = (
            shown
        )
        return (
            status == self.status
            and attempt == self.attempt
            and max_attempts == self.max_attempts
            and run_at == self.run_at
            and started == self.started
            and finished == self.finished
            and created == self.created
            and updated == self.last
            and (NULL if result is None else result) == self.result
            and error == self.error
            and (None if worker is None else f"worker:{worker}") == self.worker
        )


def _next(state: _State, place: int, row: Any) -> None:
    _, seq, attempt, kind, data, actor, at = row
    if seq != place or at < state.last or at > LAST:
        raise _Refused
    if kind == "queued":
        _queued_again(state, attempt, data, actor, at)
    elif attempt != state.attempt:
        raise _Refused
    elif kind == "started":
        if state.status != "queued" or data != _started_by(actor):
            raise _Refused
        state.status, state.worker, state.started = "processing", actor, at
    elif kind in {"completed", "progress"}:
        if state.status != "processing" or actor != state.worker or list(_read(data)) != ["result"]:
            raise _Refused
        state.result = data[RESULT:-1]
        if kind == "completed":
            state.status, state.worker, state.error, state.finished = "completed", None, None, at
    elif kind == "failed":
        _failed(state, data, actor, at)
    elif kind == "canceled":
        found = _read(data)
        if state.status not in ("queued", "processing") or list(found) != ["reason"] or type(found["reason"]) is not str:
            raise _Refused
        state.status, state.worker, state.finished = "canceled", None, at
    else:
        raise _Refused
    state.last = at


def _failed(state: _State, data: bytes, actor: str, at: int) -> None:
    found = _read(data)
    will_retry = found["willRetry"]
    if (
        state.status != "processing"
        or (actor != state.worker and actor.startswith("worker:"))
        or list(found) != ["error", "willRetry"]
        or type(will_retry) is not bool
        or (will_retry and state.attempt >= state.max_attempts)
    ):
        raise _Refused
    error = found["error"]
    if list(error) != ERROR_KEYS or type(error["name"]) is not str or type(error["message"]) is not str:
        raise _Refused
    if error["stack"] is not None and type(error["stack"]) is not str:
        raise _Refused
    state.status, state.worker = "failed", None
    state.error = data[ERROR : -WILL_RETRY[will_retry]]
    state.finished = None if will_retry else at


def _queued_again(state: _State, attempt: int, data: bytes, actor: str, at: int) -> None:
    found = _read(data)
    if attempt != state.attempt + 1 or list(found) != AGAIN_KEYS:
        raise _Refused
    most, reason = _whole(found["maxAttempts"]), found["reason"]
    if reason in ("retry", "worker_lost"):
        fits = state.status == "failed" and state.finished is None and most == state.max_attempts
    elif reason == "manual_retry":
        fits = state.finished is not None and state.status != "completed" and most == state.max_attempts + 1
    else:
        fits = (
            reason == "worker_shutdown"
            and state.status == "processing"
            and actor == state.worker
            and most == state.max_attempts + 1
        )
    if not fits:
        raise _Refused
    state.status, state.attempt, state.max_attempts = "queued", attempt, most
    state.run_at = _run_at(found["runAt"], at)
    state.result, state.worker, state.started, state.finished = NULL, None, None, None


def _read(data: bytes) -> dict[str, JSON]:
    """Parses data that are exactly as orjson writes them. Otherwise raises `ValueError` or `_Refused`."""
    found = orjson.loads(data)
    if type(found) is not dict or orjson.dumps(found) != data:
        raise _Refused
    return found


def _whole(value: JSON) -> int:
    if type(value) is not int:
        raise _Refused
    return value


def _in_range(at: int) -> int:
    if not FIRST <= at <= LAST:
        raise _Refused
    return at


def _run_at(text: JSON, at: int) -> int:
    """Returns the time in microseconds, if it is written as the service writes it."""
    if text == _text(at):
        return at
    if type(text) is not str or len(text) != TIME:
        raise _Refused
    time: int = (datetime.fromisoformat(text) - EPOCH) // timedelta(microseconds=1)
    if not FIRST <= time <= LAST or _text(time) != text:
        raise _Refused
    return time


def _text(time: int) -> str:
    second, microsecond = divmod(time, SECOND)
    return f"{_second(second)}.{microsecond:06d}Z"


@lru_cache(maxsize=4096)
def _second(second: int) -> str:
    return (EPOCH + timedelta(seconds=second)).replace(tzinfo=None).isoformat()


@lru_cache(maxsize=4096)
def _started_by(actor: str) -> bytes | None:
    """Returns the data of `started` as this actor writes them, or None if the actor is not a worker."""
    return orjson.dumps({"worker": actor.removeprefix("worker:")}) if actor.startswith("worker:") else None
