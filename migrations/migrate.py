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
from migrations.schema import ROW_TYPES, SEALER, SEALS_WITH, TABLES, Rights, sealer_rights, service_rights

__all__ = ["NewerSchema", "UnknownRole", "UnsuitableDatabase", "grant", "migrate", "newest_revision"]

PATIENCE = 60.0  # seconds during which `migrate` tries to lock a table that is in use
PAUSE = 1.0  # seconds between two tries, in which the queries on the table go on

SCHEMA_OF_THE_TABLES = """
select quote_ident(n.nspname) from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.oid = to_regclass('job_events')
"""

# Sequences behind identity columns are left out, because PostgreSQL asks for no right on them.
SEQUENCES = """
select distinct quote_ident(s.relname) from pg_class s join pg_depend d on d.objid = s.oid and d.deptype = 'a'
where s.relkind = 'S' and d.classid = 'pg_class'::regclass and d.refobjid = any($1::text[]::regclass[]::oid[])
"""

# Roles that may give positions and may not append: those to which `--sealer-role` has granted its rights.
SEALERS = """
select r.rolname::text from pg_roles r
where has_any_column_privilege(r.oid, $1::text::regclass, 'insert')
and not has_any_column_privilege(r.oid, 'job_events'::regclass, 'insert')
order by r.rolname
"""


class UnknownRole(LookupError):
    """PostgreSQL has no role of this name."""


class NewerSchema(UnsuitableDatabase):
    """The database has a schema of a newer version of Rireki."""


def migrate(url: str, opening: Opening = open_plainly, *, origin: str | None = None) -> None:
    """Brings the database at `url` to the newest schema, if it is not there already.

    The first call names the log `origin`, or `rireki/<random id>` without it. Later calls ignore `origin`. Concurrent calls
    take turns. Raises `UnsuitableDatabase` (or its subclass `NewerSchema`), or PostgreSQL's error.
    """
    if asyncio.run(_is_newest(url, opening)):
        return
    until = time.monotonic() + PATIENCE
    while True:
        try:
            command.upgrade(_config(url, opening, origin), "head")
            return
        except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError):
            # Each revision has its own commit, so the next try continues with the revision that failed.
            if time.monotonic() + LOCK_TIMEOUT > until:
                raise
            time.sleep(PAUSE)


@cache
def newest_revision() -> str:
    """Returns the number of the newest revision in this version of Rireki, such as "0011"."""
    return ScriptDirectory.from_config(_config()).get_current_head() or ""


def grant(url: str, role: str, opening: Opening = open_plainly, *, sealer: str | None = None) -> list[str]:
    """Grants an existing role the rights that the service needs, and takes back all others.

    It may append to the log, and not change it. Its right to give positions ends as soon as another role has it: the
    role `sealer`, which gets the rights to seal and nothing else, or a role that an earlier call has named. Returns the
    names of these roles. Rights on objects that are not Rireki's do not change.

    Raises `UnknownRole`, `UnsuitableDatabase`, or PostgreSQL's error.
    """
    return asyncio.run(_grant(url, role, sealer, opening))


async def _grant(url: str, role: str, sealer: str | None, opening: Opening) -> list[str]:
    connection = await connect(url, opening)
    try:
        quoted = await _quoted(connection, role)
        quoted_sealer = None if sealer is None else await _quoted(connection, sealer)
        await take_turn(connection)
        async with connection.transaction():
            if quoted_sealer is not None:
                await _give(connection, quoted_sealer, sealer_rights())
            # If another role seals, the service's role has no right to seal, even if it had that
            # right before.
            await _give(connection, quoted, service_rights(seals=False), appends=True)
            sealers = [row[0] for row in await connection.fetch(SEALERS, next(iter(SEALER)))]
            if not sealers:
                await _give(connection, quoted, service_rights(seals=True), appends=True)
            return sealers
    finally:
        await connection.close()


async def _quoted(connection: Connection, role: str) -> str:
    quoted: str | None = await connection.fetchval("select quote_ident(rolname) from pg_roles where rolname = $1", role)
    if quoted is None:
        raise UnknownRole(f"PostgreSQL has no role {role!r}: create it first")
    return quoted


async def _give(connection: Connection, role: str, rights: dict[str, Rights], *, appends: bool = False) -> None:
    """Gives the role these rights and no others on our tables.

    A role that appends also gets the row types of an append, and the sequence of the events.
    """
    schema = await connection.fetchval(SCHEMA_OF_THE_TABLES)
    tables = {table: f"{schema}.{table}" for table in TABLES}
    sequences = [f"{schema}.{row[0]}" for row in await connection.fetch(SEQUENCES, list(tables.values()))]
    statements = [f"grant usage on schema {schema} to {role}"]
    statements += [f"revoke all on sequence {sequence} from {role}" for sequence in sequences]
    statements += [f"revoke all on {table} from {role}" for table in tables.values()]
    statements += [f"grant {_named(each)} on {tables[table]} to {role}" for table, each in rights.items()]
    statements += [f"revoke all on function {schema}.{SEALS_WITH}() from {role}"]
    if any(rights[table].insert for table in SEALER if table in rights):
        statements += [f"grant execute on function {schema}.{SEALS_WITH}() to {role}"]
    if appends:
        statements += [f"grant usage on type {schema}.{row_type} to {role}" for row_type in ROW_TYPES]
        statements += [f"grant usage on sequence {sequence} to {role}" for sequence in sequences]
    for statement in statements:
        await connection.execute(statement)


def _named(rights: Rights) -> str:
    """Returns these rights as GRANT names them, such as `select, insert (id, name), delete`."""
    named = ["select"]
    named += [f"{right} ({columns})" for right, columns in (("insert", rights.insert), ("update", rights.update)) if columns]
    return ", ".join([*named, "delete"] if rights.delete else named)


async def _is_newest(url: str, opening: Opening) -> bool:
    """Returns whether the database has the newest schema already. Raises `NewerSchema`.

    Alembic finds that out too, but it takes as long as the rest of the start of a command.
    """
    connection = await connect(url, opening)
    try:
        if await connection.fetchval("select to_regclass('alembic_version')") is None:
            return False
        found = await connection.fetchval("select max(version_num) from alembic_version")
    finally:
        await connection.close()
    if found == newest_revision():
        return True
    known = {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}
    if found is not None and found not in known:
        raise NewerSchema(
            f"the schema is at {found}, and this version of Rireki knows none after {newest_revision()}: run the version that"
            " created it, or a newer one"
        )
    return False


def _config(url: str | None = None, opening: Opening = open_plainly, origin: str | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.attributes["url"] = url
    config.attributes["opening"] = opening
    config.attributes["origin"] = origin
    return config
