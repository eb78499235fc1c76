"""The sealer and the queries of the version before tiles.

During an upgrade, processes of that version run beside processes of this version.
"""

from events.database import Connection
from tests.histories import until

SEALING = 0x7365616C

READ_CURSOR = """
select c.xid::text as xid, c.event_id, c.position, s.system_identifier = c.system_identifier as same_cluster
from pg_control_system() s left join job_event_log_cursor c on true
"""

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

ORDER = """
select l.position, e.job_id, e.seq from job_event_log l join job_events e on e.event_id = l.event_id
where l.position > $1 order by l.position limit $2
"""

HISTORY = """
select e.job_id, e.seq, l.position from job_events e left join job_event_log l on l.event_id = e.event_id
where e.job_id = $1 order by e.seq
"""


async def seal(connection: Connection, *, at_once: int = 10_000) -> int:
    async with connection.transaction():
        await connection.execute("select pg_advisory_xact_lock($1)", SEALING)
        cursor = await connection.fetchrow(READ_CURSOR)
        assert cursor is not None
        if cursor["same_cluster"] is False:
            await connection.execute(SEAL_WHAT_WAS_RESTORED, cursor["position"])
            cursor = await connection.fetchrow(READ_CURSOR)
            assert cursor is not None
        return int(await connection.fetchval(SEAL, cursor["xid"], cursor["event_id"], cursor["position"], at_once))


async def seal_everything(connection: Connection) -> None:
    async def every_event_has_a_position() -> bool:
        await seal(connection)
        left = "select count(*) from job_events e where not exists (select from job_event_log l where l.event_id = e.event_id)"
        return not await connection.fetchval(left)

    await until(every_event_has_a_position)
