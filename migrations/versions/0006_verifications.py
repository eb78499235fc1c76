"""Verifications of the log that admins requested, with their results."""

from migrations.sql import run

revision = "0006"
down_revision = "0005"

TABLES = """
create table verifications (
    id               uuid        not null default gen_random_uuid() constraint verifications_pkey primary key,
    started_at       timestamptz not null default now(),
    last_seen        timestamptz not null default now(),
    finished_at      timestamptz,
    actor            text        not null,
    jobs             bigint,
    events           bigint,
    last_position    bigint,
    differences      text[]      not null default '{}',
    difference_count bigint,
    error            text,
    constraint an_actor_is_a_user_a_worker_or_the_system check (actor ~ '^(user|worker|system):.'),
    constraint a_verification_keeps_at_most_100_differences check (cardinality(differences) <= 100)
) with (fillfactor = 80);
create unique index only_one_verification_runs on verifications ((true)) where finished_at is null;
create index verifications_by_time on verifications (started_at desc);
"""


def upgrade() -> None:
    run(TABLES)
