"""Brings a database to the newest schema, and gives a role what the service needs of it."""

import asyncio
from pathlib import Path

import asyncpg
from alembic import command
from alembic.config import Config

# Only `job_events` is append-only by its rights; the triggers refuse everybody, whatever their rights.
GRANT = """
grant usage on schema public to {role};
grant select, insert, update, delete on all tables in schema public to {role};
grant usage on all sequences in schema public to {role};
revoke update, delete on job_events, job_event_log from {role};
revoke insert, update, delete on alembic_version from {role};
"""


class UnknownRole(LookupError):
    """PostgreSQL has no role of this name."""


def migrate(url: str) -> None:
    """Brings the database at `url` to the newest schema. Two at once take turns; an up-to-date database is left alone."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.attributes["url"] = url
    command.upgrade(config, "head")


def grant(url: str, role: str) -> None:
    """Gives an existing role the rights that the service runs with: of the log, only to read it and to add to it. Raises
    `UnknownRole`."""

    async def run() -> None:
        connection = await asyncpg.connect(url, timeout=10)
        try:
            quoted = await connection.fetchval("select quote_ident(rolname) from pg_roles where rolname = $1", role)
            if quoted is None:
                raise UnknownRole(f"PostgreSQL has no role {role!r}: create it first")
            await connection.execute(GRANT.format(role=quoted))
        finally:
            await connection.close()

    asyncio.run(run())
