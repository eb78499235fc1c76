"""The log as changes, in order of position: the state of a job after each of its events.

The live streams read these changes, because the bus may have lost some.
"""

from typing import NamedTuple

import orjson

from events.bus import Change
from events.database import Database, Row
from events.job import Status
from events.positions import LAST_POSITION, places

# `offset 0` makes PostgreSQL look each event up by job and seq. Otherwise the planner would scan all of `job_events`
# for the few events of one owner.
CHANGES = f"""
select l.position, e.job_id, e.seq, e.attempt, e.type as event, j.type, j.user_id,
    case when e.type = 'failed' then e.data end as data
from {places(after="cast(:after as bigint)", until="cast(:until as bigint)")} as l
cross join lateral (select * from job_events where job_id = l.job_id and seq = l.seq offset 0) as e
join jobs j on j.id = e.job_id
where (cast(:owner as uuid) is null or j.user_id = :owner)
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
    """A change with the position of its event in the log."""

    position: int
    change: Change


async def last_position(database: Database) -> int:
    """Returns the newest position in the log, or 0 if there is none."""
    return int(await database.fetch_val(LAST_POSITION))


async def changes(database: Database, *, after: int, until: int, owner: str | None = None) -> list[Placed]:
    """Returns the changes after the position `after`, up to and including `until`, in order.

    With `owner`, returns only the changes of this user's jobs. Leaves out a failure that is followed by a retry, because
    nobody should take this failure for the end of the job. The `queued` event of the retry was written together with the
    failure.
    """
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
        return False  # a tampered event is reported as a change rather than hidden
