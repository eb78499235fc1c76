"""Positions in tiles: 256 events in a row, with the hashes of their leaves.

Older positions stay in their rows, in the renamed table `job_event_log_rows`, until the sealer has copied them into tiles.

During an upgrade, processes of the version before may still run. They find all positions in the view `job_event_log`. Their
sealer has no effect: triggers skip the rows that it adds and its changes of the cursor, without an error.
"""

from migrations.sql import run

revision = "0015"
down_revision = "0014"

# The tables are locked in the same order as by the sealer, so that the two cannot deadlock.
LOCKS = "lock table job_event_log_cursor in access exclusive mode; lock table job_event_log in access exclusive mode"

TABLES = """
alter table job_event_log rename to job_event_log_rows;

create table log_tiles (
    tile      bigint    not null constraint a_tile_is_kept_once primary key,
    epoch     integer,
    xid       xid8,
    event_id  bigint,
    job_ids   uuid[]    not null,
    seqs      integer[] not null,
    leaves    bytea     not null,
    root      bytea     not null,
    sealed_at timestamptz,
    constraint a_tile_has_256_events check (cardinality(job_ids) = 256 and cardinality(seqs) = 256),
    constraint a_tile_has_256_leaves_and_a_root check (octet_length(leaves) = 8192 and octet_length(root) = 32)
);
alter table log_tiles alter column leaves set storage external;
create unique index log_tiles_by_transaction on log_tiles (epoch, xid, event_id);

create table log_upper_tiles (
    level  smallint not null,
    tile   bigint   not null,
    hashes bytea    not null,
    root   bytea    not null,
    constraint an_upper_tile_is_kept_once primary key (level, tile),
    constraint an_upper_tile_has_256_hashes_and_a_root check (octet_length(hashes) = 8192 and octet_length(root) = 32)
);
alter table log_upper_tiles alter column hashes set storage external;

create table log_tail (
    position bigint not null constraint a_position_is_given_once primary key,
    job_id   uuid,
    seq      integer,
    leaf     bytea  not null,
    epoch    integer,
    xid      xid8,
    event_id bigint,
    constraint an_event_stands_once_in_the_tail unique (job_id, seq),
    constraint a_leaf_has_32_bytes check (octet_length(leaf) = 32)
);

create table log_strays (
    event_id bigint not null constraint a_stray_has_one_position primary key,
    position bigint not null
);

alter table job_event_log_cursor
    add column epoch    integer not null default 0,
    add column floor    bigint  not null default 0,
    add column largest  bigint  not null default 0,
    add column tiled    bigint  not null default 0,
    add column rows_to  bigint  not null default 0,
    add column turn     bigint  not null default 0;
update job_event_log_cursor
set largest = coalesce((select max(event_id) from job_event_log_rows), 0),
    rows_to = coalesce((select max(position) from job_event_log_rows), 0);
"""

# After a restore into another cluster, sealed events may have transaction ids above the cursor. The sealer would give them a
# second position. So the cursor gets an unknown cluster (0), which makes the sealer begin a new epoch.
BEGIN_ANEW_AFTER_A_RESTORE = """
update job_event_log_cursor c set system_identifier = 0
where exists (
    select from job_events e
    cross join lateral (select from job_event_log_rows r where r.event_id = e.event_id offset 0) as placed
    where (e.xid, e.event_id) > (c.xid, c.event_id)
);
"""

