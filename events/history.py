"""Reads the log: the events of a job, the whole log by position, and past states of a job."""

import itertools
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import NamedTuple

import asyncpg
import orjson

from events.database import Connection, Database, Row
from events.job import JSON, BrokenHistory, Event, Job, JobError, Recorded, Status, Unreadable, fold
from events.positions import LAST_POSITION
from events.statements import HISTORIES, HISTORY, LOG, NEWS, PAST
from events.stored import event_from
from events.writes import BrokenView

# Opening brackets. JSON with more of them may be nested too deeply for orjson to write, so `_load`
# tries to write it.
MOST_NEWS = 200  # events of one job in one reply of `news`
MOST_BYTES_OF_NEWS = 16 * 1024  # bytes of data after which the reply has no further event of this job
DEEPEST = 250


class News(NamedTuple):
    """Some events of a job in order, and whether there may be more of them."""

    events: list[Recorded]
    more: bool


class History:
    """Reads the events of one job, of several or of the whole log, and past states of a job."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def events(self, job_id: str, *, after: int = 0) -> list[Recorded]:
        """Returns a job's events with a `seq` greater than `after`, in order of `seq`.

        The list is empty for an unknown job.
        """
        rows = await self._database.fetch_all(HISTORY, {"job_id": job_id, "after": after})
        return [recorded_from(row) for row in rows]

    async def past(self, job_id: str, *, seq: int | None = None, at: datetime | None = None) -> Job | None:
        """Returns a job as it was after its event number `seq`, or at the time `at`.

        Returns None if the job had no event yet. Raises `BrokenHistory`.
        """
        rows = await self._database.fetch_all(PAST, {"job_id": job_id, "seq": seq, "at": at})
        return fold(map(recorded_from, rows))

    async def news(self, places: Sequence[tuple[str, int]]) -> dict[tuple[str, int], News]:
        """Returns the next events of several jobs.

        The result maps each (job id, seq) in `places` to the job's first events after that seq, and omits jobs without new
        events. A reply is short, because a long history would stay in memory for every client that reads it slowly.
        """
        job_ids, seqs = [job_id for job_id, _ in places], [after for _, after in places]
        async with self._database.raw() as connection:
            rows = await connection.fetch(NEWS, job_ids, seqs, MOST_NEWS, MOST_BYTES_OF_NEWS)
        news: dict[tuple[str, int], News] = {}
        for row in rows:
            place = row["job_id"], row["after"]
            events = news[place].events if place in news else []
            events.append(recorded_from(row))
            news[place] = News(events, len(events) == MOST_NEWS or row["through"] >= MOST_BYTES_OF_NEWS)
        return news

    async def log(self, *, after: int = 0, limit: int = 1000) -> list[Recorded]:
        """Returns up to `limit` events with positions after `after`, in order of position.

        Leaves out events to which the sealer (`projections/seal.py`) has not given a position yet.
        """
        rows = await self._database.fetch_all(LOG, {"after": after, "limit": limit})
        if not rows:
            # Somebody may have deleted all events of this range. So an empty range below the last position is skipped.
            # It is read once more after the last position is known, because events may get positions between the two
            # statements.
            last = int(await self._database.fetch_val(LAST_POSITION))
            while not (rows := await self._database.fetch_all(LOG, {"after": after, "limit": limit})) and after + limit < last:
                after += limit
        return [recorded_from(row) for row in rows]


def job_from(row: Row | asyncpg.Record) -> Job:
    """Makes a `Job` from a row that begins with `JOB_COLUMNS`.

    Raises `BrokenView` for a row that the service cannot have written.
    """
    job_id, job_type, status, payload, result, error, *rest = itertools.islice(row.values(), len(Job._fields))
    try:
        failure = None if error is None else JobError(**orjson.loads(error))
        return Job(job_id, job_type, Status(status), _load(payload), _load(result), failure, *rest)
    except (TypeError, ValueError) as broken:
        raise BrokenView(job_id, str(broken)) from broken


def recorded_from(row: Row | asyncpg.Record) -> Recorded:
    """Makes an event from its row. Never raises.

    Data that the service cannot have written become `Unreadable`.
    """
    event = _event_of(row["type"], row["data"], row["at"])
    return Recorded(
        row["job_id"], row["seq"], row["attempt"], event, row["actor"], row["at"], row["position"], row["request_id"],
        row["cause"],
    )  # fmt: skip


def _event_of(event_type: str, text: str, at: datetime) -> Event | Unreadable:
    try:
        data = _load(text)
    except (TypeError, ValueError) as error:
        return Unreadable(event_type, text, f"data of a {event_type} event that cannot be read: {error}")
    try:
        return event_from(event_type, data, at)
    except BrokenHistory as broken:
        return Unreadable(event_type, data, str(broken))


async def histories(connection: Connection, job_ids: Sequence[str] | None = None) -> AsyncIterator[Recorded]:
    """Yields all events of all jobs, or of the given jobs, ordered by job id and `seq`.

    Call it inside a transaction, because it reads through a cursor.
    """
    async for row in connection.cursor(HISTORIES, job_ids, prefetch=2000):
        yield recorded_from(row)


def _load(text: str | None) -> JSON:
    """Parses JSON.

    Raises `ValueError` or `TypeError` for JSON that orjson cannot parse, or cannot write again.
    """
    if text is None:
        return None
    value = orjson.loads(text)
    if text.count("[") + text.count("{") > DEEPEST:
        orjson.dumps(value)
    return value
