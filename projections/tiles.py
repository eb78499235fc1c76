"""The SQL that writes positions and tiles.

It gives positions to new events, and copies the rows of older positions into tiles.

Tables: `log_tail` (a row for each position after the last full tile), `log_tiles` (a row for each 256 positions, with the
hashes of their leaves), `log_upper_tiles` (a row for each 256 tiles of the level below), `log_strays` (the positions of events
that cannot be found by their transaction). `events/positions.py` reads them.

What always holds, in every snapshot:

1. Each position from 1 to the cursor's `position` stands in exactly one form: tile, tail, or old row (`events/positions.py`).
2. A tile is never changed, and a row of the tail goes only in the transaction that writes its tile. So a position never changes.
3. Within an epoch, tiles and the events in them are in the order (xid, event_id). A tile with events of two epochs, or of none,
   has no epoch (null), and its events are in `log_strays`.
4. No event at or before the cursor's (xid, event_id) can appear later in its epoch, because the sealer takes only events of
   transactions older than every running one.
5. Every event up to the cursor's `floor` (an `event_id`) was sealed in an earlier epoch.
"""

from projections.proof.entry import LEAF
from projections.proof.tiles import WIDTH

# The root of 256 leaf hashes: each step hashes the hashes of the step before in pairs.
ROOT = """(
    with recursive step(hashes) as (
        select f.leaves
        union all
        select (
            select string_agg(sha256('\\x01'::bytea || substr(step.hashes, pair * 64 + 1, 64)), ''::bytea order by pair)
            from generate_series(0, octet_length(step.hashes) / 64 - 1) as pair
        )
        from step where octet_length(step.hashes) > 32
    )
    select hashes from step where octet_length(hashes) = 32
)"""

FULL = f"""full_tile as materialized (
    select (position - 1) / {WIDTH} as tile,
        case when count(epoch) = {WIDTH} and min(epoch) = max(epoch) then min(epoch) end as epoch,
        (array_agg(xid order by position))[1] as xid, (array_agg(event_id order by position))[1] as event_id,
        array_agg(job_id order by position) as job_ids, array_agg(seq order by position) as seqs,
        string_agg(leaf, ''::bytea order by position) as leaves
    from waiting
    group by 1
    having count(*) = {WIDTH}
), tiled as (
    insert into log_tiles (tile, epoch, xid, event_id, job_ids, seqs, leaves, root, sealed_at)
    select f.tile, f.epoch, f.xid, f.event_id, f.job_ids, f.seqs, f.leaves, {ROOT}, clock_timestamp()
    from full_tile f
), strayed as (
    insert into log_strays (event_id, position)
    select w.event_id, w.position from waiting w join full_tile f on f.tile = (w.position - 1) / {WIDTH}
    where f.epoch is null and w.event_id is not null
)"""

KEPT = f"""kept as (
    insert into log_tail (position, job_id, seq, leaf, epoch, xid, event_id)
    select position, job_id, seq, leaf, epoch, xid, event_id from fresh
    where (position - 1) / {WIDTH} not in (select tile from full_tile)
)"""

WAITING = """waiting as materialized (
    select position, job_id, seq, leaf, epoch, xid, event_id from fresh
    union all
    select position, job_id, seq, leaf, epoch, xid, event_id from log_tail
)"""

MOVED = """moved as (
    update job_event_log_cursor c
    set xid = l.xid, event_id = l.event_id, position = l.position, turn = c.turn + 1,
        largest = greatest(c.largest, (select max(event_id) from fresh))
    from (select xid, event_id, position from fresh order by position desc limit 1) as l
)"""

# The number of sealed events, and the list of the tiles that have become full.
ANSWER = "select (select count(*) from fresh) as events, array(select tile from full_tile order by tile) as tiles"

# Gives the next positions to the events after the cursor.
SEAL = f"""
with fresh as materialized (
    select row_number() over (order by e.xid, e.event_id) + $3::bigint as position, e.job_id, e.seq, {LEAF} as leaf,
        $4::integer as epoch, e.xid, e.event_id
    from job_events e
    where (e.xid, e.event_id) > ($1::text::xid8, $2::bigint) and e.xid < pg_snapshot_xmin(pg_current_snapshot())
    and e.event_id > $5::bigint
    order by e.xid, e.event_id
    limit $6
), {WAITING}, {FULL}, {KEPT}, {MOVED}
{ANSWER}
"""

# While the lock waits for an append, other appends wait too. So it gives up soon, and the next call tries again.
LOCK_APPENDS_OUT = "set local lock_timeout = '1s'; select lock_appends_out()"

# Gives positions to all events that have none. These are events that came with a restore (after the cursor in the old order) and
# events that were written since (with larger ids than every sealed event). Only their ids can be compared, so they are in the
# order of their ids, and belong to no epoch.
SEAL_ALL = f"""
with fresh as materialized (
    select row_number() over (order by e.event_id) + c.position as position, e.job_id, e.seq, {LEAF} as leaf,
        null::integer as epoch, e.xid, e.event_id
    from job_event_log_cursor c
    cross join lateral (
        select * from job_events where event_id > c.largest
        union all
        select * from job_events where (xid, event_id) > (c.xid, c.event_id) and event_id > c.floor and event_id <= c.largest
    ) as e
    where not exists (select from job_event_log_rows r where r.event_id = e.event_id)
    order by e.event_id
), {WAITING}, {FULL}, {KEPT}, {MOVED}
{ANSWER}
"""

