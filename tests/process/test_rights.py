"""The rights of the service's role and of the sealer's, and the statements that need them."""

import asyncio
import importlib
import pkgutil
import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest

import events
import projections
import service
import workers
from events.database import Connection, Database
from migrations.migrate import UnknownRole, grant, migrate
from migrations.schema import SEALER, SERVICE, TABLES, Rights, columns, sealer_rights, service_rights
from projections.seal import seal
from service.readiness import SEALING, SEALING_APART, SERVING, SERVING_AND_SEALING, Duty, Readiness, look_at
from tests.histories import completing, new, open_store, starting
from tests.process.test_migrations import administer, ask, asking, empty_url, with_setting
from tests.process.test_start_faults import run

__all__ = ["empty_url"]

WRITES = re.compile(r"\b(insert into|update [a-z_]+( [a-z]+)?\s+set|delete from)\b")

HELD = """
select has_table_privilege($1, r.oid, 'select') as reads, has_table_privilege($1, r.oid, 'delete') as deletes,
    has_table_privilege($1, r.oid, 'truncate') or has_table_privilege($1, r.oid, 'trigger')
        or has_any_column_privilege($1, r.oid, 'references') as more,
    coalesce(string_agg(a.attname::text, ', ' order by a.attname::text)
        filter (where has_column_privilege($1, r.oid, a.attnum, 'insert')), '') as inserts,
    coalesce(string_agg(a.attname::text, ', ' order by a.attname::text)
        filter (where has_column_privilege($1, r.oid, a.attnum, 'update')), '') as updates
from pg_class r join pg_attribute a on a.attrelid = r.oid and a.attnum > 0 and not a.attisdropped
where r.oid = $2::text::regclass
group by r.oid
"""


def columns_in(named: str) -> list[str]:
    return [column for column in named.split(", ") if column]


@pytest.fixture
def role(postgres_url: str) -> Iterator[str]:
    with role_of_a_test(postgres_url) as name:
        yield name


@pytest.fixture
def other_role(postgres_url: str) -> Iterator[str]:
    with role_of_a_test(postgres_url) as name:
        yield name


@contextmanager
def role_of_a_test(postgres_url: str) -> Iterator[str]:
    """A role without rights, with a name that must be quoted."""
    name = f'Rireki "app" 履歴 {secrets.token_hex(4)}'
    administer(postgres_url, f"create role {quoted(name)}")
    yield name
    administer(postgres_url, f"drop role {quoted(name)}")


def quoted(role: str) -> str:
    return '"{}"'.format(role.replace('"', '""'))


@contextmanager
def all_taken_back(url: str, role: str) -> Iterator[None]:
    try:
        yield
    finally:
        administer(url, f"drop owned by {quoted(role)}")


def held(url: str, role: str) -> dict[str, Rights]:
    """Returns the rights of the role on each of our tables, as the catalog has them."""
    rights = {}
    for table in TABLES:
        row = ask(url, HELD, role, table)[0]
        assert not row["more"], f"{role} has other rights on {table} than those to change rows"
        if row["reads"]:
            rights[table] = Rights(row["inserts"], row["updates"], row["deletes"])
        else:
            assert (row["inserts"], row["updates"], row["deletes"]) == ("", "", False)
    return rights


def reads(url: str, role: str, relation: str) -> bool:
    return bool(ask(url, "select has_any_column_privilege($1, $2::text::regclass, 'select')", role, relation)[0][0])


def in_order(rights: dict[str, Rights]) -> dict[str, Rights]:
    """Returns the rights with the columns in the order of their names, as `held` gives them."""
    ordered = {}
    for table, each in rights.items():
        inserts, updates = (", ".join(sorted(columns_in(named))) for named in (each.insert, each.update))
        ordered[table] = Rights(inserts, updates, each.delete)
    return ordered


