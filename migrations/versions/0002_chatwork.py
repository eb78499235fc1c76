"""Chatwork rooms and messages, marks of requests under way, and the request budget."""

from migrations.sql import run

revision = "0002"
down_revision = "0001"

TABLES = """
create table chatwork_rooms (
    id                 uuid        not null default gen_random_uuid() constraint chatwork_rooms_pkey primary key,
    room_id            text        not null constraint a_chatwork_room_is_kept_once unique,
    name               text        not null,
    description        text,
    is_active          boolean     not null,
    last_sync_at       timestamptz,
    last_message_id    text,
    last_error_at      timestamptz,
    last_error_status  integer,
    last_error_message text,
    created_at         timestamptz not null default now(),
    updated_at         timestamptz not null default now(),
    constraint a_room_id_is_a_number check (room_id ~ '^(0|[1-9][0-9]{0,37})$'),
    constraint a_last_message_id_is_a_number check (last_message_id ~ '^(0|[1-9][0-9]{0,37})$'),
    constraint a_room_error_is_short check (length(last_error_message) <= 500)
) with (fillfactor = 80);

create table chatwork_messages (
    room_id    text        not null constraint a_message_stands_in_a_room references chatwork_rooms (room_id),
    message_id text        not null,
    number     numeric(38) not null generated always as (message_id::numeric) stored,
    sender     text        not null,
    body       text        not null,
    sent_at    timestamptz not null,
    edited_at  timestamptz,
    company_id uuid,
    created_at timestamptz not null default now(),
    constraint a_message_is_kept_once primary key (room_id, message_id),
    constraint a_message_id_is_a_number check (message_id ~ '^(0|[1-9][0-9]{0,37})$')
);
create index chatwork_messages_by_time on chatwork_messages (room_id, sent_at, number);

create table chatwork_reads (
    id      bigint      not null generated always as identity,
    room_id text        not null,
    job_id  uuid        not null,
    attempt integer     not null,
    at      timestamptz not null default now(),
    constraint an_attempt_leaves_one_mark_on_a_room primary key (room_id, job_id, attempt)
);

create table chatwork_budget (
    account       text          not null constraint a_token_has_one_budget primary key,
    taken_at      timestamptz[] not null,
    permits       integer[]     not null,
    granted       integer       not null,
    blocked_until timestamptz   not null default 'epoch',
    constraint a_block_of_permits_has_a_time check (cardinality(taken_at) = cardinality(permits))
) with (fillfactor = 50);
"""


def upgrade() -> None:
    run(TABLES)
