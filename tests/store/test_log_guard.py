"""The log is append-only for the role of the service, and even for a superuser."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

import asyncpg
import pytest

from events.database import Connection, Database, connect
from events.job import Status, retry
from events.store import Store
from events.writes import AlreadyActive, Idempotency, KeyTaken
from migrations.migrate import grant
from projections.jobs import JobFilter, JobsView
from projections.verify import verify
from tests.histories import (
    ALICE,
    BOB,
    canceling,
    completing,
    failing,
    give_positions,
    new,
    open_store,
    reporting,
    starting,
    what_is_broken,
)

EVENT = """
insert into job_events (job_id, seq, attempt, type, data, salt, actor, at)
values ($1, $2, $3, $4, '{}', decode(repeat('00', 16), 'hex'), $5, now())
"""

INSERTABLE = """
select array_agg(attname::text order by attnum) from pg_attribute
where attrelid = 'job_events'::regclass and attnum > 0 and has_column_privilege($1, attrelid, attnum, 'insert')
"""

CHANGES = [
    "update job_events set actor = 'user:somebody-else'",
    "update job_events set seq = seq + 10",
    "update only job_events set data = '{}' where seq = 1",
    "delete from job_events",
    "delete from job_events where seq = 2",
    "truncate job_events",
    "truncate jobs, job_events, log_tail cascade",
    """
    insert into job_events select * from job_events
    on conflict on constraint an_event_has_its_own_place_in_the_history do update set actor = 'user:somebody-else'
    """,
    "merge into job_events e using jobs j on e.job_id = j.id when matched then delete",
    "with gone as (delete from job_events returning *) select count(*) from gone",
]

GUARD_REMOVALS = [
    "alter table job_events disable trigger events_are_never_changed",
    "alter table job_events drop column salt",
    "drop table job_events",
    "create or replace function refuse_to_change_the_log() returns trigger language plpgsql as 'begin return old; end'",
    "update log_tail set position = position + 1",
    "update log_tiles set root = leaves",
    "delete from log_tiles",
    "delete from log_upper_tiles",
    "delete from log_strays",
    "delete from job_event_log_rows",
    "insert into job_event_log_rows (position, event_id) values (1, 1)",
    "truncate log_tail",
]


@pytest.fixture
async def superuser(database_url: str) -> AsyncIterator[Connection]:
    connection = await connect(database_url, application_name="the test")
    yield connection
    await connection.close()


@pytest.fixture
async def role(superuser: Connection, database_url: str) -> AsyncIterator[str]:
    """A role with the service's rights and no others, whose name must be quoted."""
    name = f"Rireki test {secrets.token_hex(4)}"
    await superuser.execute(f'create role "{name}"')
    # `grant` starts an event loop of its own, so it runs in a thread.
    await asyncio.to_thread(grant, database_url, name)
    yield name
    await superuser.execute(f'drop owned by "{name}"; drop role "{name}"')


