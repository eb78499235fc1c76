"""Attacks with the stolen password of a database role, by signing in as that role.

PostgreSQL refuses most attacks. The verification or the lag of the sealer shows the others.
"""

import asyncio
import contextlib
import re
import secrets
from collections.abc import AsyncIterator, Iterator
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

import asyncpg
import pytest

from events.database import Connection, Database, connect_unsettled
from events.store import Store
from migrations.migrate import grant
from migrations.schema import TABLES
from projections.seal import SEALING, seal, seal_lag
from projections.verify import verify
from tests.conftest import with_database
from tests.histories import completing, give_positions, new, open_store, starting, until

PASSWORD = "stolen"
ROLES = ("service", "sealer", "nobody")

EVENT = """
insert into job_events (job_id, seq, attempt, type, data, salt, actor, at{columns})
select id, 9, 1, 'canceled', '{{"reason": "by user"}}', decode(md5('salt'), 'hex'), 'user:admin', now(){values} from jobs
"""

# The event that follows the last one of each job.
NEXT_EVENT = """
insert into job_events (job_id, seq, attempt, type, data, salt, actor, at)
select id, seq + 1, {attempt}, '{type}', {data}, decode(md5('salt'), 'hex'), 'user:admin', {at} from jobs
"""
CANCELED = NEXT_EVENT.format(type="canceled", attempt="attempt", at="now()", data="""'{"reason": "by user"}'""")
QUEUED_YESTERDAY = NEXT_EVENT.format(
    type="queued",
    attempt="attempt + 1",
    at="now() - interval '1 day'",
    data="""'{"reason": "manual_retry", "runAt": "2026-01-01T00:00:00.000000Z", "maxAttempts": 9}'""",
)

# Attacks that every role tries: on the log's guards, on other tables, on the server.
ON_THE_LOG = {
    "change an event": "update job_events set actor = 'user:somebody-else'",
    "change an event's number": "update job_events set event_id = event_id + 1000",
    "change an event's transaction": "update job_events set xid = '1'",
    "delete events": "delete from job_events",
    "truncate the log": "truncate job_events",
    "truncate everything": "truncate jobs, job_events, log_tail, log_tiles, job_event_log_cursor cascade",
    "merge events away": "merge into job_events e using log_tail l on e.event_id = l.event_id when matched then delete",
    "change an event by a conflict": """
        insert into job_events (job_id, seq, attempt, type, data, salt, actor, at)
        select job_id, seq, attempt, type, data, salt, actor, at from job_events
        on conflict (job_id, seq) do update set actor = 'user:somebody-else'
    """,
    "invent a transaction": EVENT.format(columns=", xid", values=", '1'::xid8"),
    "invent a transaction of the future": EVENT.format(columns=", xid", values=", '9223372036854775807'::xid8"),
    "invent an event id": EVENT.format(columns=", event_id", values=", -1"),
    "move the event ids": "select setval('job_event_ids', 1)",
    "restart the event ids": "alter sequence job_event_ids restart with 1",
    "change a position": "update log_tail set position = position + 100",
    "change a tile": "update log_tiles set epoch = 1",
    "delete tiles": "delete from log_tiles",
    "take a position back": "delete from log_tail",
    "change a checkpoint": "update checkpoints set note = 'another'",
    "delete checkpoints": "delete from checkpoints",
    "rename the log of events": "update log_origins set origin = 'another'",
    "delete cosignatures": "delete from cosignatures",
    "add a redaction": "insert into redactions (position, note) values (1, 'erased')",
    "truncate checkpoints": "truncate log_origins, checkpoints, cosignatures, redactions",
    "truncate the order": "truncate log_tail, job_event_log_cursor",
    "delete the cursor": "delete from job_event_log_cursor",
    "disable the guard": "alter table job_events disable trigger events_are_never_changed",
    "disable every trigger": "alter table job_events disable trigger all",
    "drop the guard": "drop trigger events_are_never_changed on job_events",
    "add a trigger": """
        create trigger mine before insert on job_events for each row execute function refuse_to_change_the_log()
    """,
    "add a rule": "create rule mine as on insert to job_events do instead nothing",
    "add a policy": "create policy mine on job_events using (false)",
    "replace the guard's function": """
        create or replace function refuse_to_change_the_log() returns trigger language plpgsql as 'begin return new; end'
    """,
    "switch triggers off": "set session_replication_role = replica",
    "switch triggers off for a function": "select set_config('session_replication_role', 'replica', false)",
    "drop a constraint": "alter table job_events drop constraint an_event_is_one_of_six",
    "drop an index": "drop index an_attempt_starts_once",
    "add a column": "alter table job_events add column mine text",
    "change a default": "alter table job_events alter column xid set default '1'",
    "rename the log": "alter table job_events rename to events_of_yesterday",
    "drop the log": "drop table job_events cascade",
    "own the log": "alter table job_events owner to current_user",
    "bring rows of a table of one's own": "create temp table mine () inherits (job_events)",
    "lock the log": "begin; lock table job_events in access exclusive mode",
    "shadow a function of the guard": """
        create function pg_temp.lower(text) returns text language sql as 'select ''nothing''';
        set search_path = pg_temp, public; update job_events set actor = 'user:x'
    """,
}

