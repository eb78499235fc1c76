"""The times at which each person has queued paid jobs, for LIMIT_PAID_JOBS."""

from migrations.sql import run

revision = "0013"
down_revision = "0012"

TABLE = """
create table paid_jobs (
    user_id   uuid          not null primary key,
    queued_at timestamptz[] not null
)
"""


def upgrade() -> None:
    run(TABLE)
