"""Reads the log: the events of a job, the whole log in order of position, and a job as it was at a past moment."""

import itertools
from collections.abc import AsyncIterator, Sequence
from datetime import datetime

import asyncpg
import orjson

from events.database import Connection, Database, Row
from events.job import JSON, BrokenHistory, Event, Job, JobError, Recorded, Status, Unreadable, fold
from events.statements import HISTORIES, HISTORY, LOG, NEWS, PAST
from events.stored import event_from
from events.writes import BrokenView

DEEPEST = 250  # levels of JSON; orjson reads more than it writes


class History:
    """Reads events back: those of a job, those of several jobs, the whole log, and a job as it was."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def events(self, job_id: str, *, after: int = 0) -> list[Recorded]:
        """A job's events in order of seq, from `after` (exclusive) on. Empty for an unknown job."""
        rows = await self._database.fetch_all(HISTORY, {"job_id": job_id, "after": after})
        return [recorded_from(row) for row in rows]

    async def past(self, job_id: str, *, seq: int | None = None, at: datetime | None = None) -> Job | None:
        """A job as it was after its event number `seq`, or at a time. None where it had no event yet."""
        rows = await self._database.fetch_all(PAST, {"job_id": job_id, "seq": seq, "at": at})
        return fold(map(recorded_from, rows))

    async def news(self, places: Sequence[tuple[str, int]]) -> dict[tuple[str, int], list[Recorded]]:
        """What happened to each of these jobs after a seq, for all of these places (job, seq) at once; those after which nothing
        happened are left out."""
        async with self._database.raw() as connection:
            rows = await connection.fetch(NEWS, [job_id for job_id, _ in places], [after for _, after in places])
        news: dict[tuple[str, int], list[Recorded]] = {}
        for row in rows:
            news.setdefault((row["job_id"], row["after"]), []).append(recorded_from(row))
        return news

    async def log(self, *, after: int = 0, limit: int = 1000) -> list[Recorded]:
        """The whole log in order of position, from `after` (exclusive) on, as far as positions are given (`seal.py`)."""
        rows = await self._database.fetch_all(LOG, {"after": after, "limit": limit})
        return [recorded_from(row) for row in rows]


def job_from(row: Row | asyncpg.Record) -> Job:
    """A `Job` from a row that begins with `JOB_COLUMNS`. Raises `BrokenView`."""
    id, type, status, payload, result, error, *rest = itertools.islice(row.values(), len(Job._fields))
    try:
        failure = None if error is None else JobError(**orjson.loads(error))
        return Job(id, type, Status(status), _load(payload), _load(result), failure, *rest)
    except (TypeError, ValueError) as broken:
        raise BrokenView(id, str(broken)) from broken


def recorded_from(row: Row | asyncpg.Record) -> Recorded:
    """An event from its row, whatever stands there: what nobody could have written is `Unreadable`."""
    event = _event_of(row["type"], row["data"], row["at"])
    return Recorded(row["job_id"], row["seq"], row["attempt"], event, row["actor"], row["at"], row["position"])


def _event_of(type: str, text: str, at: datetime) -> Event | Unreadable:
    try:
        data = _load(text)
    except (TypeError, ValueError) as error:
        return Unreadable(type, text, f"data of a {type} event that cannot be read: {error}")
    try:
        return event_from(type, data, at)
    except BrokenHistory as broken:
        return Unreadable(type, data, str(broken))


async def histories(connection: Connection, job_ids: Sequence[str] | None = None) -> AsyncIterator[Recorded]:
    """All events of all jobs (or of these), job by job in order of id, each job's in order of seq. Inside a transaction."""
    async for row in connection.cursor(HISTORIES, job_ids, prefetch=2000):
        yield recorded_from(row)


def _load(text: str | None) -> JSON:
    """Raises `ValueError` or `TypeError` for what cannot be read, or not be written again."""
    if text is None:
        return None
    value = orjson.loads(text)
    if text.count("[") + text.count("{") > DEEPEST:
        orjson.dumps(value)
    return value
