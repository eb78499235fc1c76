"""Compares the sealer's cursor with the events and positions, and finds events that the sealer cannot have skipped."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from events.audit_findings import FindingName
from events.database import Connection, Record
from events.positions import places
from projections.verifying.findings import Finding
from projections.verifying.order import Checked

ALL = places(after="0::bigint", until="9223372036854775807::bigint")

CURSOR = """
select c.xid::text::bigint as xid, c.event_id, c.position, c.epoch, c.floor, c.largest, c.tiled, c.rows_to,
    c.system_identifier = s.system_identifier as same_cluster,
    pg_snapshot_xmax(pg_current_snapshot())::text::bigint as xmax
from job_event_log_cursor c, pg_control_system() s
"""

# Events that the sealer must have sealed: those at or before its cursor. In a cluster other than the sealer's, transaction ids
# cannot be compared. So there an event with a larger id than every sealed event is unsealed too.
SEALED = """(
    not ((e.xid, e.event_id) > ($1::text::xid8, $2::bigint) and e.event_id > $3::bigint)
    and ($5 or e.event_id <= $4::bigint)
)"""

COUNTS = f"""
select count(*) as events, count(*) filter (where {SEALED}) as sealed,
    count(*) filter (where $5 and e.xid >= $6::text::xid8) as future
from job_events e
"""

# The same for the events after (xid, event_id) in the present epoch, read by index.
COUNTS_SINCE = f"""
select count(*) as events, count(*) filter (where {SEALED}) as sealed,
    count(*) filter (where $5 and e.xid >= $6::text::xid8) as future