GUARDS = """
create function refuse_to_change_a_tile() returns trigger language plpgsql as $$
begin
    raise exception '% is append-only: % is refused', tg_table_name, lower(tg_op) using errcode = 'insufficient_privilege';
end
$$;
create trigger tiles_are_never_changed before update or delete on log_tiles
    for each row execute function refuse_to_change_a_tile();
create trigger tiles_are_never_truncated before truncate on log_tiles
    for each statement execute function refuse_to_change_a_tile();
create trigger upper_tiles_are_never_changed before update or delete on log_upper_tiles
    for each row execute function refuse_to_change_a_tile();
create trigger upper_tiles_are_never_truncated before truncate on log_upper_tiles
    for each statement execute function refuse_to_change_a_tile();
create trigger strays_are_never_changed before update or delete on log_strays
    for each row execute function refuse_to_change_a_tile();
create trigger strays_are_never_truncated before truncate on log_strays
    for each statement execute function refuse_to_change_a_tile();
create trigger the_tail_is_never_changed before update on log_tail
    for each row execute function refuse_to_change_a_tile();
create trigger the_tail_is_never_truncated before truncate on log_tail
    for each statement execute function refuse_to_change_a_tile();

create function keep_the_tail_until_it_is_a_tile() returns trigger language plpgsql as $$
begin
    if exists (
        select from (
            select (position - 1) / 256 as tile, min((position - 1) % 256) as first, max((position - 1) % 256) as last,
                array_agg(job_id order by position) as job_ids, array_agg(seq order by position) as seqs,
                string_agg(leaf, ''::bytea order by position) as leaves
            from gone group by 1
        ) as g
        left join log_tiles t on t.tile = g.tile
        where t.tile is null
        or t.job_ids[g.first + 1 : g.last + 1] <> g.job_ids or t.seqs[g.first + 1 : g.last + 1] <> g.seqs
        or substr(t.leaves, (g.first * 32 + 1)::int, ((g.last - g.first + 1) * 32)::int) <> g.leaves
    ) then
        raise exception 'log_tail keeps its rows until a tile holds them: delete is refused'
            using errcode = 'insufficient_privilege';
    end if;
    return null;
end
$$;
create trigger the_tail_is_kept_until_it_is_a_tile after delete on log_tail referencing old table as gone
    for each statement execute function keep_the_tail_until_it_is_a_tile();

create function refuse_a_cursor_without_a_turn() returns trigger language plpgsql as $$
begin
    if new.turn = old.turn then
        return null;
    end if;
    return new;
end
$$;
create trigger the_cursor_moves_by_turns before update on job_event_log_cursor
    for each row execute function refuse_a_cursor_without_a_turn();

alter table log_tiles enable always trigger tiles_are_never_changed;
alter table log_tiles enable always trigger tiles_are_never_truncated;
alter table log_upper_tiles enable always trigger upper_tiles_are_never_changed;
alter table log_upper_tiles enable always trigger upper_tiles_are_never_truncated;
alter table log_strays enable always trigger strays_are_never_changed;
alter table log_strays enable always trigger strays_are_never_truncated;
alter table log_tail enable always trigger the_tail_is_never_changed;
alter table log_tail enable always trigger the_tail_is_never_truncated;
alter table log_tail enable always trigger the_tail_is_kept_until_it_is_a_tile;
alter table job_event_log_cursor enable always trigger the_cursor_moves_by_turns;
"""

# Processes of the version before read this view during an upgrade. Positions that their version gave are found by index. The
# other positions are few, because both versions run only for a short time.
VIEW = """
create view job_event_log as
select r.position, r.event_id, r.leaf
from job_event_log_rows r
where r.position <= (select rows_to from job_event_log_cursor)
union all
select t.tile * 256 + u.place, e.event_id, null::bytea
from log_tiles t cross join lateral unnest(t.job_ids, t.seqs) with ordinality as u(job_id, seq, place)
join job_events e on e.job_id = u.job_id and e.seq = u.seq
where t.tile * 256 >= (select rows_to from job_event_log_cursor)
union all
select l.position, l.event_id, l.leaf from log_tail l;

create function give_no_position() returns trigger language plpgsql as $$
begin
    return null;
end
$$;
create trigger an_older_sealer_gives_no_position instead of insert on job_event_log
    for each row execute function give_no_position();
"""

# A sealer that begins a new epoch must know that no append is under way. Only the owner of the tables may take such a lock, so
# the function runs as its owner.
LOCK = """
create function lock_appends_out() returns void language plpgsql security definer set search_path from current as $$
begin
    lock table job_events in share row exclusive mode;
end
$$;
revoke execute on function lock_appends_out() from public;
"""

# Roles that could read the positions can read them in the new tables. Roles that could give positions can fill tiles.
RIGHTS = """
do $$
declare
    granted record;
begin
    for granted in
        select distinct case p.grantee when 0 then 'public' else p.grantee::regrole::text end as role, p.privilege_type as privilege
        from pg_class c
        cross join lateral (
            select grantee, privilege_type from aclexplode(c.relacl)
            union all
            select x.grantee, x.privilege_type from pg_attribute a cross join aclexplode(a.attacl) x where a.attrelid = c.oid
        ) as p
        where c.oid = 'job_event_log_rows'::regclass and p.grantee <> c.relowner and p.privilege_type in ('SELECT', 'INSERT')
    loop
        execute format('grant %s on job_event_log, log_tiles, log_upper_tiles, log_tail, log_strays to %s',
                       granted.privilege, granted.role);
        if granted.privilege = 'INSERT' then
            execute format('grant delete on log_tail to %s', granted.role);
            execute format('grant update (epoch, floor, largest, tiled, rows_to, turn) on job_event_log_cursor to %s',
                           granted.role);
            execute format('grant execute on function lock_appends_out() to %s', granted.role);
        end if;
    end loop;
end
$$;
"""


def upgrade() -> None:
    for script in (LOCKS, TABLES, BEGIN_ANEW_AFTER_A_RESTORE, GUARDS, VIEW, LOCK, RIGHTS):
        run(script)
