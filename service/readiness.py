"""Check that the database fits this version: schema, rights, durability settings."""

from collections.abc import Sequence
from dataclasses import dataclass

from events.database import Connection, Database, Record
from events.database_faults import UnsuitableDatabase
from migrations.migrate import newest_revision
from migrations.schema import ROW_TYPES, SEALER, TABLES, Rights, columns, sealer_rights, service_rights
from projections.checkpoints import SigningState, signing_status
from projections.cosignatures import witness_lags
from projections.proof.cosignature import Witness
from projections.seal import seal_lag

LATE = 60.0  # seconds that an event may wait for its position before a warning
LATE_CHECKPOINT = 300.0  # seconds that a sealed event may wait for a checkpoint, and a checkpoint for its copy
NAMED = 3  # a message names at most this many missing things

LOOK = """
with wanted as (
    select * from unnest($1::text[], $2::text[], $3::text[]) as w(relation, name, type)
), missing as (
    select case when to_regclass(w.relation) is null then w.relation else w.relation || '.' || w.name end as what
    from wanted w
    left join pg_attribute a on a.attrelid = to_regclass(w.relation) and a.attname = w.name and not a.attisdropped
    where a.attname is null or format_type(a.atttypid, a.atttypmod) <> w.type
), needed as (
    select n.relation, n.name, n.privilege, not case
        when n.name is null then has_table_privilege(to_regclass(n.relation), n.privilege)
        else has_column_privilege(a.attrelid, a.attnum, n.privilege) end as refused
    from unnest($4::text[], $5::text[], $6::text[]) as n(relation, name, privilege)
    left join pg_attribute a on a.attrelid = to_regclass(n.relation) and a.attname = n.name
), refused as (
    select concat_ws(
        ' ', privilege, case when not bool_and(refused) then '(' || string_agg(name, ', ') filter (where refused) || ')' end,
        'on', relation
    ) as what
    from needed group by relation, privilege having bool_or(refused)
)
select array(select distinct what from missing order by what) as missing, array(select what from refused order by what) as refused,
    (select n.nspname::text from pg_class c join pg_namespace n on n.oid = c.relnamespace
     where c.relname = 'job_events' and c.relkind = 'r' and to_regclass('job_events') is null limit 1) as elsewhere,
    current_user::text as role, current_setting('search_path') as search_path,
    array(select s.name from pg_settings s where s.name in ('fsync', 'full_page_writes') and s.setting = 'off') as unsafe
"""

# The rights to write that the role has beyond those in the parameters. The owner of a table has all rights on it.
BEYOND = """
with held as (
    select t.relation, null as name, p.privilege, 0 as place
    from unnest($1::text[]) as t(relation) cross join unnest(array['delete', 'truncate', 'trigger']) as p(privilege)
    where has_table_privilege(to_regclass(t.relation), p.privilege)
    union all
    select t.relation, a.attname::text, p.privilege, a.attnum
    from unnest($1::text[]) as t(relation)
    join pg_attribute a on a.attrelid = to_regclass(t.relation) and a.attnum > 0 and not a.attisdropped
    cross join unnest(array['insert', 'update']) as p(privilege)
    where has_column_privilege(a.attrelid, a.attnum, p.privilege)
)
select current_user::text as role,
    exists (select from pg_class c where c.oid = to_regclass('job_events') and pg_has_role(c.relowner, 'member')) as owns,
    array(
        select concat_ws(' ', h.privilege, '(' || string_agg(h.name, ', ' order by h.place) || ')', 'on', h.relation) from held h
        where not exists (
            select from unnest($2::text[], $3::text[], $4::text[]) as m(relation, name, privilege)
            where (m.relation, m.privilege) = (h.relation, h.privilege) and m.name is not distinct from h.name
        )
        group by h.relation, h.privilege
        order by h.relation = 'job_events' desc, h.relation, h.privilege
    ) as beyond
"""

REVISION = "select max(version_num) from alembic_version"


NO_KEY = (
    "no checkpoint of the log is signed, because no key is set: make one with `rireki audit keygen`, and give it to the process"
    " that seals as AUDIT_SIGNING_KEY or AUDIT_SIGNING_KEY_FILE"
)


@dataclass(frozen=True, slots=True)
class Readiness:
    """The result of the check, in lines for an operator.

    `fault` is the reason why the process must not run, or None. Waiting does not remove the reason.
    """

    fault: str | None
    warnings: list[str]


@dataclass(frozen=True, slots=True)
class Duty:
    """The rights that a process needs on the tables, and the most that its role should have.

    `most` is None if the role also has the duty of other processes.
    """

    needs: dict[str, Rights]
    most: dict[str, Rights] | None


SERVING = Duty(service_rights(seals=False), service_rights(seals=True))
SERVING_AND_SEALING = Duty(service_rights(seals=True), service_rights(seals=True))
SEALING = Duty(sealer_rights(), None)
SEALING_APART = Duty(sealer_rights(), sealer_rights())


async def look_at(database: Database, *, production: bool, duty: Duty = SERVING_AND_SEALING) -> Readiness:
    """Checks the database and returns the result. Raises the errors of the database."""
    async with database.raw() as connection:
        seen = await _look(connection, duty.needs)
        fault = _fault(seen, duty)
        if fault is not None:
            return Readiness(fault, [])
        revision = await connection.fetchval(REVISION)
        beyond = await _beyond(connection, duty.most) if production and duty.most is not None else []
    if revision is None or revision < newest_revision():
        return Readiness(f"the schema is at {revision}, and this version needs {newest_revision()}: run `rireki migrate`", [])
    warnings = beyond
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


