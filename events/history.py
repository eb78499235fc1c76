import itertools
from collections.abc import AsyncIterator, Sequence
from datetime import datetime

import asyncpg
import orjson

from events.database import Connection, Row
from events.job import JSON, BrokenHistory, Event, Job, JobError, Recorded, Status, Unreadable
from events.statements import HISTORIES
from events.stored import event_from
from events.writes import BrokenView

DEEPEST = 250  # levels of JSON; orjson reads more than it writes


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