ON_OTHERS = {
    "change the record of access": "update access_records set actor = 'user:somebody-else'",
    "delete the record of access": "delete from access_records",
    "truncate the record of access": "truncate access_records",
    "backdate a record of access": "insert into access_records (actor, action, at) values ('user:x', 'read', 'epoch')",
    "number a record of access": """
        insert into access_records (id, actor, action) overriding system value values (1, 'user:x', 'read')
    """,
    "pretend another schema": "update alembic_version set version_num = '9999'",
    "delete the schema's version": "delete from alembic_version",
    "delete a job": "delete from jobs",
    "give a job another owner": "update jobs set user_id = gen_random_uuid()",
    "change a payload": "update jobs set payload = '{}'",
    "delete a user": "delete from users",
    "take over an email": "update users set email = 'me@example.com'",
    "hide when a user was added": "update users set created_at = 'epoch'",
    "change an idempotency key": "update idempotency_keys set job_id = gen_random_uuid()",
    "delete a verification": "delete from verifications",
}

ON_THE_SERVER = {
    "become the owner": "set role OWNER",
    "become the owner for good": "set session authorization OWNER",
    "become a superuser": "alter role current_user superuser",
    "create a role": "create role mine superuser",
    "join the owner's role": "grant OWNER to current_user",
    "create a function": "create function public.mine() returns int language sql as 'select 1'",
    "create a table": "create table public.mine (id integer)",
    "create a schema": "create schema mine",
    "create a way to other servers": "create foreign data wrapper mine",
    "create an event trigger": "create event trigger mine on ddl_command_start execute function refuse_to_change_the_log()",
    "run a program": "copy (select 1) to program 'true'",
    "run a program to read": "create temp table mine (line text); copy mine from program 'id'",
    "write a file": "copy (select 1) to '/tmp/mine'",
    "read a file by copy": "create temp table mine (line text); copy mine from '/etc/passwd'",
    "read a file": "select pg_read_file('/etc/passwd')",
    "list a folder": "select pg_ls_dir('.')",
    "read a file into a large object": "select lo_import('/etc/passwd')",
    "write a large object to a file": "select lo_export(LARGE_OBJECT, '/tmp/mine')",
    "delete another's large object": "select lo_unlink(LARGE_OBJECT)",
    "read passwords": "select rolpassword from pg_authid",
    "change the server's settings": "alter system set fsync = off",
    "change the database's settings": "alter database DATABASE set session_replication_role = replica",
    "reload the settings": "select pg_reload_conf()",
    "end another's connection": "select pg_terminate_backend(pid) from pg_stat_activity where pid = PID",
    "copy the log out of the server": "create subscription mine connection 'host=127.0.0.1' publication mine",
    "publish the log": "create publication mine for table job_events",
    "drop the database": "drop database DATABASE",
}