from job_events e where (e.xid, e.event_id) > ($7::text::xid8, $8::bigint)
"""

# Finds events without a position that the service cannot have written. Such an event is at or before the sealer's cursor,
# where every event got a position, or its transaction id does not exist yet in this snapshot. The check is left out for a
# log that was restored from another cluster and not yet sealed here, because its transaction ids cannot be compared.
WITHOUT_POSITION = f"""
select e.job_id, e.seq from job_events e, job_event_log_cursor c, pg_control_system() s
where ((e.xid, e.event_id) <= (c.xid, c.event_id) or e.event_id <= c.floor or e.xid >= pg_snapshot_xmax(pg_current_snapshot()))
and c.system_identifier = s.system_identifier
and not exists (select from {ALL} as l where l.job_id = e.job_id and l.seq = e.seq)
order by e.event_id
"""

# Every event after the cursor waits for its position. In a cluster other than the sealer's, transaction ids cannot be compared,
# so there the events with larger ids than every sealed event are counted too.
UNSEALED = """
select count(*) from (
    select from job_events e, job_event_log_cursor c
    where (e.xid, e.event_id) > (c.xid, c.event_id) and e.event_id > c.floor
    union all
    select from job_events e, job_event_log_cursor c, pg_control_system() s
    where e.event_id > c.largest and (e.xid, e.event_id) <= (c.xid, c.event_id)
    and s.system_identifier <> c.system_identifier
) as unsealed
"""

OUT_OF_ORDER = f"""
select job_id, seq, position from (
    select l.position, l.job_id, l.seq, lag(l.seq) over (partition by l.job_id order by l.position) as before
    from {ALL} as l
) as placed
where seq <= before
order by position
"""

# Finds duplicates. Run only when a guard is missing or positions are not in order, because otherwise there can be none.
TWICE = f"""
select min(position) as position, format('event %s of job %s has %s positions', seq, job_id, count(*)) as detail
from {ALL} as l where job_id is not null group by job_id, seq having count(*) > 1
union all
select null, format('%s events have the id %s', count(*), event_id) from job_events group by event_id having count(*) > 1
union all
select null, format('%s jobs of the view have the id %s', count(*), id) from jobs group by id having count(*) > 1
"""


class Cursor(NamedTuple):
    """The sealer's cursor: the last sealed event and position (`projections/tiles.py`).

    `same_cluster` says whether the cursor was written in this cluster. `xmax` is the first transaction id that does not exist
    yet.
    """

    xid: int
    event_id: int
    position: int
    epoch: int
    floor: int
    largest: int
    tiled: int
    rows_to: int
    same_cluster: bool
    xmax: int


class Counts(NamedTuple):
    """Three numbers: all events, events that must have a position, and events of transactions that do not exist yet."""

    events: int
    sealed: int
    future: int


async def read_cursors(connection: Connection) -> list[Cursor]:
    """Returns the rows of the cursor. There is one, unless somebody has tampered with the table."""
    return [Cursor(**row) for row in await connection.fetch(CURSOR)]


async def count(connection: Connection, cursor: Cursor | None, since: tuple[int, int] | None = None) -> Counts:
    """Counts the events, or only those after `since` (xid, event_id). Without a cursor, no event counts as sealed."""
    if cursor is None:
        return Counts(await connection.fetchval("select count(*) from job_events"), 0, 0)
    by = (str(cursor.xid), cursor.event_id, cursor.floor, cursor.largest, cursor.same_cluster, str(cursor.xmax))
    if since is None:
        row = await connection.fetchrow(COUNTS, *by)
    else:
        row = await connection.fetchrow(COUNTS_SINCE, *by, str(since[0]), since[1])
    assert row is not None
    return Counts(*row)


def cursor_findings(cursors: Sequence[Cursor], results: Sequence[Checked], last: int, *, whole: bool) -> Iterator[Finding]:
    """Compares the cursor with the last position and its event. `whole` says whether `results` are of all positions."""
    if not cursors:
        yield _of_log(
            FindingName.TRUNCATED_TAIL, None, "the sealer's cursor, which holds the last position that was given, is gone"
        )
        return
    position = max(cursor.position for cursor in cursors)
    if last > position:
        detail = f"positions {position + 1} to {last} are beyond the sealer's cursor"
        yield _of_log(FindingName.INSERTED, position + 1, detail)
    cursor = cursors[0]
    if len(cursors) > 1:
        yield _of_log(FindingName.INSERTED, None, f"the sealer's cursor has {len(cursors)} rows instead of one")
    if last != position:
        return
    largest = max((checked.largest_id for checked in results), default=0)
    if cursor.largest < largest:
        yield _of_log(
            FindingName.INSERTED,
            None,
            f"the sealer's cursor names {cursor.largest} as the largest event id, but the log has {largest}",
        )
    elif whole and cursor.largest > largest:
        detail = f"the sealer's cursor names {cursor.largest} as the largest event id, but the log has only {largest}"
        yield _of_log(FindingName.TRUNCATED_TAIL, None, detail)
    newest = next((checked.last for checked in reversed(results) if checked.last is not None), None)
    if newest is None or not cursor.same_cluster or newest[0] != cursor.epoch:
        return
    at = (cursor.xid, cursor.event_id)
    if at > newest[1:]:
        yield _of_log(
            FindingName.TRUNCATED_TAIL,
            last,
            "the sealer's cursor names an event that comes after the event at the last position",
        )
    elif at < newest[1:]:
        yield _of_log(
            FindingName.INSERTED, last, "the sealer's cursor names an event that comes before the event at the last position"
        )


async def unplaced_findings(connection: Connection) -> list[Finding]:
    """Returns a finding for each event that must have a position and has none."""
    found = []
    async for row in connection.cursor(WITHOUT_POSITION, prefetch=1000):
        detail = "has no position, although the sealer has given positions to later events"
        found.append(Finding(FindingName.INSERTED, row["job_id"], row["seq"], None, detail))
    return found


async def doubled_findings(connection: Connection) -> list[Finding]:
    """Returns a finding for each row that is in the log twice, which is possible only without a guard."""
    rows: list[Record] = [row async for row in connection.cursor(TWICE, prefetch=1000)]
    return [_of_log(FindingName.INSERTED, row["position"], row["detail"]) for row in rows]


async def reordered_findings(connection: Connection) -> list[Finding]:
    """Returns a finding for each event whose position comes after that of a later event of its job."""
    found = []
    async for row in connection.cursor(OUT_OF_ORDER, prefetch=1000):
        detail = "its position comes after the position of a later event of its job"
        found.append(Finding(FindingName.REORDERED, row["job_id"], row["seq"], row["position"], detail))
    return found


def _of_log(name: FindingName, position: int | None, detail: str) -> Finding:
    return Finding(name, None, None, position, detail)
