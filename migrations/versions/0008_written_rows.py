"""Row types for an append, because one array of rows is cheaper than an array per column.

A later version that needs other columns must create other types, so that both versions can write at the same time.
"""

from migrations.sql import run

revision = "0008"
down_revision = "0007"

TABLES = """
create type job_move_row as (
    id           uuid,
    expected_seq integer,
    status       text,
    result       json,
    error        json,
    attempt      integer,
    max_attempts integer,
    worker       text,
    seq          integer,
    run_at       timestamptz,
    started_at   timestamptz,
    finished_at  timestamptz,
    updated_at   timestamptz
);
create type job_creation_row as (
    id              uuid,
    type            text,
    payload         json,
    user_id         uuid,
    max_attempts    integer,
    run_at          timestamptz,
    at              timestamptz,
    unique_key      text,
    idempotency_key text,
    request_hash    text
);
create type job_event_row as (
    job_id     uuid,
    seq        integer,
    attempt    integer,
    type       text,
    data       json,
    salt       bytea,
    actor      text,
    request_id text,
    at         timestamptz
);
"""


def upgrade() -> None:
    run(TABLES)
