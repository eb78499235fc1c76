"""Divides the log into ranges, and reads a range in the form that is fast to check.

Ids come as 16 bytes, times as microseconds since 2000-01-01T00:00:00Z, and JSON as its stored bytes.
"""

import itertools
from collections.abc import AsyncIterator, Sequence
from operator import itemgetter
from typing import Any, NamedTuple

from events.database import Connection, Database, Record
from events.statements import JOB_COLUMNS

JOB_COLUMNS_AS_STORED = JOB_COLUMNS.replace("user_id", "user_id::text")
EVENTS_AT_ONCE = 2_000  # rows that one round trip fetches
JOBS_AT_ONCE = 800
TILES_IN_A_RANGE = 100

EVENTS = """
select job_id, seq, attempt, type, data, actor, at from job_events
where job_id >= $1 and job_id <= $2 and (job_id <> $2 or $2 = 'ffffffff-ffff-ffff-ffff-ffffffffffff')
order by job_id, seq
"""

VIEW = f"""
select {JOB_COLUMNS_AS_STORED}, unique_key from jobs
where id >= $1 and id <= $2 and (id <> $2 or $2 = 'ffffffff-ffff-ffff-ffff-ffffffffffff')
order by id
"""

# The first jobs of some tiles, in the order of their ids. Tiles hold all sealed events, so these ids divide the jobs into ranges
# of about the same number of events.
BOUNDS = "select distinct job_ids[1] as job_id from log_tiles where tile % $1 = 0 order by 1"

EVENTS_OF = "select job_id, seq, attempt, type, data, actor, at from job_events where job_id = any($1) order by job_id, seq"

VIEW_OF = f"select {JOB_COLUMNS_AS_STORED}, unique_key from jobs where id = any($1) order by id"

LOWEST, HIGHEST = bytes(16), b"\xff" * 16


class JobRange(NamedTuple):
    """The jobs with ids from `low` (inclusive) to `high` (exclusive, if it is not the highest)."""

    low: bytes
    high: bytes


Jobs = JobRange | list[bytes]
"""A range of jobs, or the ids of some jobs."""


async def hold_raw(database: Database) -> Connection:
    """Opens a connection that returns ids, times and JSON as they are stored."""
    connection = await database.hold(
        statement_timeout="0",
        idle_in_transaction_session_timeout="0",
        enable_memoize="off",  # No event is looked up twice, so memory of earlier answers is a waste.
    )
    await connection.set_type_codec("uuid", schema="pg_catalog", encoder=bytes, decoder=bytes, format="binary")
    await connection.set_type_codec("json", schema="pg_catalog", encoder=bytes, decoder=bytes, format="binary")
    await connection.set_type_codec(
        "timestamptz", schema="pg_catalog", encoder=lambda at: (at,), decoder=itemgetter(0), format="tuple"
    )
    return connection


async def job_ranges(raw: Connection) -> list[JobRange]:
    """Divides all job ids into ranges of about `TILES_IN_A_RANGE` tiles of events each."""
    inner = [row["job_id"] for row in await raw.fetch(BOUNDS, TILES_IN_A_RANGE)]
    bounds = [LOWEST, *(job_id for job_id in inner if job_id > LOWEST), HIGHEST]
    return [JobRange(low, high) for low, high in itertools.pairwise(bounds)]


async def side_by_side(raw: Connection, jobs: Jobs) -> AsyncIterator[tuple[bytes, list[Record], Record | None]]:
    """Yields each job's id, its rows in the log (maybe none), and its row in the view or None."""
    view_query, events_query, arguments = (VIEW, EVENTS, jobs) if isinstance(jobs, JobRange) else (VIEW_OF, EVENTS_OF, [jobs])
    view = _rows(raw, view_query, arguments, JOBS_AT_ONCE)
    shown = await anext(view, None)
    history: list[Record] = []
    current: bytes | None = None
    async for row in _rows(raw, events_query, arguments, EVENTS_AT_ONCE):
        if row[0] == current:
            history.append(row)
            continue
        if current is not None:
            yield current, history, shown if shown is not None and shown[0] == current else None
            if shown is not None and shown[0] == current:
                shown = await anext(view, None)
        current, history = row[0], [row]
        while shown is not None and shown[0] < current:
            yield shown[0], [], shown
            shown = await anext(view, None)
    if current is not None:
        yield current, history, shown if shown is not None and shown[0] == current else None
        if shown is not None and shown[0] == current:
            shown = await anext(view, None)
    while shown is not None:
        yield shown[0], [], shown
        shown = await anext(view, None)


async def _rows(raw: Connection, query: str, arguments: Sequence[Any], at_once: int) -> AsyncIterator[Record]:
    cursor = await raw.cursor(query, *arguments)
    while rows := await cursor.fetch(at_once):
        for row in rows:
            yield row