# Attacks by the service's role alone, and those by the sealer's role alone: rights that the other role has.
BY_THE_SERVICE = {
    "add a checkpoint": "insert into checkpoints (origin, size, root, note) select origin, 9, '', '' from log_origins",
    "begin a new log": "insert into log_origins (number, origin, reason, old_origin) select 2, 'a', 'b', origin from log_origins",
    "note a copy that was not made": "update checkpoints set copied_at = now()",
    "say that signing goes on": "update signing_state set state = 'signing'",
    "give a position": "insert into log_tail (position, job_id, seq, leaf) select 100, job_id, 9, salt || salt from job_events",
    "hold appends up": "select lock_appends_out()",
    "rewind the cursor": "update job_event_log_cursor set xid = '0', event_id = 0, position = 0",
    "put the cursor ahead": "update job_event_log_cursor set position = 1000000",
    "lock the cursor": "select from job_event_log_cursor for update",
    "add a cursor": "insert into job_event_log_cursor (system_identifier, xid, event_id, position) values (1, '1', 1, 1)",
}
BY_THE_SEALER = {
    "append an event": EVENT.format(columns="", values=""),
    "append an event of an invented job": """
        insert into job_events (job_id, seq, attempt, type, data, salt, actor, at)
        values (gen_random_uuid(), 1, 1, 'queued', '{}', decode(md5('salt'), 'hex'), 'user:admin', now())
    """,
    "use up event ids": "select nextval('job_event_ids')",
    "read jobs": "select payload from jobs",
    "read password hashes": "select password_hash from users",
    "read messages": "select body from chatwork_messages",
    "change the view": "update jobs set status = 'completed'",
    "add an admin": "insert into users (id, email, name, role) values (gen_random_uuid(), 'me@example.com', 'me', 'admin')",
    "add a record of access": "insert into access_records (actor, action) values ('user:x', 'read')",
    "declare workers gone": "update workers set gone_at = now()",
    "pause a type": "insert into pauses (type, reason, actor) values ('chatwork_rooms_sync', 'mine', 'user:x')",
    "change a leaf": "update log_tail set leaf = sha256(leaf)",
}
BY_NOBODY = {
    "read the log": "select data from job_events",
    "read the order": "select position from log_tail",
    "read the schema's version": "select version_num from alembic_version",
}

EVERYBODYS = ON_THE_LOG | ON_OTHERS | ON_THE_SERVER
ATTACKS = {
    "service": EVERYBODYS | BY_THE_SERVICE,
    "sealer": EVERYBODYS | BY_THE_SEALER,
    "nobody": EVERYBODYS | BY_THE_SERVICE | BY_THE_SEALER | BY_NOBODY,
}

STATE = " union all ".join(
    f"select '{table}' as what, md5(string_agg(t::text, e'\\n' order by t::text)) as digest from {table} t" for table in TABLES
)
CATALOG = """
select array_agg(md5(t::text) order by md5(t::text)) from (
    select c.relname, c.relacl::text, c.relowner::text, c.relrowsecurity::text from pg_class c
    where c.relpersistence = 'p' and c.relnamespace = 'public'::regnamespace
    union all select t.tgname, t.tgenabled::text, t.tgfoid::text, '' from pg_trigger t where not t.tgisinternal
    union all select c.conname, pg_get_constraintdef(c.oid), '', '' from pg_constraint c
    union all select p.proname, p.prosrc, '', '' from pg_proc p where p.pronamespace = 'public'::regnamespace
    union all select r.rolname, r.rolsuper::text, '', '' from pg_roles r
    union all select n.nspname, '', '', '' from pg_namespace n where n.nspname !~ '^pg_'
    union all select l.oid::text, '', '', '' from pg_largeobject_metadata l
    union all select s.sequencename, s.start_value::text, s.last_value::text, '' from pg_sequences s
) t
"""