def test_the_role_of_the_service_gets_rights_on_our_tables_and_on_nothing_else(database_url: str, role: str) -> None:
    administer(
        database_url,
        "create table strangers (secret text)",
        "create table strangers_numbered (id bigserial primary key)",
        "create function strangers_secret() returns text language sql as $$ select 'secret' $$",
        "revoke execute on function strangers_secret() from public",
    )
    with all_taken_back(database_url, role):
        grant(database_url, role)

        assert held(database_url, role) == in_order(service_rights(seals=True))
        assert not reads(database_url, role, "strangers")
        assert not reads(database_url, role, "strangers_numbered")
        asked = (
            f"select has_sequence_privilege('{role}', 'strangers_numbered_id_seq', 'usage'),"
            f" has_function_privilege('{role}', 'strangers_secret()', 'execute'),"
            f" has_sequence_privilege('{role}', 'job_event_ids', 'usage')"
        )
        assert list(ask(database_url, asked)[0]) == [False, False, True]


def test_an_owner_without_superuser_migrates_beside_another_roles_view_in_the_schema(empty_url: str, role: str) -> None:
    owner, other = f"owner_{secrets.token_hex(4)}", f"other_{secrets.token_hex(4)}"
    administer(
        empty_url,
        f"create role {owner}; create role {other}; grant create, usage on schema public to {owner}, {other}",
        f"set role {other}; create view their_view as select 1 as one; create table their_table (id integer); reset role",
    )
    as_owner = with_setting(empty_url, "role", owner)
    try:
        with all_taken_back(empty_url, role):
            migrate(as_owner)

            grant(as_owner, role)

            assert held(empty_url, role) == in_order(service_rights(seals=True))
            assert not reads(empty_url, role, "their_view")
            assert not reads(empty_url, role, "their_table")
    finally:
        administer(empty_url, f"drop owned by {owner}, {other} cascade; drop role {owner}, {other}")


def test_rights_are_granted_in_the_schema_that_has_the_tables(empty_url: str, role: str) -> None:
    name = urlsplit(empty_url).path.removeprefix("/")
    administer(
        empty_url,
        'create schema "The ""tables"""; create table public.jobs (strangers text)',
        f'alter database {name} set search_path = "The ""tables""", public',
        "alter default privileges revoke usage on types from public",
    )
    migrate(empty_url)
    with all_taken_back(empty_url, role):
        grant(empty_url, role)

        ours = ask(empty_url, "select tablename from pg_tables where schemaname = 'The \"tables\"'")
        assert {row[0] for row in ours} == TABLES.keys()
        assert not reads(empty_url, role, "public.jobs")
        assert asyncio.run(positions_of_a_job_of(with_setting(empty_url, "role", role))) == 3


async def positions_of_a_job_of(url: str) -> int:
    """Runs a job and gives its events positions in the log. Returns the number of positions."""
    database = Database(url)
    await database.connect()
    async with open_store(url) as store:
        job = await store.create(new(), actor="user:x")
        job = await store.append(job, starting(), actor="worker:w1")
        await store.append(job, completing(), actor="worker:w1")
    sealed = await seal(database)
    await database.disconnect()
    return sealed


def test_rights_beyond_those_that_the_service_needs_are_revoked(database_url: str, role: str) -> None:
    with all_taken_back(database_url, role):
        administer(
            database_url,
            f"grant all on job_events, alembic_version to {quoted(role)}",
            f"grant update (xid), references (event_id) on job_events to {quoted(role)}",
            f"grant all on sequence job_event_ids to {quoted(role)}",
        )

        grant(database_url, role)

        assert held(database_url, role) == in_order(service_rights(seals=True))
        assert not ask(database_url, "select has_sequence_privilege($1, 'job_event_ids', 'update')", role)[0][0]


def test_a_sealers_role_takes_the_order_from_the_services_role_also_in_later_grants(
    database_url: str, role: str, other_role: str
) -> None:
    with all_taken_back(database_url, role), all_taken_back(database_url, other_role):
        assert grant(database_url, role) == []
        assert held(database_url, role) == in_order(service_rights(seals=True))

        assert grant(database_url, role, sealer=other_role) == [other_role]
        assert held(database_url, other_role) == in_order(sealer_rights())
        assert held(database_url, role) == in_order(service_rights(seals=False))
        assert not ask(database_url, "select has_sequence_privilege($1, 'job_event_ids', 'usage')", other_role)[0][0]

        assert grant(database_url, role) == [other_role]
        assert held(database_url, role) == in_order(service_rights(seals=False))


