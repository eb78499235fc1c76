"""Runs a script of several SQL statements inside the running revision, as it stands: no `:word` in it is a parameter."""

from typing import Any

from alembic import op


def run(script: str) -> None:
    connection: Any = op.get_bind().connection.dbapi_connection
    connection.run_async(lambda asyncpg_connection: asyncpg_connection.execute(script))