def signed_in(url: str, role: str) -> str:
    """Returns a URL with which the role signs in itself."""
    parts = urlsplit(url)
    place = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{quote(role, safe='')}:{PASSWORD}@{place}"))


class Roles:
    """A database with a short history, and three roles that sign in to it."""

    def __init__(self, url: str, names: dict[str, str], large_object: int) -> None:
        self.url = url
        self.names = names
        self.large_object = large_object

    @contextlib.asynccontextmanager
    async def signed_in(self, role: str) -> AsyncIterator[Connection]:
        connection = await connect_unsettled(signed_in(self.url, self.names[role]))
        try:
            yield connection
        finally:
            await connection.close()


@pytest.fixture(scope="module")
def attacked(postgres_url: str, template: str) -> Iterator[Roles]:
    """A database that is shared by all attacks, because no attack changes it."""
    name = f"rireki_test_{secrets.token_hex(4)}"
    asyncio.run(_administer(postgres_url, f"create database {name} template {template}"))
    with _with_roles(with_database(postgres_url, name)) as roles:
        yield roles
    asyncio.run(_administer(postgres_url, f"drop database {name} with (force)"))


@pytest.fixture
def stolen(database_url: str) -> Iterator[Roles]:
    """A database for one test, in which a role changes something."""
    with _with_roles(database_url) as roles:
        yield roles


@pytest.fixture
async def owner(stolen: Roles) -> AsyncIterator[Database]:
    database = Database(stolen.url)
    await database.connect()
    yield database
    await database.disconnect()


@pytest.mark.parametrize(("role", "attack"), [(role, attack) for role in ROLES for attack in ATTACKS[role]])
async def test_an_attack_by_a_role_is_refused(attacked: Roles, role: str, attack: str) -> None:
    witness = await asyncpg.connect(attacked.url)
    try:
        before = await _state(witness)
        script = _placed(ATTACKS[role][attack], attacked, witness)
        async with attacked.signed_in(role) as thief:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await thief.execute(script)

        assert await _state(witness) == before
    finally:
        await witness.close()


def test_each_role_tries_at_least_25_attacks() -> None:
    assert min(map(len, ATTACKS.values())) >= 25


POSITION_OF_NO_EVENT = """
insert into log_tail (position, job_id, seq, leaf) select 100, job_id, 9, salt || salt from job_events limit 1
"""


@pytest.mark.parametrize(
    ("role", "script", "findings"),
    [
        ("service", EVENT.format(columns="", values=""), {"SEQ_GAP"}),
        ("service", CANCELED, {"ILLEGAL_TRANSITION"}),
        ("service", QUEUED_YESTERDAY, {"BACKDATED"}),
        ("service", "update jobs set result = '{\"forged\": true}'", {"VIEW_DRIFT"}),
        ("service", "update jobs set attempt = 2, max_attempts = 9", {"VIEW_DRIFT"}),
        ("sealer", POSITION_OF_NO_EVENT, {"TRUNCATED_TAIL", "INSERTED"}),
        ("sealer", "update job_event_log_cursor set position = 1000000, turn = turn + 1", {"TRUNCATED_TAIL"}),
        ("sealer", "update job_event_log_cursor set xid = '0', event_id = 0, position = 0, turn = turn + 1", {"INSERTED"}),
    ],
    ids=[
        "an event with a gap before it", "an event that no decision makes", "an event of yesterday", "a result in the view",
        "attempts in the view", "a position of no event", "a cursor put ahead", "a cursor put back",
    ],
)  # fmt: skip
async def test_what_a_role_can_forge_is_found(
    stolen: Roles, owner: Database, role: str, script: str, findings: set[str]
) -> None:
    assert (await verify(owner)).counts == {}

    async with stolen.signed_in(role) as thief:
        await thief.execute(script)

    assert {name.value for name in (await verify(owner)).counts} == findings