def test_a_services_role_seals_again_after_the_sealers_role_has_lost_its_rights(
    database_url: str, role: str, other_role: str
) -> None:
    with all_taken_back(database_url, role):
        grant(database_url, role, sealer=other_role)
        administer(database_url, f"drop owned by {quoted(other_role)}")

        assert grant(database_url, role) == []

        assert held(database_url, role) == in_order(service_rights(seals=True))


def test_an_unknown_sealer_leaves_the_rights_as_they_are(database_url: str, role: str) -> None:
    with all_taken_back(database_url, role):
        grant(database_url, role)

        with pytest.raises(UnknownRole, match="no role 'nobody'"):
            grant(database_url, role, sealer="nobody")

        assert held(database_url, role) == in_order(service_rights(seals=True))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--sealer-role", "x"], "--sealer-role needs --app-role, which names the role that loses the rights to seal"),
        (["--app-role", "x", "--sealer-role", "x"], "--sealer-role must name another role than --app-role"),
        (
            ["--app-role", "nobody", "--sealer-role", "nobody else"],
            "the schema is up to date, but no role got any rights: PostgreSQL has no role 'nobody': create it first",
        ),
    ],
)
async def test_roles_that_cannot_be_granted_are_one_line(
    database_url: str, tmp_path: Path, arguments: list[str], said: str
) -> None:
    assert await run("migrate", *arguments, home=tmp_path, DATABASE_URL=database_url) == (2, "", f"rireki: {said}\n")


async def test_the_command_says_which_role_seals(database_url: str, role: str, other_role: str, tmp_path: Path) -> None:
    arguments = ["migrate", "--app-role", role]

    alone = await run(*arguments, home=tmp_path, DATABASE_URL=database_url)
    apart = await run(*arguments, "--sealer-role", other_role, home=tmp_path, DATABASE_URL=database_url)
    again = await run(*arguments, home=tmp_path, DATABASE_URL=database_url)
    await asyncio.to_thread(administer, database_url, f"drop owned by {quoted(role)}, {quoted(other_role)}")

    assert alone == (0, "the schema is up to date\n", "")
    line = f"the role {role} may not seal, because that is the right of {other_role}"
    assert apart == again == (0, f"the schema is up to date\n{line}\n", "")


def test_every_table_stands_in_one_of_the_lists_of_rights() -> None:
    assert SERVICE.keys() | SEALER.keys() == TABLES.keys()
    assert not SERVICE.keys() & SEALER.keys()


def test_every_column_in_the_lists_of_rights_exists() -> None:
    for table, rights in (SERVICE | SEALER).items():
        assert {*columns_in(rights.insert), *columns_in(rights.update)} <= {name for name, _ in columns(table)}, table


def readiness_of(url: str, role: str, duty: Duty, *, production: bool = False) -> Readiness:
    async def look() -> Readiness:
        database = Database(with_setting(url, "role", role), pool_size=1)
        await database.connect()
        try:
            return await look_at(database, production=production, duty=duty)
        finally:
            await database.disconnect()

    return asyncio.run(look())


def test_a_role_fits_its_duty_and_no_other(database_url: str, role: str, other_role: str) -> None:
    with all_taken_back(database_url, role), all_taken_back(database_url, other_role):
        grant(database_url, role, sealer=other_role)

        def fault(role: str, duty: Duty) -> str:
            return readiness_of(database_url, role, duty).fault or ""

        assert fault(role, SERVING) == fault(other_role, SEALING) == fault(other_role, SEALING_APART) == ""
        assert fault(role, SERVING_AND_SEALING).endswith(
            "lacks delete on log_tail, insert on checkpoints, insert on cosignatures and 8 more, so it may not seal:"
            " set SEALER_DATABASE_URL to the sealer's role, or SEALER_ENABLED=false and run `rireki seal`"
        )
        assert fault(role, SEALING).endswith(
            "run `rireki migrate --app-role <role> --sealer-role <role>` as the owner of the tables"
        )
        assert " and " in fault(other_role, SERVING)
        assert fault(other_role, SERVING).endswith("run `rireki migrate --app-role <role>` as the owner of the tables")