async def refuse_what_is_unsuitable(database: Database, *, production: bool, duty: Duty = SERVING_AND_SEALING) -> list[str]:
    """Check the database at the start of a process and return the warnings.

    Raises `UnsuitableDatabase`.
    """
    readiness = await look_at(database, production=production, duty=duty)
    if readiness.fault is not None:
        raise UnsuitableDatabase(readiness.fault)
    return readiness.warnings


async def late_positions(database: Database) -> list[str]:
    """Returns a warning if an event has waited for its position longer than `LATE`, else none."""
    lag = await seal_lag(database)
    if lag < LATE:
        return []
    warning = (
        f"the oldest event without a position in the log has waited {round(lag)} seconds: run `rireki seal`, or `rireki serve`"
        " with SEALER_ENABLED=true. If one of them runs, end the transactions of the PostgreSQL server that are older than that"
    )
    return [warning]


async def late_checkpoints(database: Database, *, production: bool) -> list[str]:
    """Returns warnings if signing has stopped or is late, or if copies of checkpoints are late.

    Outside production, a log that nobody signs is no reason for a warning.
    """
    status = await signing_status(database)
    warnings = []
    if status.state is SigningState.STOPPED:
        warnings.append(f"no checkpoint of the log is signed since {status.since:%Y-%m-%d %H:%M:%S} UTC: {status.detail}")
    elif status.state is SigningState.WAITING:
        warnings.append(f"no checkpoint of the log is signed for now: {status.detail}")
    elif status.newest is None and status.sealed and production:
        warnings.append(NO_KEY)
    elif status.newest is not None and status.lag >= LATE_CHECKPOINT:
        warnings.append(
            f"the oldest event without a checkpoint of the log has waited {round(status.lag)} seconds: run `rireki seal` or `rireki"
            " serve` with AUDIT_SIGNING_KEY or AUDIT_SIGNING_KEY_FILE, and read its log"
        )
    if status.copy_lag >= LATE_CHECKPOINT:
        warnings.append(
            f"{status.waiting_copies} checkpoints have no copy at AUDIT_CHECKPOINT_URL, the oldest since"
            f" {round(status.copy_lag)} seconds: the log of the process that signs says why"
        )
    return warnings


async def _look(connection: Connection, needs: dict[str, Rights]) -> Record:
    wanted = [(relation, *column) for relation in (*TABLES, *ROW_TYPES) for column in columns(relation)]
    needed = [(table, None, "select") for table in needs] + _to_write(needs)
    row = await connection.fetchrow(LOOK, *map(list, zip(*wanted, strict=True)), *map(list, zip(*needed, strict=True)))
    assert row is not None
    return row


async def _beyond(connection: Connection, most: dict[str, Rights]) -> list[str]:
    """Returns a warning if the role may write more than `most`, else none."""
    row = await connection.fetchrow(BEYOND, list(TABLES), *map(list, zip(*_to_write(most), strict=True)))
    assert row is not None
    if row["owns"]:
        warning = (
            f"the role {row['role']} owns the tables, so whoever steals its password can change the log: run the service under"
            " another role, to which `rireki migrate --app-role` has granted its rights"
        )
        return [warning]
    if row["beyond"]:
        warning = (
            f"the role {row['role']} may do more than it needs ({_few(row['beyond'])}): run `rireki migrate --app-role` again as"
            " the owner of the tables"
        )
        return [warning]
    return []


def _to_write(rights: dict[str, Rights]) -> list[tuple[str, str | None, str]]:
    """Returns the rights to write as `(table, column or None, right)`."""
    found: list[tuple[str, str | None, str]] = []
    for table, each in rights.items():
        for right, named in (("insert", each.insert), ("update", each.update)):
            found += [(table, column, right) for column in named.split(", ") if column]
        found += [(table, None, "delete")] * each.delete
    return found


def _fault(seen: Record, duty: Duty) -> str | None:
    if seen["elsewhere"] is not None:
        return (
            f"the tables are in schema {seen['elsewhere']}, which the role {seen['role']} may not use or does not search"
            f" (its search_path: {seen['search_path']}): run `rireki migrate --app-role`, and put that schema on its search_path"
        )
    if seen["missing"]:
        return f"the schema lacks {_few(seen['missing'])}: run `rireki migrate`, or undo the changes that were made by hand"
    if not seen["refused"]:
        return None
    lacks = f"the role {seen['role']} lacks {_few(seen['refused'])}"
    if "jobs" not in duty.needs:
        return f"{lacks}: run `rireki migrate --app-role <role> --sealer-role <role>` as the owner of the tables"
    if all(what.rpartition(" ")[2] in SEALER for what in seen["refused"]):
        return (
            f"{lacks}, so it may not seal: set SEALER_DATABASE_URL to the sealer's role, or SEALER_ENABLED=false and run"
            " `rireki seal`"
        )
    return f"{lacks}: run `rireki migrate --app-role <role>` as the owner of the tables"


def _few(what: list[str]) -> str:
    rest = len(what) - NAMED
    return ", ".join(what[:NAMED]) + (f" and {rest} more" if rest > 0 else "")


async def late_witnesses(database: Database, witnesses: Sequence[Witness]) -> list[str]:
    """Returns a warning for each witness for whose cosignature a checkpoint has waited too long."""
    return [
        f"the witness {lag.witness} has not cosigned the checkpoints of the last {round(lag.seconds)} seconds: the log of the"
        " process that signs says why"
        for lag in await witness_lags(database, witnesses)
        if lag.seconds >= LATE_CHECKPOINT
    ]
