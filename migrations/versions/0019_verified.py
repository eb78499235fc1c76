"""Adds what a verification has covered: the checkpoint that agrees with the log, and the events without a position."""

from migrations.sql import run

revision = "0019"
down_revision = "0018"

COLUMNS = "alter table verifications add column covers json, add column unsealed bigint, add column finding_counts json"


def upgrade() -> None:
    run(COLUMNS)
