"""Gaps of messages, items that could not be read, and messages without a sender."""

from migrations.sql import run

revision = "0010"
down_revision = "0009"

TABLES = """
alter table chatwork_messages alter column sender drop not null;

create table chatwork_gaps (
    room_id           text        not null constraint a_gap_is_in_a_room references chatwork_rooms (room_id),
    after_message_id  text,
    before_message_id text,
    reason            text        not null,
    after_at          timestamptz,
    before_at         timestamptz,
    job_id            uuid,
    found_at          timestamptz not null,
    constraint a_gap_has_a_known_reason check (reason in ('over_100', 'plan')),
    constraint a_gap_ends_after_it_begins check (after_message_id::numeric < before_message_id::numeric)
);
create unique index a_gap_is_kept_once
    on chatwork_gaps (room_id, coalesce(after_message_id, ''), coalesce(before_message_id, ''), reason);
create index chatwork_gaps_by_job on chatwork_gaps (job_id) where job_id is not null;

create table chatwork_unreadable (
    room_id  text        not null constraint what_cannot_be_read_is_in_a_room references chatwork_rooms (room_id),
    item     text        not null,
    reason   text        not null,
    found_at timestamptz not null default clock_timestamp(),
    seen_at  timestamptz,
    constraint an_unreadable_item_is_kept_once primary key (room_id, item)
);
create index chatwork_unreadable_unseen on chatwork_unreadable (room_id) where seen_at is null;
"""


def upgrade() -> None:
    run(TABLES)