BEGIN_EPOCH = """
update job_event_log_cursor c
set system_identifier = s.system_identifier, epoch = c.epoch + 1, floor = c.largest,
    xid = pg_snapshot_xmin(pg_current_snapshot()), event_id = 0, turn = c.turn + 1
from pg_control_system() s
"""

FORGET_TAIL = "delete from log_tail where (position - 1) / 256 = any($1::bigint[])"

# If the last tile of old rows is not full, its rows move to the tail, where new events fill the tile.
TAKE_OVER = f"""
with old as materialized (
    select o.position, o.event_id, e.job_id, e.seq, e.xid, coalesce({LEAF}, decode(repeat('00', 32), 'hex')) as leaf
    from job_event_log_rows o
    left join lateral (select * from job_events where event_id = o.event_id offset 0) as e on true
    where o.position > $1 and o.position <= $2
), kept as (
    insert into log_tail (position, job_id, seq, leaf, epoch, xid, event_id)
    select position, job_id, seq, leaf, null, xid, event_id from old
)
update job_event_log_cursor set rows_to = $1, turn = turn + 1
"""

# For each tile of old rows: whether its events are in the order (xid, event_id), its first event, and its last one.
ORDER_OF_OLD_ROWS = f"""
select (position - 1) / {WIDTH} as tile, count(xid) = {WIDTH} and coalesce(bool_and(later), true) as sorted,
    (array_agg(xid::text::bigint order by position))[1] as xid, (array_agg(event_id order by position))[1] as event_id,
    (array_agg(xid::text::bigint order by position desc))[1] as last_xid,
    (array_agg(event_id order by position desc))[1] as last_event_id
from (
    select g.position, e.xid, e.event_id,
        (e.xid, e.event_id) > lag((e.xid, e.event_id)) over (partition by (g.position - 1) / {WIDTH} order by g.position) as later
    from generate_series($1::bigint + 1, $2::bigint) as g(position)
    left join job_event_log_rows o on o.position = g.position
    left join lateral (select * from job_events where event_id = o.event_id offset 0) as e on true
) as old
group by 1
order by 1
"""

CONVERT = f"""
with waiting as materialized (
    select g.position, e.job_id, e.seq, e.xid, o.event_id, coalesce({LEAF}, decode(repeat('00', 32), 'hex')) as leaf
    from generate_series($1::bigint + 1, $2::bigint) as g(position)
    left join job_event_log_rows o on o.position = g.position
    left join lateral (select * from job_events where event_id = o.event_id offset 0) as e on true
), full_tile as materialized (
    select (position - 1) / {WIDTH} as tile,
        (array_agg(xid order by position))[1] as xid, (array_agg(event_id order by position))[1] as event_id,
        array_agg(job_id order by position) as job_ids, array_agg(seq order by position) as seqs,
        string_agg(leaf, ''::bytea order by position) as leaves
    from waiting
    group by 1
), tiled as (
    insert into log_tiles (tile, epoch, xid, event_id, job_ids, seqs, leaves, root)
    select f.tile, k.epoch, f.xid, f.event_id, f.job_ids, f.seqs, f.leaves, {ROOT}
    from full_tile f join unnest($3::bigint[], $4::integer[]) as k(tile, epoch) on k.tile = f.tile
), strayed as (
    insert into log_strays (event_id, position)
    select w.event_id, w.position
    from waiting w join unnest($3::bigint[], $4::integer[]) as k(tile, epoch) on k.tile = (w.position - 1) / {WIDTH}
    where k.epoch is null and w.event_id is not null
)
update job_event_log_cursor set tiled = $2, turn = turn + 1
"""

LAST_CONVERTED = """
select t.epoch, e.xid::text::bigint as xid, e.event_id
from log_tiles t left join job_events e on e.job_id = t.job_ids[256] and e.seq = t.seqs[256]
where t.tile = $1
"""

LOWEST_EPOCH = "select least(0, min(epoch)) from log_tiles"

UPPER_TILE = f"""
with below as materialized (
    select tile, root from log_tiles where $1 = 1 and tile between $2::bigint * {WIDTH} and $2::bigint * {WIDTH} + {WIDTH - 1}
    union all
    select tile, root from log_upper_tiles
    where level = $1 - 1 and tile between $2::bigint * {WIDTH} and $2::bigint * {WIDTH} + {WIDTH - 1}
), f as (
    select string_agg(root, ''::bytea order by tile) as leaves from below having count(*) = {WIDTH}
)
insert into log_upper_tiles (level, tile, hashes, root)
select $1, $2, f.leaves, {ROOT} from f
on conflict do nothing
returning tile
"""
