"""Users who may sign in, and tokens that were revoked before they expired."""

from migrations.sql import run

revision = "0004"
down_revision = "0003"

TABLES = """
create table users (
    id            uuid        not null constraint users_pkey primary key,
    email         text        not null,
    name          text        not null,
    role          text        not null,
    password_hash text        not null,
    created_at    timestamptz not null default now(),
    constraint a_role_is_admin_or_employee check (role in ('admin', 'employee'))
);
create unique index an_email_signs_in_one_user on users (lower(email));

create table ended_tokens (
    id         text        not null constraint a_token_ends_once primary key,
    expires_at timestamptz not null
);
create index ended_tokens_by_expiry on ended_tokens (expires_at);
"""


def upgrade() -> None:
    run(TABLES)
