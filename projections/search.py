"""Looking for events in the log, forwards or back from its end: a window of positions at a time, so that what is rare keeps
nobody waiting for the whole log."""

from dataclasses import dataclass
from typing import Any

from events.database import Database
from events.job import Recorded
from events.store import recorded_from

WINDOW = 20_000  # positions looked at by one statement
MOST_LOOKED_AT = 500_000  # positions looked at by one search

COLUMNS = "e.job_id, e.seq, e.attempt, e.type, e.data, e.actor, e.at, l.position"

# `offset 0` has each event looked up by its id: for a rare actor the planner would read the whole of `job_events` instead, again
# for each window.
IN_WINDOW = f"""
select {COLUMNS}
from job_event_log l cross join lateral (select * from job_events where event_id = l.event_id offset 0) as e
where l.position > :after and l.position <= :until
and (cast(:actor as text) is null or e.actor = :actor)
and (cast(:type as text) is null or e.type = :type)
order by l.position
limit :limit
"""

IN_WINDOW_BACKWARDS = IN_WINDOW.replace("order by l.position", "order by l.position desc")

# A job's events are found by the job, wherever in the log they stand.
OF_JOB = f"""
select {COLUMNS}
from job_events e join job_event_log l on l.event_id = e.event_id
where e.job_id = :job_id and l.position > :after and l.position <= :until
and (cast(:actor as text) is null or e.actor = :actor)
and (cast(:type as text) is null or e.type = :type)
order by l.position
limit :limit
"""

OF_JOB_BACKWARDS = OF_JOB.replace("order by l.position", "order by l.position desc")


@dataclass(frozen=True, slots=True)
class EventFilter:
    """None means any."""

    actor: str | None = None
    type: str | None = None
    job_id: str | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """All events that were wanted after the position `after`, up to and with `until`, in order."""

    events: list[Recorded]
    after: int
    until: int


async def first_events(database: Database, wanted: EventFilter, *, after: int, until: int, limit: int) -> Found:
    """The first ones between two positions, `after` exclusive; as far as one search goes."""
    events: list[Recorded] = []
    reached, furthest = after, min(until, after + MOST_LOOKED_AT) if wanted.job_id is None else until
    while reached < furthest and len(events) < limit:
        end = min(furthest, reached + WINDOW) if wanted.job_id is None else furthest
        query = IN_WINDOW if wanted.job_id is None else OF_JOB
        events += await _events(database, query, wanted, reached, end, limit - len(events))
        reached = end
    if len(events) == limit:
        reached = _position(events[-1])
    return Found(events, after, max(reached, after))


async def last_events(database: Database, wanted: EventFilter, *, after: int, until: int, limit: int) -> Found:
    """The last ones between two positions, `after` exclusive; as far as one search goes."""
    events: list[Recorded] = []
    reached, furthest = until, max(after, until - MOST_LOOKED_AT) if wanted.job_id is None else after
    while reached > furthest and len(events) < limit:
        end = max(furthest, reached - WINDOW) if wanted.job_id is None else furthest
        query = IN_WINDOW_BACKWARDS if wanted.job_id is None else OF_JOB_BACKWARDS
        events += await _events(database, query, wanted, end, reached, limit - len(events))
        reached = end
    if len(events) == limit:
        reached = _position(events[-1]) - 1
    return Found(events[::-1], min(reached, until), until)


async def _events(database: Database, query: str, wanted: EventFilter, after: int, until: int, limit: int) -> list[Recorded]:
    values: dict[str, Any] = {"after": after, "until": until, "actor": wanted.actor, "type": wanted.type, "limit": limit}
    if wanted.job_id is not None:
        values["job_id"] = wanted.job_id
    return [recorded_from(row) for row in await database.fetch_all(query, values)]


def _position(recorded: Recorded) -> int:
    assert recorded.position is not None
    return recorded.position
