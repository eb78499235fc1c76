"""Companies can be archived, and a draft knows how many of the period's messages it has read.

Drafts of older versions do not know it, so the column has no value for them.
"""

from migrations.sql import run

revision = "0018"
down_revision = "0016"

COLUMNS = """
alter table companies add column archived_at timestamptz;
alter table summary_drafts add column used_message_count integer;
"""


def upgrade() -> None:
    run(COLUMNS)
