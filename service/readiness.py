"""Whether the database is the one that this version needs: its schema, the role's rights on it, and how safely it writes."""

from dataclasses import dataclass

from events.database import Connection, Database, Record
from events.database_faults import UnsuitableDatabase
from migrations.migrate import newest_revision
from migrations.schema import ROW_TYPES, TABLES, columns, rights

NAMED = 3  # of what is missing

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
    """`fault` is what no waiting mends, or None; `warnings` are what an operator should know. A line each, for a person."""

    fault: str | None
    warnings: list[str]


async def look_at(database: Database, *, production: bool) -> Readiness:
    """Raises what the database raises."""
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
            f"the schema is at {revision}, newer than {newest_revision()}, which this version knows: upgrade this process too"
        )
    if production and seen["unsafe"]:
        warnings.append(
            f"PostgreSQL runs with {' and '.join(seen['unsafe'])} off: after a power cut accepted jobs may be lost, or all; switch"
            " it on in postgresql.conf"
        )
    return Readiness(None, warnings)


async def refuse_what_is_unsuitable(database: Database, *, production: bool) -> list[str]:
    """At the start of a process. Returns the warnings. Raises `UnsuitableDatabase`."""
    readiness = await look_at(database, production=production)
    if readiness.fault is not None:
        raise UnsuitableDatabase(readiness.fault)
    return readiness.warnings


async def _look(connection: Connection) -> Record:
    wanted = [(relation, *column) for relation in (*TABLES, *ROW_TYPES) for column in columns(relation)]
    needed = [(table, right) for table in TABLES for right in rights(table)]
    row = await connection.fetchrow(LOOK, *map(list, zip(*wanted, strict=True)), *map(list, zip(*needed, strict=True)))
    assert row is not None
    return row


def _fault(seen: Record) -> str | None:
    if seen["elsewhere"] is not None:
        return (
            f"the tables lie in schema {seen['elsewhere']}, where the role {seen['role']} does not look or may not"
            f" (its search_path: {seen['search_path']}): run `rireki migrate --app-role`, and put that schema on its search_path"
        )
    if seen["missing"]:
        return f"the schema lacks {_few(seen['missing'])}: run `rireki migrate`, or restore what was changed by hand"
    if seen["refused"]:
        return (
            f"the role {seen['role']} lacks {_few(seen['refused'])}: run `rireki migrate --app-role <role>` as the owner of the"
            " tables"
        )
    return None


def _few(what: list[str]) -> str:
    rest = len(what) - NAMED
    return ", ".join(what[:NAMED]) + (f" and {rest} more" if rest > 0 else "")
