"""The database's own guards of the log: triggers, constraints, unique indexes, columns.

This module reads them from PostgreSQL's catalog, and compares them with those that the migrations create (`guards.json`).
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import orjson

from events.database import Connection

TABLES = (
    "job_events", "job_event_log_cursor", "job_event_log_rows", "log_tiles", "log_upper_tiles", "log_tail", "log_strays", "jobs",
    "log_origins", "checkpoints", "cosignatures", "redactions",
)  # fmt: skip

# Each row is a guard ("trigger jobs.name") and its definition, as PostgreSQL writes it, the same in every supported version.
# NOT NULL constraints are part of their column's definition, because only some versions list them in `pg_constraint`.
GUARDS = """
with guarded as (
    select c.oid, c.relname::text as name, c.relkind, c.relpersistence, c.relrowsecurity
    from unnest($1::text[]) as wanted join pg_class c on c.oid = to_regclass(wanted)
)
select format('table %s', g.name) as guard,
    concat_ws(' ', g.relkind, g.relpersistence, case when g.relrowsecurity then 'row security' end) as definition
from guarded g
union all
select format('column %s.%s', g.name, a.attname),
    concat_ws(' ', format_type(a.atttypid, a.atttypmod), case when a.attnotnull then 'not null' end,
        case when a.attgenerated <> '' then 'generated' end, 'default ' || pg_get_expr(d.adbin, d.adrelid))
from guarded g join pg_attribute a on a.attrelid = g.oid and a.attnum > 0 and not a.attisdropped
left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
union all
select format('constraint %s.%s', g.name, c.conname), pg_get_constraintdef(c.oid, true)
from guarded g join pg_constraint c on c.conrelid = g.oid and c.contype <> 'n'
union all
select format('unique index %s.%s', g.name, i.indexrelid::regclass),
    concat_ws(' ', pg_get_indexdef(i.indexrelid, 0, true), case when not (i.indisvalid and i.indisready) then 'invalid' end)
from guarded g join pg_index i on i.indrelid = g.oid and i.indisunique
union all
select format('trigger %s.%s', g.name, t.tgname),
    concat_ws(' ', pg_get_triggerdef(t.oid, true), case t.tgenabled when 'A' then 'always' when 'D' then 'off' end,
        l.lanname, regexp_replace(p.prosrc, '\\s+', ' ', 'g'), p.proconfig::text)
from guarded g join pg_trigger t on t.tgrelid = g.oid and not t.tgisinternal
join pg_proc p on p.oid = t.tgfoid join pg_language l on l.oid = p.prolang
union all
select format('rule %s.%s', g.name, r.rulename), pg_get_ruledef(r.oid, true)
from guarded g join pg_rewrite r on r.ev_class = g.oid
union all
select format('policy %s.%s', g.name, p.polname), p.polcmd::text from guarded g join pg_policy p on p.polrelid = g.oid
union all
select format('heir %s.%s', g.name, i.inhrelid::regclass), 'brings rows of its own'
from guarded g join pg_inherits i on i.inhparent = g.oid
order by 1
"""

MAY_CHANGE_ROWS = ("trigger", "rule", "policy", "heir")
"""The tables may have guards of these kinds only if the migrations create them.

A foreign guard of such a kind could change which rows a statement reads or writes. Further columns, constraints or
indexes of an operator do no harm.
"""

NOT_VALID = " NOT VALID"

EXPECTED: Mapping[str, str] = orjson.loads((Path(__file__).parent / "guards.json").read_bytes())
"""The guards of the newest schema.

After a migration that changes the guards, `python -m tests.projections.test_guards` writes the file again.
"""


async def guards(connection: Connection) -> dict[str, str]:
    """Reads the guards that the database has now.

    Returns `{guard: definition}`, such as `{"column jobs.seq": "integer not null"}`.
    """
    return {row["guard"]: row["definition"] for row in await connection.fetch(GUARDS, TABLES)}


def missing_guards(found: Mapping[str, str]) -> Iterator[str]:
    """Yields a sentence for each guard that is missing, changed or not ours."""
    for guard, definition in EXPECTED.items():
        if guard not in found:
            yield f"{guard} is gone: it was {definition}"
        elif found[guard] not in (definition, definition.removesuffix(NOT_VALID)):
            yield f"{guard} is {found[guard]} and should be {definition}"
    for guard in sorted(found.keys() - EXPECTED.keys()):
        if guard.partition(" ")[0] in MAY_CHANGE_ROWS:
            yield f"{guard} is not ours: {found[guard]}"
