"""An owner's jobs by type and status, so that what is rare among many is found at once. In the place of an index that had as many
entries: a write costs what it cost."""

from migrations.sql import run

revision = "0007"
down_revision = "0006"

TABLES = """
create index jobs_of_owner on jobs (user_id, type, status, created_at, id) where user_id is not null;
drop index jobs_by_owner;
"""


def upgrade() -> None:
    run(TABLES)