def test_a_column_that_the_role_may_not_write_is_named(database_url: str, role: str) -> None:
    with all_taken_back(database_url, role):
        grant(database_url, role)
        administer(
            database_url,
            f"revoke insert (salt) on job_events from {quoted(role)}",
            f"revoke update (status) on jobs from {quoted(role)}",
        )

        said = readiness_of(database_url, role, SERVING).fault

        assert said is not None
        assert "lacks insert (salt) on job_events, update (status) on jobs: run `rireki migrate --app-role" in said


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ("update on job_events", "(update (event_id, job_id, "),
        ("insert (xid), delete on job_events", "(delete on job_events, insert (xid) on job_events)"),
        ("truncate on users", "(truncate on users)"),
    ],
)
def test_a_right_beyond_the_needed_ones_is_a_warning_in_production(
    database_url: str, role: str, given: str, named: str
) -> None:
    with all_taken_back(database_url, role):
        grant(database_url, role)
        assert "may do more" not in " ".join(readiness_of(database_url, role, SERVING, production=True).warnings)
        administer(database_url, f"grant {given} to {quoted(role)}")

        warning = readiness_of(database_url, role, SERVING, production=True).warnings[0]

        assert named in warning
        assert warning.startswith(f"the role {role} may do more than it needs (")
        assert readiness_of(database_url, role, SERVING).warnings == []


def test_an_owner_of_the_tables_is_a_warning_in_production(database_url: str) -> None:
    owner = ask(database_url, "select current_user::text")[0][0]

    warning = readiness_of(database_url, owner, SERVING, production=True).warnings[0]

    assert warning.startswith(f"the role {owner} owns the tables, so whoever steals its password can change the log: ")


def statements() -> dict[str, str]:
    """Returns every constant that holds a statement which writes, by module and name.

    Left out are the statements of the sealer, and of the rebuild, which the owner of the tables runs.
    """
    found = {}
    for package in (events, projections, workers, service):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if module.name in ("projections.tiles", "projections.rebuild"):
                continue
            for name, value in vars(importlib.import_module(module.name)).items():
                if isinstance(value, str) and name.isupper() and WRITES.search(value):
                    found[f"{module.name}.{name}"] = explained(value)
    return found


def explained(statement: str) -> str:
    """Returns a statement that checks the rights which `statement` needs, without running it."""
    names: dict[str, int] = {}
    numbered = re.sub(r"(?<![:\w]):(\w+)", lambda named: f"${names.setdefault(named[1], len(names) + 1)}", statement)
    return f"explain (generic_plan) {numbered}"


async def refusals(connection: Connection, role: str, plans: Mapping[str, str]) -> dict[str, str]:
    """Returns the statements that PostgreSQL refuses to this role, each with its message."""
    refused = {}
    for name, plan in plans.items():
        try:
            async with connection.transaction():
                await connection.execute(f"set local role {quoted(role)}")
                await connection.execute(plan)
        except asyncpg.InsufficientPrivilegeError as error:
            refused[name] = str(error)
    return refused


def test_the_services_role_may_run_every_statement_that_writes(database_url: str, role: str) -> None:
    async def refused() -> dict[str, str]:
        async with asking(database_url) as connection:
            return await refusals(connection, role, statements())

    with all_taken_back(database_url, role):
        grant(database_url, role)
        administer(
            database_url, f"revoke insert, update, delete on log_tiles, log_tail, job_event_log_cursor from {quoted(role)}"
        )

        assert asyncio.run(refused()) == {}


def test_every_right_of_the_services_role_is_needed_by_a_statement(database_url: str, role: str) -> None:
    plans = statements()

    async def unneeded() -> list[str]:
        idle = []
        async with asking(database_url) as connection:
            for table, right in each_right():
                about = {name: plan for name, plan in plans.items() if table in plan}
                outer = connection.transaction()
                await outer.start()
                await connection.execute(f"revoke {right} on {table} from {quoted(role)}")
                if not await refusals(connection, role, about):
                    idle.append(f"{right} on {table}")
                await outer.rollback()
        return idle

    with all_taken_back(database_url, role):
        grant(database_url, role)

        assert set(asyncio.run(unneeded())) == set()


def each_right() -> Iterator[tuple[str, str]]:
    for table, rights in SERVICE.items():
        for column in columns_in(rights.insert):
            yield table, f"insert ({column})"
        for column in columns_in(rights.update):
            yield table, f"update ({column})"
        if rights.delete:
            yield table, "delete"
