"""Check that the database fits this version: schema, rights, durability settings."""

from dataclasses import dataclass

from events.database import Connection, Database, Record
from events.database_faults import UnsuitableDatabase
from migrations.migrate import newest_revision
from migrations.schema import ROW_TYPES, TABLES, columns, rights
from projections.seal import seal_lag

LATE = 60.0  # seconds that an event may wait for its position before a warning
NAMED = 3  # a message names at most this many missing things

LOOK = """
with wanted as (
    select * from unnest($1::text[], $2::text[], $3::text[]) as w(relation, name, type)
), missing as (
    select case when to_regclass(w.relation) is null then w.relation else w.relation || '.' || w.name end as what
    from wanted w
    left join pg_attribute a on a.attrelid = to_regclass(w.relation) and a.attname = w.name and not a.attisdropped
    where a.attname is null or format_type(a.atttypid, a.atttypmod) <> w.type
), refused as (
    select r.privilege || ' on ' || r.relation as what from unnest($4::text[], $5::text[]) as r(relation, privilege)
    where not has_table_privilege(to_regclass(r.relation), r.privilege)
)
select array(select distinct what from missing order by what) as missing, array(select what from refused order by what) as refused,
    (select n.nspname::text from pg_class c join pg_namespace n on n.oid = c.relnamespace
     where c.relname = 'job_events' and c.relkind = 'r' and to_regclass('job_events') is null limit 1) as elsewhere,
    current_user::text as role, current_setting('search_path') as search_path,
    array(select s.name from pg_settings s where s.name in ('fsync', 'full_page_writes') and s.setting = 'off') as unsafe
"""

REVISION = "select max(version_num) from alembic_version"


@dataclass(frozen=True, slots=True)
class Readiness:
    """The result of the check, in lines for an operator.

    `fault` is the reason why the process must not run, or None. Waiting does not remove the reason.
    """

    fault: str | None
    warnings: list[str]


async def look_at(database: Database, *, production: bool) -> Readiness:
    """Checks the database and returns the result. Raises the errors of the database."""
    async with database.raw() as connection:
        seen = await _look(connection)
        fault = _fault(seen)
        if fault is not None:
            return Readiness(fault, [])
        revision = await connection.fetchval(REVISION)
    if revision is None or revision < newest_revision():
        return Readiness(f"the schema is at {revision}, and this version needs {newest_revision()}: run `rireki migrate`", [])
    warnings = []
    if revision > newest_revision():
        warnings.append(
            f"the schema is at {revision}, which is newer than this version ({newest_revision()}): upgrade this process too"
        )
    if production and seen["unsafe"]:
        warnings.append(
            f"PostgreSQL runs with {' and '.join(seen['unsafe'])} off, so a power cut may lose accepted jobs or the whole database:"
            " switch it on in postgresql.conf"
        )
    return Readiness(None, warnings)


async def refuse_what_is_unsuitable(database: Database, *, production: bool) -> list[str]:
    """Check the database at the start of a process and return the warnings.

    Raises `UnsuitableDatabase`.
    """
    readiness = await look_at(database, production=production)
    if readiness.fault is not None:
        raise UnsuitableDatabase(readiness.fault)
    return readiness.warnings


async def late_positions(database: Database) -> list[str]:
    """Returns a warning if the next event to be sealed has waited longer than `LATE`, else none."""
    lag = await seal_lag(database)
    if lag < LATE:
        return []
    warning = (
        f"the oldest event without a position in the log has waited {round(lag)} seconds: run `rireki seal`, or `rireki serve`"
        " with SEALER_ENABLED=true. If one of them runs, end the transactions of the PostgreSQL server that are older than that"
    )
    return [warning]


async def _look(connection: Connection) -> Record:
    wanted = [(relation, *column) for relation in (*TABLES, *ROW_TYPES) for column in columns(relation)]
    needed = [(table, right) for table in TABLES for right in rights(table)]
    row = await connection.fetchrow(LOOK, *map(list, zip(*wanted, strict=True)), *map(list, zip(*needed, strict=True)))
    assert row is not None
    return row


def _fault(seen: Record) -> str | None:
    if seen["elsewhere"] is not None:
        return (
            f"the tables are in schema {seen['elsewhere']}, which the role {seen['role']} may not use or does not search"
            f" (its search_path: {seen['search_path']}): run `rireki migrate --app-role`, and put that schema on its search_path"
        )
    if seen["missing"]:
        return f"the schema lacks {_few(seen['missing'])}: run `rireki migrate`, or undo the changes that were made by hand"
    if seen["refused"]:
        return (
            f"the role {seen['role']} lacks {_few(seen['refused'])}: run `rireki migrate --app-role <role>` as the owner of the"
            " tables"
        )
    return None


def _few(what: list[str]) -> str:
    rest = len(what) - NAMED
    return ", ".join(what[:NAMED]) + (f" and {rest} more" if rest > 0 else "")