def as_role(url: str, role: str) -> str:
    """Returns a URL whose connections have the rights of the role, whichever user signs in."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(query=urlencode([*parse_qsl(parts.query), ("role", role)], quote_via=quote)))


async def log_of(connection: Connection) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in await connection.fetch("select * from job_events order by job_id, seq")]


async def some_history(store: Store) -> None:
    job = await store.create(new(), actor="user:x")
    job = await store.append(job, starting(), actor="worker:w1")
    await store.append(job, completing(), actor="worker:w1")


# With `session_replication_role = replica`, only triggers with `enable always` fire.
@pytest.mark.parametrize("replication_role", ["origin", "replica", "local"])
async def test_a_change_of_the_log_is_refused_even_to_a_superuser(
    store: Store, superuser: Connection, replication_role: str
) -> None:
    await some_history(store)
    before = await log_of(superuser)
    await superuser.execute(f"set session_replication_role = {replication_role}")

    for change in CHANGES:
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="append-only"):
            await superuser.execute(change)

        assert await log_of(superuser) == before
    assert len(before) == 3


@pytest.mark.parametrize(
    ("seq", "attempt", "type", "actor", "constraint"),
    [
        (0, 1, "queued", "user:x", "seq_begins_at_1"),
        (1, 0, "queued", "user:x", "attempt_begins_at_1"),
        (1, 1, "started", "worker:w1", "a_history_begins_with_queued"),
        (2, 1, "paused", "user:x", "an_event_is_one_of_six"),
        (2, 1, "canceled", "somebody", "an_actor_is_a_user_a_worker_or_the_system"),
        (2, 1, "canceled", "user:", "an_actor_is_a_user_a_worker_or_the_system"),
    ],
)
async def test_the_database_refuses_an_event_that_no_job_can_have(
    superuser: Connection, seq: int, attempt: int, type: str, actor: str, constraint: str
) -> None:
    with pytest.raises(asyncpg.CheckViolationError) as refused:
        await superuser.execute(EVENT, BOB, seq, attempt, type, actor)

    assert refused.value.constraint_name == constraint


async def test_two_events_of_a_job_never_have_the_same_seq(store: Store, superuser: Connection) -> None:
    job = await store.create(new(), actor="user:x")

    with pytest.raises(asyncpg.UniqueViolationError) as refused:
        await superuser.execute(EVENT, job.id, 1, 1, "queued", "user:x")

    assert refused.value.constraint_name == "an_event_has_its_own_place_in_the_history"


async def test_the_database_refuses_a_second_start_of_an_attempt(store: Store, superuser: Connection) -> None:
    job = await store.create(new(), actor="user:x")
    await store.append(job, starting(), actor="worker:w1")

    with pytest.raises(asyncpg.UniqueViolationError) as refused:
        await superuser.execute(EVENT, job.id, 3, 1, "started", "worker:w2")

    assert refused.value.constraint_name == "an_attempt_starts_once"


async def test_the_service_works_with_a_role_that_may_only_read_and_append_to_the_log(
    database_url: str, superuser: Connection, role: str
) -> None:
    url = as_role(database_url, role)
    database = Database(url)
    await database.connect()

    async with open_store(url) as store:
        assert await database.fetch_val("select current_user") == role
        job = await store.create(new(unique_key="u", idempotency=Idempotency("k", "h")), actor="user:x")
        with pytest.raises(KeyTaken):
            await store.create(new(idempotency=Idempotency("k", "h")), actor="user:x")
        with pytest.raises(AlreadyActive):
            await store.create(new(unique_key="u"), actor="user:x")
        for step in (starting(), reporting(1), failing(), canceling, retry, starting("w2", 3), completing(2, "w2", 3)):
            job = await store.append(job, step, actor="worker:w1" if job.attempt == 1 else "worker:w2")
        other = await store.create(new(), actor="user:x")
        await store.bind_key(ALICE, Idempotency("k2", "h"), other.id)
        await give_positions(database)
        log = await store.history.log()
        page = await JobsView(database).page(JobFilter(), limit=10)
        differences = (await verify(database)).differences

    await database.disconnect()
    assert job.status is Status.COMPLETED
    assert len(log) == 10
    assert {shown.id for shown in page.jobs} == {job.id, other.id}
    assert differences == []
    assert await what_is_broken(superuser) == []


async def test_the_role_of_the_service_may_only_read_and_append_to_the_log(
    database_url: str, superuser: Connection, role: str
) -> None:
    rights = ("select", "insert", "update", "delete", "truncate", "references", "trigger")
    granted = [
        right for right in rights if await superuser.fetchval("select has_table_privilege($1, 'job_events', $2)", role, right)
    ]

    assert granted == ["select"]
    assert not await superuser.fetchval("select has_any_column_privilege($1, 'job_events', 'update')", role)
    columns = await superuser.fetchval(INSERTABLE, role)
    assert columns == ["job_id", "seq", "attempt", "type", "data", "salt", "actor", "request_id", "cause", "at"]


async def test_the_role_of_the_service_cannot_change_the_log_or_remove_its_triggers(
    store: Store, superuser: Connection, database_url: str, role: str
) -> None:
    await some_history(store)
    before = await log_of(superuser)
    connection = await connect(as_role(database_url, role))

    for statement in CHANGES + GUARD_REMOVALS:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(statement)

        assert await log_of(superuser) == before
    await connection.close()


async def test_rights_can_be_granted_twice(superuser: Connection, database_url: str, role: str) -> None:
    await asyncio.to_thread(grant, database_url, role)

    assert await superuser.fetchval("select has_any_column_privilege($1, 'job_events', 'insert')", role)
    assert not await superuser.fetchval("select has_table_privilege($1, 'job_events', 'delete')", role)
