"""Folds the history of a job, and compares the result with the job's row in the view.

This comparison names every fault, and is slow. `stored_bytes.py` is the fast check that runs before it.
"""

import json
from collections import Counter
from collections.abc import AsyncIterator, Collection, Iterator
from typing import Any

import orjson

from events.audit_findings import FindingName
from events.database import Connection, Record
from events.history import job_from, recorded_from
from events.job import (
    JSON,
    BrokenHistory,
    Canceled,
    Completed,
    Failed,
    Job,
    JobError,
    Progress,
    Queued,
    Recorded,
    Started,
    Unreadable,
    evolve,
)
from events.statements import HISTORIES, JOB_COLUMNS
from events.stored import event_data
from events.writes import BrokenView
from projections.rebuild import UniqueKey
from projections.verifying.findings import Finding

LONGEST_VALUE = 200  # characters of a value that a finding quotes

VIEW = f"select {JOB_COLUMNS}, unique_key from jobs where $1::uuid[] is null or id = any($1) order by id"


async def side_by_side(
    connection: Connection, job_ids: list[str] | None
) -> AsyncIterator[tuple[str, list[Record], Record | None]]:
    """Yields each job's id, its rows in the log (maybe none), and its row in the view or None.

    Reads the log and the view in order of job id through cursors, because a log may be larger than memory.
    """
    view = aiter(connection.cursor(VIEW, job_ids, prefetch=1000))
    shown = await anext(view, None)
    async for history in _job_by_job(connection, job_ids):
        job_id = history[0]["job_id"]
        while shown is not None and shown["id"] < job_id:
            yield shown["id"], [], shown
            shown = await anext(view, None)
        if shown is not None and shown["id"] == job_id:
            yield job_id, history, shown
            shown = await anext(view, None)
        else:
            yield job_id, history, None
    while shown is not None:
        yield shown["id"], [], shown
        shown = await anext(view, None)


async def _job_by_job(connection: Connection, job_ids: list[str] | None) -> AsyncIterator[list[Record]]:
    history: list[Record] = []
    async for row in connection.cursor(HISTORIES, job_ids, prefetch=2000):
        if history and history[0]["job_id"] != row["job_id"]:
            yield history
            history = []
        history.append(row)
    if history:
        yield history


def compare(
    job_id: str, history: list[Record], shown: Record | None, unique_key: UniqueKey, erased: Collection[int] = ()
) -> Iterator[Finding]:
    """Folds a history and compares the result with the row of the view. Yields a finding for each fault.

    `erased` has the numbers of the events whose data were erased, if a valid note says so.
    """
    if not history:
        yield _drift(job_id, "is in the view and not in the log")
        return
    folding = _Folding(erased)
    for row in history:
        yield from folding.after(recorded_from(row), row["data"])
    if shown is None:
        yield _drift(job_id, "is in the log and not in the view")
        return
    try:
        view = job_from(shown)
    except BrokenView as error:
        yield _drift(job_id, str(error))
        return
    if folding.broken or folding.job is None or folding.first is None:
        return
    for column, in_view, by_log in zip(Job._fields, view, folding.job, strict=True):
        if not _same(in_view, by_log) and not (column == "error" and folding.error_erased):
            yield _drift(job_id, f"{column} is {_shown(in_view)} in the view and {_shown(by_log)} by the log")
    first, key = folding.first, shown["unique_key"]
    by_rule = unique_key(folding.job.type, first.payload, first.user_id)
    if key not in ((None, by_rule) if first.unique_key is None else (first.unique_key,)):
        yield _drift(job_id, f"unique_key is {key!r} in the view and {first.unique_key!r} by the log")


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}…"


def _drift(job_id: str, detail: str) -> Finding:
    return Finding(FindingName.VIEW_DRIFT, job_id, None, None, detail)


