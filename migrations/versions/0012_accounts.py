"""Adds disabled and invited accounts, sign-out, the role auditor and the access record."""

from migrations.sql import run

revision = "0012"
down_revision = "0011"

# Session tokens of an earlier version hold no generation. They count as generation 0, the default.
ACCOUNTS = """
alter table users
    add column disabled_at timestamptz,
    add column token_generation integer not null default 0,
    add column kept_token text,
    alter column password_hash drop not null,
    drop constraint a_role_is_admin_or_employee,
    add constraint a_role_is_admin_employee_or_auditor check (role in ('admin', 'employee', 'auditor'));

create table invitations (
    user_id    uuid        not null constraint a_user_has_one_invitation primary key
        constraint an_invitation_is_of_a_user references users on delete cascade,
    token_hash bytea       not null constraint an_invitation_has_its_own_token unique,
    created_at timestamptz not null default now(),
    expires_at timestamptz not null
);
"""

ACCESS_RECORDS = """
create table access_records (
    id         bigint      generated always as identity constraint access_records_pkey primary key,
    at         timestamptz not null default now(),
    actor      text        not null,
    action     text        not null,
    target     text,
    request_id text,
    address    text,
    constraint an_actor_is_a_user_a_worker_or_the_system check (actor ~ '^(user|worker|system):.')
);
create index access_records_by_time on access_records (at, id);
create index access_records_by_actor on access_records (actor, at, id);
create index access_records_by_action on access_records (action, at, id);

create function refuse_to_change_access_records() returns trigger language plpgsql as $$
begin
    raise exception 'access_records is append-only: % is refused', lower(tg_op) using errcode = 'insufficient_privilege';
end
$$;
create trigger access_records_are_never_changed before update or delete on access_records
    for each row execute function refuse_to_change_access_records();
create trigger access_records_are_never_truncated before truncate on access_records
    for each statement execute function refuse_to_change_access_records();
alter table access_records enable always trigger access_records_are_never_changed;
alter table access_records enable always trigger access_records_are_never_truncated;
"""


def upgrade() -> None:
    run(ACCOUNTS)
    run(ACCESS_RECORDS)
