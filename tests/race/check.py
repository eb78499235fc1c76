"""Checks the rows of the log by a second implementation of the rules.

It uses nothing of `events/job.py`, so that a mistake there is not repeated here. A number such as
"3:" in a violation is a number of the list "What must always hold" in docs/architecture.md.
"""

import json
from collections.abc import AsyncIterator
from datetime import datetime
from itertools import pairwise
from typing import Any

from events.database import Connection, Record

EVENTS = """
select job_id, seq, attempt, type, data::text, actor, request_id, cause, at from job_events order by job_id, seq
"""
VIEW = """
select id, type, status, payload::text, result::text, error::text, user_id, attempt, max_attempts, worker, seq, run_at,
    started_at, finished_at, created_at, updated_at
from jobs
"""

NEXT = {
    ("queued", "started"): "processing",
    ("queued", "canceled"): "canceled",
    ("processing", "queued"): "queued",
    ("processing", "progress"): "processing",
    ("processing", "completed"): "completed",
    ("processing", "failed"): "failed",
    ("processing", "canceled"): "canceled",
    ("failed", "queued"): "queued",
    ("canceled", "queued"): "queued",
}
ENDS = ("completed", "failed", "canceled")

Row = Record
State = dict[str, Any]


async def what_is_wrong(connection: Connection) -> tuple[list[str], dict[str, int]]:
    """Finds violations of the invariants 2, 3, 4, 6 and 7 in one snapshot of the whole log.

    Also returns how many events have each request id.
    """
    wrong: list[str] = []
    requests: dict[str, int] = {}
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        shown = {row["id"]: row for row in await connection.fetch(VIEW)}
        async for job_id, history in _history_by_history(connection):
            wrong += judged(job_id, history, shown.pop(job_id, None))
            for row in history:
                requests[row["request_id"]] = requests.get(row["request_id"], 0) + 1
        wrong += [f"3: {job_id} is in the view but has no events" for job_id in shown]
    return wrong, requests


def judged(job_id: str, history: list[Row], shown: Row | None) -> list[str]:
    """Finds violations in one job: in its events, in order of `seq`, and in its row."""
    wrong = [*_numbers(history), *_ends(history), *_attempts(history), *_speakers(history), *_causes(history)]
    try:
        state = told(history)
    except (KeyError, ValueError, TypeError) as error:
        return [f"{each}: {job_id}" for each in (*wrong, f"3: the events cannot be folded: {error!r}")]
    if shown is None:
        return [f"{each}: {job_id}" for each in (*wrong, "3: the job is not in the view")]
    as_shown = {name: _value(name, value) for name, value in shown.items()}
    differ = [
        f"3: {name} is {as_shown[name]!r} in the view, but {state[name]!r} by the log"
        for name in state
        if as_shown[name] != state[name]
    ]
    return [f"{each}: {job_id}" for each in (*wrong, *differ)]


def told(history: list[Row]) -> State:
    """Returns the row that the view should have according to the events.

    Raises `KeyError` if an event is not allowed in its place.
    """
    state: State = {}
    for row in history:
        data, kind, at = json.loads(row["data"]), row["type"], row["at"]
        if not state:
            state = {
                "id": row["job_id"], "type": data["type"], "payload": data["payload"], "user_id": data["userId"],
                "error": None, "created_at": at,
            }  # fmt: skip
        else:
            state["status"] = NEXT[state["status"], kind]
        state |= {"seq": row["seq"], "attempt": row["attempt"], "updated_at": at} | _said(kind, data, at)
    return state


def _said(kind: str, data: dict[str, Any], at: datetime) -> State:
    match kind:
        case "queued":
            return {
                "status": "queued", "max_attempts": data["maxAttempts"], "run_at": datetime.fromisoformat(data["runAt"]),
                "result": None, "worker": None, "started_at": None, "finished_at": None,
            }  # fmt: skip
        case "started":
            return {"worker": data["worker"], "started_at": at}
        case "progress":
            return {"result": data["result"]}
        case "completed":
            return {"result": data["result"], "error": None, "worker": None, "finished_at": at}
        case "failed":
            return {"error": data["error"], "worker": None, "finished_at": None if data["willRetry"] else at}
        case "canceled":
            return {"worker": None, "finished_at": at}
        case _:
            raise ValueError(f"{kind} is none of the six events")


def _value(name: str, value: Any) -> Any:
    return json.loads(value) if name in ("payload", "result", "error") and value is not None else value


def _numbers(history: list[Row]) -> list[str]:
    return [] if [row["seq"] for row in history] == list(range(1, len(history) + 1)) else ["2: seq has gaps"]


def _ends(history: list[Row]) -> list[str]:
    wrong = []
    ends = [row["attempt"] for row in history if row["type"] in ENDS]
    if len(ends) != len(set(ends)):
        wrong.append("4: an attempt has two ends")
    for row, following in pairwise(history):
        if row["type"] in ENDS and (following["type"], following["attempt"]) != ("queued", row["attempt"] + 1):
            wrong.append(f"4: after the end at seq {row['seq']} comes {following['type']}, attempt {following['attempt']}")
        if row["type"] == "completed":
            wrong.append(f"4: an event follows completed at seq {row['seq']}")
        if following["at"] < row["at"]:
            wrong.append(f"times run backwards at seq {following['seq']}")
    return wrong


def _attempts(history: list[Row]) -> list[str]:
    started = [row["attempt"] for row in history if row["type"] == "started"]
    wrong = ["6: an attempt was started twice"] if len(started) != len(set(started)) else []
    for row in history:
        if row["type"] == "queued" and row["attempt"] > json.loads(row["data"])["maxAttempts"]:
            wrong.append(f"6: attempt {row['attempt']} is more than maxAttempts at seq {row['seq']}")
    return wrong


def _speakers(history: list[Row]) -> list[str]:
    wrong = []
    worker_of = {row["attempt"]: "worker:" + json.loads(row["data"])["worker"] for row in history if row["type"] == "started"}
    for row in history:
        kind, actor, attempt = row["type"], row["actor"], row["attempt"]
        if kind == "queued" and json.loads(row["data"])["reason"] == "worker_shutdown":
            kind, attempt = "hand-back", attempt - 1
        by_somebody_else = kind == "failed" and not actor.startswith("worker:")
        if kind in ("started", "progress", "completed", "failed", "hand-back") and not by_somebody_else:
            expected = worker_of.get(attempt)
            if actor != expected:
                wrong.append(f"7: {kind} at seq {row['seq']} was written by {actor}, but {expected} runs the attempt")
    return wrong


def _causes(history: list[Row]) -> list[str]:
    wrong = []
    for row in history:
        follows = row["type"] == "queued" and json.loads(row["data"])["reason"] in ("retry", "worker_lost", "manual_retry")
        expected = f"{row['job_id']}/{row['seq'] - 1}" if follows else None
        if row["cause"] != expected:
            wrong.append(f"the cause of {row['type']} at seq {row['seq']} is {row['cause']}, and should be {expected}")
    return wrong


async def _history_by_history(connection: Connection) -> AsyncIterator[tuple[str, list[Row]]]:
    history: list[Row] = []
    async for row in connection.cursor(EVENTS, prefetch=2000):
        if history and history[0]["job_id"] != row["job_id"]:
            yield history[0]["job_id"], history
            history = []
        history.append(row)
    if history:
        yield history[0]["job_id"], history
