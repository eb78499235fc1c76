"""Findings of a verification as JSON, each with a name and a place."""

from migrations.sql import run

revision = "0011"
down_revision = "0010"

COLUMN = "alter table verifications add column findings json not null default '[]'"


def upgrade() -> None:
    run(COLUMN)
