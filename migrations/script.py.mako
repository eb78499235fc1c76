"""${message}."""

from migrations.sql import run

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}

TABLES = """
"""


def upgrade() -> None:
    run(TABLES)
