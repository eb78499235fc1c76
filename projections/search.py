"""Finds events in the log, forwards, or backwards from its end.

A search reads one range of positions (a window) at a time, and stops after a number of positions, so that a search for a rare
event never scans the whole log.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from events.database import Database
from events.history import recorded_from
from events.job import Recorded
from events.positions import POSITION, TILE, places
from events.statements import EVENT_COLUMNS

WINDOW = 2_000  # positions that the first statement of a search reads
WIDER, WIDEST = 4, 32  # each next window is 4 times as wide as the window before, and at most 32 times `WINDOW`
MOST_LOOKED_AT = 500_000  # the most positions that one search reads
MOST_POSITIONS = 2**53

COLUMNS = f"{EVENT_COLUMNS}, l.position"

WINDOW_PLACES = places(after="cast(:after as bigint)", until="cast(:until as bigint)")

# `offset 0` makes PostgreSQL look each event up by job and seq. Otherwise the planner would scan all of `job_events` for each
# window.
IN_WINDOW = f"""
select {COLUMNS}
from {WINDOW_PLACES} as l
cross join lateral (select * from job_events where job_id = l.job_id and seq = l.seq offset 0) as e
order by l.position
limit :limit
"""

# Within an epoch, the events of a window are adjacent in the order of transactions. So one range scan reads them, and is joined
# with the positions of the window. If the window touches the newest tile, the tail, or two epochs, each event is looked up.
WANTED_IN_WINDOW = f"""
with ends as materialized (
    select b.xid as from_xid, b.event_id as from_id, u.xid as to_xid, u.event_id as to_id
    from log_tiles b join log_tiles u on u.epoch = b.epoch
    where b.tile = cast(:after as bigint) / {TILE} and u.tile = (cast(:until as bigint) - 1) / {TILE} + 1
), wanted as materialized (
    select {EVENT_COLUMNS}
    from ends cross join lateral (
        select * from job_events
        where (xid, event_id) >= (ends.from_xid, ends.from_id) and (xid, event_id) < (ends.to_xid, ends.to_id)
        and (cast(:actor as text) is null or actor = :actor)
        and (cast(:type as text) is null or type = :type)
        offset 0
    ) as e
)
select {COLUMNS}
from (
    select e.*, l.position from wanted e join {WINDOW_PLACES} as l on l.job_id = e.job_id and l.seq = e.seq
    union all
    select {EVENT_COLUMNS}, l.position
    from {WINDOW_PLACES} as l
    cross join lateral (select * from job_events where job_id = l.job_id and seq = l.seq offset 0) as e
    where not exists (select from ends)
    and (cast(:actor as text) is null or e.actor = :actor)
    and (cast(:type as text) is null or e.type = :type)
) as e cross join lateral (select e.position) as l
order by l.position
limit :limit
"""

# The events of one job are found by the job's index, so this search needs no windows.
OF_JOB = f"""
select {COLUMNS}
from (
    select {EVENT_COLUMNS}, {POSITION} as position
    from job_events e
    where e.job_id = :job_id
    and (cast(:actor as text) is null or e.actor = :actor)
    and (cast(:type as text) is null or e.type = :type)
    offset 0
) as e cross join lateral (select e.position) as l
where l.position > :after and l.position <= :until
order by l.position
limit :limit
"""


@dataclass(frozen=True, slots=True)
class EventFilter:
    """The conditions on the wanted events. None means any value."""

    actor: str | None = None
    type: str | None = None
    job_id: str | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """All wanted events after the position `after`, up to and including `until`, in order."""

    events: list[Recorded]
    after: int
    until: int


async def first_events(database: Database, wanted: EventFilter, *, after: int, until: int, limit: int) -> Found:
    """Finds the first `limit` wanted events from `after` (exclusive) to `until` (inclusive).

    Reads at most `MOST_LOOKED_AT` positions, or all of them if the events of one job are wanted. `Found.until` is the last
    position that was searched.
    """
    events: list[Recorded] = []
    reached, furthest = after, min(until, after + MOST_LOOKED_AT) if wanted.job_id is None else until
    for window in _windows(wanted):
        if reached >= furthest or len(events) >= limit:
            break
        end = min(furthest, reached + window)
        events += await _events(database, wanted, reached, end, limit - len(events))
        reached = end
    if len(events) == limit:
        reached = _position(events[-1])
    return Found(events, after, max(reached, after))


async def last_events(database: Database, wanted: EventFilter, *, after: int, until: int, limit: int) -> Found:
    """Finds the last `limit` wanted events from `after` (exclusive) to `until` (inclusive).

    Reads as many positions as `first_events`. `Found.after` is the position before the first one that was searched.
    """
    events: list[Recorded] = []
    reached, furthest = until, max(after, until - MOST_LOOKED_AT) if wanted.job_id is None else after
    for window in _windows(wanted):
        if reached <= furthest or len(events) >= limit:
            break
        end = max(furthest, reached - window)
        events += await _events(database, wanted, end, reached, limit - len(events), backwards=True)
        reached = end
    if len(events) == limit:
        reached = _position(events[-1]) - 1
    return Found(events[::-1], min(reached, until), until)


def _windows(wanted: EventFilter) -> Iterator[int]:
    """Yields how many positions each statement of a search reads, each time more.

    For the events of one job, one window holds all positions.
    """
    window = WINDOW if wanted.job_id is None else MOST_POSITIONS
    while True:
        yield window
        window = min(window * WIDER, WINDOW * WIDEST) if wanted.job_id is None else window


async def _events(
    database: Database, wanted: EventFilter, after: int, until: int, limit: int, *, backwards: bool = False
) -> list[Recorded]:
    values: dict[str, Any] = {"after": after, "until": until, "limit": limit}
    query = IN_WINDOW
    if (wanted.actor, wanted.type) != (None, None):
        query = WANTED_IN_WINDOW
    if wanted.job_id is not None:
        query = OF_JOB
        values["job_id"] = wanted.job_id
    if query is not IN_WINDOW:
        values |= {"actor": wanted.actor, "type": wanted.type}
    if backwards:
        query = query.replace("order by l.position", "order by l.position desc")
    return [recorded_from(row) for row in await database.fetch_all(query, values)]


def _position(recorded: Recorded) -> int:
    assert recorded.position is not None
    return recorded.position
