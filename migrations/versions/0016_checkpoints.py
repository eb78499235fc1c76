"""Signed checkpoints of the log, and the origins under which they are signed.

`log_origins` names the log: the row with the highest number is the current log. `checkpoints` keeps every signed note for ever.
`cosignatures` keeps the signature lines of witnesses, and `redactions` the signed notes about erased data. `signing_state` has
one row, which says whether the last signer signed, and why not.
"""

import secrets

from alembic import context, op
from sqlalchemy import text

from migrations.sql import run

revision = "0016"
down_revision = "0015"

TABLES = """
create table log_origins (
    number         integer     not null constraint a_log_has_its_own_number primary key,
    origin         text        not null constraint a_log_has_its_own_origin unique,
    began_at       timestamptz not null default now(),
    reason         text,
    old_origin     text constraint an_old_log_is_known references log_origins (origin),
    old_size       bigint,
    old_root       bytea,
    abandoned_size bigint,
    abandoned_root bytea,
    constraint an_origin_can_name_a_key check (origin ~ '^[^[:space:][:cntrl:]+]+$' and length(origin) <= 500),
    constraint only_a_later_log_has_a_log_before check ((number = 1) = (old_origin is null)),
    constraint a_later_log_has_a_reason check (number = 1 or reason is not null),
    constraint an_old_checkpoint_has_a_size_and_a_root check (
        (old_size is null) = (old_root is null) and coalesce(old_size, 0) >= 0 and coalesce(octet_length(old_root), 32) = 32
    ),
    constraint an_abandoned_checkpoint_has_a_size_and_a_root check (
        (abandoned_size is null) = (abandoned_root is null) and coalesce(abandoned_size, 0) >= 0
        and coalesce(octet_length(abandoned_root), 32) = 32
    )
);

create table checkpoints (
    origin    text        not null constraint a_checkpoint_is_of_a_log references log_origins (origin),
    size      bigint      not null,
    root      bytea       not null,
    note      text        not null,
    signed_at timestamptz not null default clock_timestamp(),
    copied_at timestamptz,
    constraint a_size_of_a_log_has_one_root primary key (origin, size),
    constraint a_size_is_not_negative check (size >= 0),
    constraint a_root_has_32_bytes check (octet_length(root) = 32)
);
create index checkpoints_without_copy on checkpoints (size) where copied_at is null;

create table cosignatures (
    origin      text        not null,
    size        bigint      not null,
    witness     text        not null,
    line        text        not null,
    received_at timestamptz not null default clock_timestamp(),
    constraint a_witness_signs_a_checkpoint_once primary key (origin, size, witness),
    constraint a_cosignature_is_of_a_checkpoint foreign key (origin, size) references checkpoints (origin, size)
);

create table redactions (
    position   bigint      not null constraint a_position_is_erased_once primary key,
    note       text        not null,
    created_at timestamptz not null default clock_timestamp()
);

create table signing_state (
    only_row boolean     not null default true constraint signing_state_pkey primary key,
    state    text        not null default 'unknown',
    detail   text        not null default '',
    copies   boolean     not null default false,
    since    timestamptz not null default clock_timestamp(),
    constraint there_is_one_signing_state check (only_row),
    constraint a_signing_state_is_one_of_four check (state in ('unknown', 'signing', 'waiting', 'stopped'))
);
insert into signing_state default values;
"""

FIRST_ORIGIN = "insert into log_origins (number, origin) values (1, :origin)"

GUARDS = """
create function refuse_to_change_a_checkpoint() returns trigger language plpgsql as $$
begin
    raise exception '% is append-only: % is refused', tg_table_name, lower(tg_op) using errcode = 'insufficient_privilege';
end
$$;

create function let_a_checkpoint_only_be_copied() returns trigger language plpgsql as $$
begin
    if tg_op = 'UPDATE' and old.copied_at is null and new.copied_at is not null
    and (new.origin, new.size, new.root, new.note, new.signed_at) = (old.origin, old.size, old.root, old.note, old.signed_at) then
        return new;
    end if;
    raise exception 'checkpoints is append-only: % is refused', lower(tg_op) using errcode = 'insufficient_privilege';
end
$$;

create function refuse_a_checkpoint_out_of_order() returns trigger language plpgsql as $$
begin
    if new.origin <> (select o.origin from log_origins o order by o.number desc limit 1)
    or exists (select from checkpoints c where c.origin = new.origin and c.size >= new.size) then
        raise exception 'a new checkpoint must be of the current log, and larger than its last one'
            using errcode = 'insufficient_privilege';
    end if;
    return new;
end
$$;

create trigger origins_are_never_changed before update or delete on log_origins
    for each row execute function refuse_to_change_a_checkpoint();
create trigger origins_are_never_truncated before truncate on log_origins
    for each statement execute function refuse_to_change_a_checkpoint();
create trigger checkpoints_are_only_copied before update or delete on checkpoints
    for each row execute function let_a_checkpoint_only_be_copied();
create trigger checkpoints_grow before insert on checkpoints
    for each row execute function refuse_a_checkpoint_out_of_order();
create trigger checkpoints_are_never_truncated before truncate on checkpoints
    for each statement execute function refuse_to_change_a_checkpoint();
create trigger cosignatures_are_never_changed before update or delete on cosignatures
    for each row execute function refuse_to_change_a_checkpoint();
create trigger cosignatures_are_never_truncated before truncate on cosignatures
    for each statement execute function refuse_to_change_a_checkpoint();
create trigger redactions_are_never_changed before update or delete on redactions
    for each row execute function refuse_to_change_a_checkpoint();
create trigger redactions_are_never_truncated before truncate on redactions
    for each statement execute function refuse_to_change_a_checkpoint();

alter table log_origins enable always trigger origins_are_never_changed;
alter table log_origins enable always trigger origins_are_never_truncated;
alter table checkpoints enable always trigger checkpoints_are_only_copied;
alter table checkpoints enable always trigger checkpoints_grow;
alter table checkpoints enable always trigger checkpoints_are_never_truncated;
alter table cosignatures enable always trigger cosignatures_are_never_changed;
alter table cosignatures enable always trigger cosignatures_are_never_truncated;
alter table redactions enable always trigger redactions_are_never_changed;
alter table redactions enable always trigger redactions_are_never_truncated;
"""

# Roles that could read the tiles can read the new tables. Roles that could write tiles can sign checkpoints.
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
        where c.oid = 'log_tiles'::regclass and p.grantee <> c.relowner and p.privilege_type in ('SELECT', 'INSERT')
    loop
        if granted.privilege = 'SELECT' then
            execute format('grant select on log_origins, checkpoints, cosignatures, redactions, signing_state to %s',
                           granted.role);
        else
            execute format('grant insert on log_origins, checkpoints, cosignatures to %s', granted.role);
            execute format('grant update (copied_at) on checkpoints to %s', granted.role);
            execute format('grant update (state, detail, copies, since) on signing_state to %s', granted.role);
        end if;
    end loop;
end
$$;
"""


def upgrade() -> None:
    run(TABLES)
    origin = context.config.attributes.get("origin") or f"rireki/{secrets.token_hex(8)}"
    op.get_bind().execute(text(FIRST_ORIGIN), {"origin": origin})
    run(GUARDS)
    run(RIGHTS)