async def test_a_forger_who_knows_the_rules_leaves_only_the_actor(stolen: Roles, owner: Database) -> None:
    """The verification finds no fault in an event that follows all rules and updates the view.

    Only its actor is doubtful: the event has no request id, and no other record names the request.
    """
    async with open_store(signed_in(stolen.url, stolen.names["service"])) as store:
        forged = await store.create(new(), actor="user:admin")

    assert (await verify(owner)).counts == {}
    assert await owner.fetch_val("select request_id from job_events where job_id = :id", {"id": forged.id}) is None


async def test_the_service_and_the_sealer_work_with_their_rights(stolen: Roles, owner: Database) -> None:
    sealer = Database(signed_in(stolen.url, stolen.names["sealer"]))
    await sealer.connect()
    async with open_store(signed_in(stolen.url, stolen.names["service"])) as store:
        await _a_job(store)

    assert await seal(sealer, wait=True) == 3
    assert await seal_lag(sealer) == 0
    await sealer.disconnect()
    assert (await verify(owner)).unsealed == 0


async def test_a_role_that_holds_the_sealers_lock_makes_positions_late_and_the_lag_shows_it(
    stolen: Roles, owner: Database
) -> None:
    async with stolen.signed_in("nobody") as thief:
        await thief.execute("set idle_session_timeout = 0")
        await thief.fetchval("select pg_advisory_lock($1)", SEALING)
        async with open_store(stolen.url) as store:
            await store.create(new(), actor="user:x")

        assert await seal(owner) == 0
        await until(lambda: _lags(owner, 0.2))

    await until(lambda: _sealed(owner))


async def _lags(database: Database, seconds: float) -> bool:
    return await seal_lag(database) > seconds


async def _sealed(database: Database) -> bool:
    await seal(database)
    return await seal_lag(database) == 0


@contextlib.contextmanager
def _with_roles(url: str) -> Iterator[Roles]:
    names = {role: f"rireki_{role}_{secrets.token_hex(4)}" for role in ROLES}
    listed = ", ".join(names.values())
    asyncio.run(_administer(url, *(f"create role {name} login password '{PASSWORD}'" for name in names.values())))
    grant(url, names["service"], sealer=names["sealer"])
    large_object = asyncio.run(_some_rows(url))
    try:
        yield Roles(url, names, large_object)
    finally:
        asyncio.run(_administer(url, f"drop owned by {listed}", f"drop role {listed}"))


async def _some_rows(url: str) -> int:
    """Runs a job, seals its events, and adds a record of access.

    Returns the number of a large object.
    """
    database = Database(url)
    await database.connect()
    async with open_store(url) as store:
        await _a_job(store)
    await give_positions(database)
    await database.execute("insert into access_records (actor, action) values ('user:x', 'read')")
    large_object = int(await database.fetch_val("select lo_create(0)"))
    await database.disconnect()
    return large_object


async def _a_job(store: Store) -> None:
    job = await store.create(new(), actor="user:x")
    job = await store.append(job, starting(), actor="worker:w1")
    await store.append(job, completing(), actor="worker:w1")


def _placed(script: str, attacked: Roles, witness: Connection) -> str:
    """Returns the script with the names of this server in it."""
    database, owner = urlsplit(attacked.url).path[1:], witness.get_settings().session_authorization
    names = {
        "DATABASE": database,
        "OWNER": f'"{owner}"',
        "LARGE_OBJECT": attacked.large_object,
        "PID": witness.get_server_pid(),
    }
    for name, value in names.items():
        script = re.sub(rf"\b{name}\b", str(value), script)
    return script


async def _state(connection: Connection) -> list[Any]:
    """Returns digests of all rows of our tables, and of what the catalog says of them."""
    return [[tuple(row) for row in await connection.fetch(STATE)], await connection.fetchval(CATALOG)]


async def _administer(url: str, *statements: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()
