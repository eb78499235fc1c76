"""Brings a database to the newest schema, and grants a role the rights of the service."""

import asyncio
import time
from functools import cache
from pathlib import Path

import asyncpg
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

from migrations.connection import LOCK_TIMEOUT, Connection, Opening, UnsuitableDatabase, connect, open_plainly, take_turn
from migrations.schema import ROW_TYPES, TABLES, rights

__all__ = ["NewerSchema", "UnknownRole", "UnsuitableDatabase", "grant", "migrate", "newest_revision"]

PATIENCE = 60.0  # seconds during which `migrate` tries to lock a table that is in use
PAUSE = 1.0  # seconds between two tries, in which the queries on the table go on

SCHEMA_OF_THE_TABLES = """
select quote_ident(n.nspname) from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.oid = to_regclass('job_events')
"""

SEQUENCES = """
select distinct quote_ident(s.relname) from pg_class s join pg_depend d on d.objid = s.oid and d.deptype in ('a', 'i')
where s.relkind = 'S' and d.classid = 'pg_class'::regclass and d.refobjid = any($1::text[]::regclass[]::oid[])
"""


class UnknownRole(LookupError):
    """PostgreSQL has no role of this name."""


class NewerSchema(UnsuitableDatabase):
    """The database has a schema of a newer version of Rireki."""


def migrate(url: str, opening: Opening = open_plainly) -> None:
    """Brings the database at `url` to the newest schema, if it is not there already.

    Concurrent calls take turns. Raises `UnsuitableDatabase` (or its subclass `NewerSchema`), or PostgreSQL's error.
    """
    asyncio.run(_refuse_a_newer_schema(url, opening))
    until = time.monotonic() + PATIENCE
    while True:
        try:
            command.upgrade(_config(url, opening), "head")
            return
        except asyncpg.LockNotAvailableError:
            # Each revision has its own commit, so the next try continues with the revision that failed.
            if time.monotonic() + LOCK_TIMEOUT > until:
                raise
            time.sleep(PAUSE)


@cache
def newest_revision() -> str:
    """Returns the number of the newest revision in this version of Rireki, such as "0011"."""
    return ScriptDirectory.from_config(_config()).get_current_head() or ""


def grant(url: str, role: str, opening: Opening = open_plainly) -> None:
    """Grants an existing role the rights that the service needs, and no further ones to write.

    On the log, these are the rights to read and to append. Rights on objects that are not Rireki's do not change. Raises
    `UnknownRole`, `UnsuitableDatabase`, or PostgreSQL's error.
    """
    asyncio.run(_grant(url, role, opening))


async def _grant(url: str, role: str, opening: Opening) -> None:
    connection = await connect(url, opening)
    try:
        quoted = await connection.fetchval("select quote_ident(rolname) from pg_roles where rolname = $1", role)
        if quoted is None:
            raise UnknownRole(f"PostgreSQL has no role {role!r}: create it first")
        await take_turn(connection)
        async with connection.transaction():
            for statement in await _grants(connection, quoted):
                await connection.execute(statement)
    finally:
        await connection.close()


async def _grants(connection: Connection, role: str) -> list[str]:
    schema = await connection.fetchval(SCHEMA_OF_THE_TABLES)
    tables = {table: f"{schema}.{table}" for table in TABLES}
    sequences = [row[0] for row in await connection.fetch(SEQUENCES, list(tables.values()))]
    return [
        f"grant usage on schema {schema} to {role}",
        *(f"grant usage on type {schema}.{row_type} to {role}" for row_type in ROW_TYPES),
        *(f"grant usage on sequence {schema}.{sequence} to {role}" for sequence in sequences),
        # Revokes rights to write that an earlier version or an operator has granted, before it grants the right ones.
        *(f"revoke insert, update, delete, truncate on {name} from {role}" for name in tables.values()),
        *(f"grant {', '.join(rights(table))} on {name} to {role}" for table, name in tables.items()),
    ]


async def _refuse_a_newer_schema(url: str, opening: Opening) -> None:
    connection = await connect(url, opening)
    try:
        if await connection.fetchval("select to_regclass('alembic_version')") is None:
            return
        found = await connection.fetchval("select max(version_num) from alembic_version")
    finally:
        await connection.close()
    known = {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}
    if found is not None and found not in known:
        raise NewerSchema(
            f"the schema is at {found}, and this version of Rireki knows none after {newest_revision()}: run the version that"
            " created it, or a newer one"
        )


def _config(url: str | None = None, opening: Opening = open_plainly) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.attributes["url"] = url
    config.attributes["opening"] = opening
    return config