class _Folding:
    """Folds one history event by event, and yields a finding for each fault."""

    def __init__(self, erased: Collection[int]) -> None:
        self._erased = erased
        self.error_erased = False
        self.job: Job | None = None
        self.first: Queued | None = None
        self.broken = False
        self._before: Recorded | None = None

    def after(self, recorded: Recorded, text: str) -> Iterator[Finding]:
        if recorded.seq in self._erased:
            recorded = self._without_data(recorded)
        event = recorded.event
        if recorded.seq in self._erased:
            pass  # The note about the erasure has the hash of these data, and the check of positions compares it.
        elif isinstance(event, Unreadable):
            yield _at(recorded, FindingName.MODIFIED, event.why)
        else:
            for odd in _not_as_written(recorded, text):
                yield _at(recorded, FindingName.MODIFIED, odd)
        yield from self._beside_the_one_before(recorded)
        if self.broken:
            return
        worker = None if self.job is None else self.job.worker
        try:
            self.job = evolve(self.job, recorded)
        except BrokenHistory as broken:
            self.broken = True
            if broken.name is FindingName.ILLEGAL_TRANSITION:
                yield _at(recorded, broken.name, str(broken))
            return
        if self.first is None and isinstance(event, Queued):
            self.first = event
        if (wrong := _wrong_actor(recorded, worker)) is not None:
            yield _at(recorded, FindingName.ILLEGAL_TRANSITION, wrong)

    def _without_data(self, recorded: Recorded) -> Recorded:
        """Returns the event in a form that can be folded, even if an erasure has nulled data that it needs."""
        event = recorded.event
        if not isinstance(event, Unreadable) or not isinstance(event.data, dict):
            return recorded
        will_retry = event.data.get("willRetry")
        if event.type == "failed" and isinstance(will_retry, bool):
            self.error_erased = True
            return recorded._replace(event=Failed(JobError("", ""), will_retry))
        return recorded._replace(event=Canceled("")) if event.type == "canceled" else recorded

    def _beside_the_one_before(self, recorded: Recorded) -> Iterator[Finding]:
        """Compares an event with the event before it, and yields a finding for each fault.

        Works even after an event that could not be folded.
        """
        before, self._before = self._before, recorded
        last = 0 if before is None else before.seq
        if recorded.seq > last + 1:
            missing = f"event {last + 1} is" if recorded.seq == last + 2 else f"events {last + 1} to {recorded.seq - 1} are"
            yield _at(recorded, FindingName.SEQ_GAP, f"{missing} not in the log")
        elif recorded.seq <= last or recorded.seq < 1:
            yield _at(recorded, FindingName.INSERTED, f"event {recorded.seq} comes after event {last}")
        if before is not None and recorded.at < before.at:
            yield _at(recorded, FindingName.BACKDATED, f"is of {recorded.at}, before event {last} of {before.at}")


def _at(recorded: Recorded, name: FindingName, detail: str) -> Finding:
    return Finding(name, recorded.job_id, recorded.seq, None, detail)


def _wrong_actor(recorded: Recorded, worker: str | None) -> str | None:
    """Returns the fault if a worker wrote for another worker's attempt, else None.

    `evolve` does not check the actor.
    """
    by_its_worker = recorded.actor == f"worker:{worker}"
    match recorded.event:
        case Started(name) if recorded.actor != f"worker:{name}":
            return f"{recorded.actor} says that {name} has started"
        case Progress() | Completed() | Queued("worker_shutdown") if not by_its_worker:
            return f"{recorded.actor} wrote for an attempt that it does not run"
        case Failed() if recorded.actor.startswith("worker:") and not by_its_worker:
            return f"{recorded.actor} wrote for an attempt that it does not run"
        case _:
            return None


def _not_as_written(recorded: Recorded, text: str) -> Iterator[str]:
    """Yields the differences between an event's stored data and what the service would write."""
    written = event_data(recorded.event, recorded.at)
    if text.encode() == orjson.dumps(written):
        return
    try:
        stored = json.loads(text, object_pairs_hook=_unique_keys)
    except (ValueError, RecursionError) as error:
        yield f"the data are not in the form that the service writes: {error}"
        return
    unknown, missing = sorted(stored.keys() - written.keys()), sorted(written.keys() - stored.keys())
    if unknown:
        yield f"data have unknown keys: {', '.join(map(repr, unknown))}"
    if missing:
        yield f"data lack keys: {', '.join(missing)}"
    for key in sorted(stored.keys() & written.keys()):
        # The stored value must also have the form that the service writes: a time has microseconds, for example.
        if not _same(orjson.loads(orjson.dumps(written[key])), stored[key]):
            yield f"{key} in the data is not in the form that the service writes"


def _unique_keys(pairs: list[tuple[str, JSON]]) -> dict[str, JSON]:
    twice = [key for key, count in Counter(key for key, _ in pairs).items() if count > 1]
    if twice:
        raise ValueError(f"a key occurs twice: {', '.join(map(repr, twice))}")
    return dict(pairs)


def _same(shown: Any, folded: Any) -> bool:
    # Values are compared as JSON text, because 1, 1.0 and True are equal in Python and different in JSON.
    if _is_json(shown) or _is_json(folded):
        try:
            return orjson.dumps(shown, option=orjson.OPT_SORT_KEYS) == orjson.dumps(folded, option=orjson.OPT_SORT_KEYS)
        except TypeError:
            return False  # a number that orjson cannot write, so the service has not written it
    return bool(shown == folded)


def _is_json(value: Any) -> bool:
    return isinstance(value, dict | list | int | float)
