"""Runs a script of several SQL statements inside the running revision."""

from typing import Any

from alembic import op


def run(script: str) -> None:
    """Sends the script unchanged to PostgreSQL, so that a `:word` in it is not a parameter."""
    connection: Any = op.get_bind().connection.dbapi_connection
    connection.run_async(lambda asyncpg_connection: asyncpg_connection.execute(script))
