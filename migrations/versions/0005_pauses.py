"""Pauses of job types, and the handlers of a worker that do not stop (`workers.stuck`)."""

from migrations.sql import run

revision = "0005"
down_revision = "0004"

TABLES = """
create table pauses (
    type   text        not null constraint a_type_is_paused_once primary key,
    since  timestamptz not null default now(),
    until  timestamptz,
    reason text        not null,
    actor  text        not null,
    constraint a_pause_ends_after_it_began check (until > since),
    constraint an_actor_is_a_user_a_worker_or_the_system check (actor ~ '^(user|worker|system):.')
);

alter table workers add column stuck json not null default '[]';
"""


def upgrade() -> None:
    run(TABLES)
