"""Folds every event again and compares with what people are shown; checks that the log itself is whole."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import orjson

from events.database import Connection, Database, Record
from events.job import BrokenHistory, Completed, Failed, Job, Progress, Queued, Started, evolve
from events.store import HISTORIES, JOB_COLUMNS, job_from, recorded_from

VIEW = f"select {JOB_COLUMNS} from jobs where $1::uuid[] is null or id = any($1) order by id"

HOLES = """
select position, before from (
    select position, lag(position, 1, 0::bigint) over (order by position) as before from job_event_log
) as placed
where position <> before + 1
order by position
"""

POINTS_NOWHERE = """
select l.position from job_event_log l
where not exists (select from job_events e where e.event_id = l.event_id)
order by l.position
"""

WITHOUT_POSITION = """
select count(*) from job_events e, job_event_log_cursor c, pg_control_system() s
where (e.xid, e.event_id) <= (c.xid, c.event_id) and c.system_identifier = s.system_identifier
and not exists (select from job_event_log l where l.event_id = e.event_id)
"""

OUT_OF_ORDER = """
select position from (
    select l.position, e.seq, lag(e.seq) over (partition by e.job_id order by l.position) as before
    from job_event_log l join job_events e on e.event_id = l.event_id
) as placed
where seq <= before
order by position
"""

LAST_POSITION = "select coalesce(max(position), 0) from job_event_log"


@dataclass(frozen=True, slots=True)
class Difference:
    """Something that is not as the log says. `job_id` is None where the order of the log is at fault."""

    job_id: str | None
    detail: str


@dataclass(frozen=True, slots=True)
class Verified:
    """What was compared, and what differed: nothing, if all is well."""

    jobs: int
    events: int
    last_position: int
    differences: list[Difference]


async def verify(database: Database, *, job_id: str | None = None) -> Verified:
    """Compares the view with the fold of the events, of one job or of all, in one snapshot of the database."""
    differences: list[Difference] = []
    jobs = events = 0
    only = None if job_id is None else [job_id]
    connection = await database.hold(statement_timeout="0", idle_in_transaction_session_timeout="0")
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            # Before the snapshot is taken: rows of a view that is swapped in after it would be invisible in it, or old.
            await connection.execute("lock table jobs in access share mode")
            async for id, history, shown in _side_by_side(connection, only):
                jobs += 1
                events += len(history)
                differences += [Difference(id, detail) for detail in _compare(history, shown)]
                # Rows that have arrived are folded without a pause, and requests may be waiting beside this.
                await asyncio.sleep(0)
            if job_id is None:
                differences += await _check_order(connection)
            last_position = await connection.fetchval(LAST_POSITION)
    finally:
        await connection.close()
    return Verified(jobs, events, last_position, differences)


async def _side_by_side(
    connection: Connection, job_ids: list[str] | None
) -> AsyncIterator[tuple[str, list[Record], Record | None]]:
    """Each job's id, its rows of the log, and its row of the view; either may be missing. Both are read in order of id and a
    little at a time, since a log is larger than memory."""
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


def _compare(history: list[Record], shown: Record | None) -> list[str]:
    if not history:
        return ["is in the view and not in the log"]
    try:
        job = _fold(history)
    except BrokenHistory as broken:
        return [str(broken)]
    if shown is None or job is None:
        return ["is in the log and not in the view"]
    try:
        view = job_from(shown)
    except (TypeError, ValueError) as error:
        return [f"cannot be read in the view: {error}"]
    return [
        f"{field} is {in_view!r} in the view and {by_log!r} by the log"
        for field, in_view, by_log in zip(Job._fields, view, job, strict=True)
        if not _same(in_view, by_log)
    ]


def _same(shown: Any, folded: Any) -> bool:
    # In Python 1, 1.0 and True are equal; in JSON they are not.
    if _is_json(shown) or _is_json(folded):
        return orjson.dumps(shown, option=orjson.OPT_SORT_KEYS) == orjson.dumps(folded, option=orjson.OPT_SORT_KEYS)
    return bool(shown == folded)


def _is_json(value: Any) -> bool:
    return isinstance(value, dict | list | int | float)


def _fold(history: list[Record]) -> Job | None:
    """`fold`, and beside it what no single event can show: that a worker spoke only for the attempt that it had started."""
    job: Job | None = None
    for row in history:
        recorded = recorded_from(row)
        by_its_worker = job is not None and recorded.actor == f"worker:{job.worker}"
        job = evolve(job, recorded)
        match recorded.event:
            case Started(worker) if recorded.actor != f"worker:{worker}":
                raise BrokenHistory(f"seq {recorded.seq}: {recorded.actor} says that {worker} has started")
            case Progress() | Completed() | Queued("worker_shutdown") if not by_its_worker:
                raise BrokenHistory(f"seq {recorded.seq}: {recorded.actor} speaks for an attempt that it does not run")
            case Failed() if recorded.actor.startswith("worker:") and not by_its_worker:
                raise BrokenHistory(f"seq {recorded.seq}: {recorded.actor} speaks for an attempt that it does not run")
            case _:
                pass
    return job


async def _check_order(connection: Connection) -> list[Difference]:
    holes = [
        Difference(None, f"positions {row['before'] + 1} to {row['position'] - 1} are missing")
        for row in await connection.fetch(HOLES)
    ]
    nowhere = [
        Difference(None, f"position {row['position']} points to an event that is not in the log")
        for row in await connection.fetch(POINTS_NOWHERE)
    ]
    out = [
        Difference(None, f"position {row['position']} comes after a later event of its job")
        for row in await connection.fetch(OUT_OF_ORDER)
    ]
    without = await connection.fetchval(WITHOUT_POSITION)
    return holes + nowhere + out + ([Difference(None, f"{without} events have lost their positions")] if without else [])
