"""Helpers: logs of many events, and what must hold of their positions and tiles."""

from itertools import pairwise

from events.database import Connection, Database
from events.positions import places
from projections.proof.entry import ENTRY
from projections.proof.merkle import leaf_hash, root_of

APPEND = """
insert into job_events (job_id, seq, attempt, type, data, salt, actor, request_id, at)
select md5($1::text || '/' || job)::uuid, seq, 1, case seq when 1 then 'queued' else 'progress' end, json_build_object('n', seq),
    decode(md5(job::text || '/' || seq), 'hex'), 'user:x', case when seq = 1 then 'r' end, now()
from generate_series(1, $2::int) as job, generate_series(1, $3::int) as seq
order by seq, job
"""

ALL = places(after="0", until="1000000000")
EVENTS_IN_ORDER = f"""
select l.position, e.job_id, e.seq, e.event_id, {ENTRY} as entry
from {ALL} as l join job_events e on e.job_id = l.job_id and e.seq = l.seq
order by l.position
"""


async def append(connection: Connection, name: str, *, jobs: int, seqs: int = 4) -> None:
    """Appends the events of some jobs in one transaction, without changing the view."""
    await connection.execute(APPEND, name, jobs, seqs)


async def in_order(connection: Connection) -> list[tuple[str, int]]:
    """Returns job and seq of all events, in the order of their positions.

    Checks that the positions are 1, 2, 3 … and that each event has one.
    """
    rows = await connection.fetch(EVENTS_IN_ORDER)
    assert [row["position"] for row in rows] == list(range(1, len(rows) + 1))
    assert len({row["event_id"] for row in rows}) == len(rows)
    return [(row["job_id"], row["seq"]) for row in rows]


async def check_lookups(connection: Connection, history_query: str) -> None:
    """Checks that `history_query` gives each event the position at which it stands."""
    placed = {(row["job_id"], row["seq"]): row["position"] for row in await connection.fetch(EVENTS_IN_ORDER)}
    looked_up = await connection.fetch(history_query)
    assert {(row["job_id"], row["seq"]): row["position"] for row in looked_up} == placed


async def check_tiles(connection: Connection) -> None:
    """Checks the hashes in all tiles against hashes that are computed here from the events."""
    entries = [row["entry"] for row in await connection.fetch(EVENTS_IN_ORDER)]
    leaves = [leaf_hash(entry) for entry in entries]
    tiles = await connection.fetch("select * from log_tiles order by tile")
    for tile in tiles:
        own = leaves[tile["tile"] * 256 : tile["tile"] * 256 + 256]
        assert tile["leaves"] == b"".join(own)
        assert tile["root"] == root_of(own)
    for row in await connection.fetch("select * from log_tail order by position"):
        assert row["leaf"] == leaves[row["position"] - 1]
    for upper in await connection.fetch("select * from log_upper_tiles"):
        own = leaves[upper["tile"] * 65_536 : (upper["tile"] + 1) * 65_536]
        assert upper["level"] == 1
        assert upper["hashes"] == b"".join(root_of(own[at : at + 256]) for at in range(0, 65_536, 256))
        assert upper["root"] == root_of(own)
    assert all(one["tile"] + 1 == other["tile"] for one, other in pairwise(tiles))


async def cursor_of(connection: Connection) -> dict[str, int]:
    row = await connection.fetchrow("select * from job_event_log_cursor")
    assert row is not None
    return dict(row.items())


async def connected(url: str) -> Database:
    database = Database(url)
    await database.connect()
    return database
