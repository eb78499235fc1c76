"""Seals the log: gives every event, shortly after its append, the next `position`.

The `event_id`, which comes from a sequence, is not a safe order for readers. A transaction with a lower number may commit
after a transaction with a higher number, and a reader that continues after the highest number would miss the events of the
first one. So one sealer at a time gives positions to the events of those transactions that are older than every running
transaction, in the order (transaction, event id). No event that belongs before these events can appear later.
"""

import asyncio

import structlog

from events.database import DATABASE_ERRORS, Connection, Database
from events.database_faults import log_trouble

log = structlog.get_logger(__name__)

SEALING = 0x7365616C  # "seal": the advisory lock's key
MOST_AT_ONCE = 10_000  # events
SEAL_EVERY = 0.5  # seconds

TRY_LOCK = "select pg_try_advisory_xact_lock($1)"
WAIT_FOR_LOCK = "select pg_advisory_xact_lock($1)"

# After a restore into another cluster, the stored transaction ids cannot be compared with new ones, and `same_cluster` is
# false. Then all events without a position get one, and the cursor starts again at the oldest running transaction.
READ_CURSOR = """
select c.xid::text as xid, c.event_id, c.position, s.system_identifier = c.system_identifier as same_cluster
from pg_control_system() s left join job_event_log_cursor c on true
"""

# `offset 0` makes PostgreSQL look positions up by event id. A wrong estimate of the number of new events could otherwise
# cause a scan of the whole table.
SEAL = """
with fresh as (
    select e.event_id, e.xid, row_number() over (order by e.xid, e.event_id) as place
    from job_events e
    left join lateral (select l.event_id from job_event_log l where l.event_id = e.event_id offset 0) as placed on true
    where (e.xid, e.event_id) > ($1::text::xid8, $2) and e.xid < pg_snapshot_xmin(pg_current_snapshot())
    and placed.event_id is null
    order by e.xid, e.event_id
    limit $4
), placed as (
    insert into job_event_log (position, event_id) select $3 + place, event_id from fresh order by place
), moved as (
    insert into job_event_log_cursor as c (system_identifier, xid, event_id, position)
    select s.system_identifier, f.xid, f.event_id, $3 + f.place from fresh f, pg_control_system() s
    order by f.place desc limit 1
    on conflict (only_row) do update
    set system_identifier = excluded.system_identifier, xid = excluded.xid, event_id = excluded.event_id,
        position = excluded.position
)
select count(*) from fresh
"""

SEAL_WHAT_WAS_RESTORED = """
with fresh as (
    select e.event_id, row_number() over (order by e.event_id) as place
    from job_events e
    where not exists (select from job_event_log l where l.event_id = e.event_id)
), placed as (
    insert into job_event_log (position, event_id) select $1 + place, event_id from fresh order by place
)
insert into job_event_log_cursor as c (system_identifier, xid, event_id, position)
select s.system_identifier, pg_snapshot_xmin(pg_current_snapshot()), 0, $1 + (select count(*) from fresh)
from pg_control_system() s
on conflict (only_row) do update
set system_identifier = excluded.system_identifier, xid = excluded.xid, event_id = excluded.event_id,
    position = excluded.position
"""

# Uses the order of the sealer, so the first row is the event that gets the next position.
LAG = """
select extract(epoch from clock_timestamp() - e.at)::float8
from job_events e
left join lateral (select l.event_id from job_event_log l where l.event_id = e.event_id offset 0) as placed on true
where (e.xid, e.event_id) > ((select xid from job_event_log_cursor), (select event_id from job_event_log_cursor))
and placed.event_id is null
order by e.xid, e.event_id
limit 1
"""


async def seal(database: Database, *, wait: bool = False) -> int:
    """Gives positions to at most `MOST_AT_ONCE` events, and returns their number.

    While another process seals, returns 0 at once, or with `wait` waits until that process has finished. Works only on the
    primary server.
    """
    async with database.transaction(), database.raw() as connection:
        if wait:
            await connection.execute(WAIT_FOR_LOCK, SEALING)
        elif not await connection.fetchval(TRY_LOCK, SEALING):
            return 0
        return await _seal(connection)


async def seal_everything(database: Database) -> None:
    """Gives positions to all events of transactions older than every running transaction."""
    while await seal(database, wait=True) == MOST_AT_ONCE:
        pass


async def seal_lag(database: Database) -> float:
    """Returns for how many seconds the next event to be sealed has waited, or 0 if none waits."""
    waited = await database.fetch_val(LAG)
    return 0.0 if waited is None else max(0.0, float(waited))


async def keep_sealing(database: Database) -> None:
    """Seals every `SEAL_EVERY` seconds until cancelled.

    Several processes may run this, and a lock lets one process seal at a time.
    """
    while True:
        try:
            busy = await seal(database) == MOST_AT_ONCE
        except DATABASE_ERRORS as error:
            log_trouble(log, "nothing was sealed", error)
            busy = False
        await asyncio.sleep(0 if busy else SEAL_EVERY)


async def _seal(connection: Connection) -> int:
    cursor = await connection.fetchrow(READ_CURSOR)
    assert cursor is not None
    if cursor["same_cluster"] is False:
        await connection.execute(SEAL_WHAT_WAS_RESTORED, cursor["position"])
        cursor = await connection.fetchrow(READ_CURSOR)
        assert cursor is not None
    after = (cursor["xid"] or "0", cursor["event_id"] or 0, cursor["position"] or 0)
    return int(await connection.fetchval(SEAL, *after, MOST_AT_ONCE))
