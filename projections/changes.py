"""The log as changes: what each event made of its job, in order of position. For whoever passes on what the bus may have lost."""

from typing import NamedTuple

import orjson

from events.bus import Change
from events.database import Database, Row
from events.job import Status

LAST_POSITION = "select coalesce(max(position), 0) from job_event_log"

# `offset 0` has each event looked up by its id: for the few of one owner the planner would read the whole of `job_events`.
CHANGES = """
select l.position, e.job_id, e.seq, e.attempt, e.type as event, j.type, j.user_id,
    case when e.type = 'failed' then e.data end as data
from job_event_log l cross join lateral (select * from job_events where event_id = l.event_id offset 0) as e
join jobs j on j.id = e.job_id
where l.position > :after and l.position <= :until
and (cast(:owner as uuid) is null or j.user_id = :owner)
order by l.position
"""

STATUS_AFTER = {
    "queued": Status.QUEUED,
    "started": Status.PROCESSING,
    "progress": Status.PROCESSING,
    "completed": Status.COMPLETED,
    "failed": Status.FAILED,
    "canceled": Status.CANCELED,
}


class Placed(NamedTuple):
    position: int
    change: Change


async def last_position(database: Database) -> int:
    """The newest position that was given; 0 if none was."""
    return int(await database.fetch_val(LAST_POSITION))


async def changes(database: Database, *, after: int, until: int, owner: str | None = None) -> list[Placed]:
    """The changes from one position (exclusive) to another (inclusive), of everybody's jobs or of one owner's. A failure that is
    being retried is none: its `queued` came with it, and nobody sees it as the end."""
    rows = await database.fetch_all(CHANGES, {"after": after, "until": until, "owner": owner})
    return [Placed(row["position"], _change(row)) for row in rows if row["event"] in STATUS_AFTER and not _is_retried(row)]


def _change(row: Row) -> Change:
    return Change(row["job_id"], row["seq"], row["attempt"], STATUS_AFTER[row["event"]], row["type"], row["user_id"])


def _is_retried(row: Row) -> bool:
    if row["data"] is None:
        return False
    try:
        return bool(orjson.loads(row["data"])["willRetry"])
    except (KeyError, TypeError, ValueError):
        return False  # what was tampered with is told rather than kept back
