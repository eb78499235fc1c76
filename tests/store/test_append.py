"""One append changes the log and the view together, or neither."""

from datetime import timedelta
from uuid import UUID

import asyncpg
import pytest

from events.database import Connection, Database
from events.job import (
    retry,
    word,
)
from events.store import Store
from events.writes import Idempotency, UnknownJob
from tests.histories import (
    canceling,
    completing,
    failing,
    new,
    reporting,
    starting,
)
from tests.store.stores import counts, row_and_fold, words_of


async def test_an_accepted_job_is_in_log_and_view_at_once(store: Store, database: Database) -> None:
    job = await store.create(new(delay=timedelta(minutes=5)), actor="user:x", request_id="r1")

    shown, folded = await row_and_fold(database, store, job.id)
    [event] = await store.history.events(job.id)

    assert job == shown == folded
    assert (event.seq, event.attempt, word(event.event), event.actor, event.position) == (1, 1, "queued", "user:x", None)
    assert job.run_at == job.created_at + timedelta(minutes=5)
    assert UUID(job.id).version == 7


async def test_every_append_returns_the_job_as_view_and_log_have_it(store: Store, database: Database) -> None:
    job = await store.create(new(), actor="user:x")
    steps = [
        starting(), reporting({"n": 1}), failing(), starting("w2", 2), canceling, retry, starting("w3", 3),
        reporting([1], "w3", 3), completing({"s": "終"}, "w3", 3),
    ]  # fmt: skip

    for step in steps:
        job = await store.append(job, step, actor="worker:w1")

        assert (job, job) == await row_and_fold(database, store, job.id)
    assert [event.seq for event in await store.history.events(job.id)] == list(range(1, 12))


async def test_an_event_keeps_its_actor_and_request_id(store: Store, connection: Connection) -> None:
    job = await store.create(new(), actor="user:x", request_id="r1")

    await store.append(job, starting(), actor="worker:w1", request_id="r2")

    rows = await connection.fetch("select actor, request_id from job_events order by seq")
    assert [tuple(row) for row in rows] == [("user:x", "r1"), ("worker:w1", "r2")]


async def test_a_failure_and_its_retry_are_written_in_one_transaction(store: Store, connection: Connection) -> None:
    job = await store.create(new(), actor="user:x")
    job = await store.append(job, starting(), actor="worker:w1")

    job = await store.append(job, failing(), actor="worker:w1")

    assert (job.status, job.attempt, job.seq) == ("queued", 2, 4)
    assert await connection.fetchval("select count(distinct xid) from job_events where seq in (3, 4)") == 1
    assert await connection.fetchval("select count(distinct at) from job_events where seq in (3, 4)") == 1


async def test_a_decision_without_events_writes_nothing(store: Store, connection: Connection) -> None:
    job = await store.create(new(), actor="user:x")

    same = await store.append(job, lambda job: [], actor="user:x")

    assert same == job
    assert await counts(connection) == (1, 1, 0)


async def test_an_event_that_the_log_refuses_leaves_the_view_as_it_was(store: Store, database: Database) -> None:
    job = await store.create(new(), actor="user:x")

    with pytest.raises(asyncpg.CheckViolationError):
        await store.append(job, starting(), actor="nobody")

    assert (job, job) == await row_and_fold(database, store, job.id)


async def test_a_row_that_the_view_refuses_leaves_the_log_as_it_was(
    store: Store, database: Database, connection: Connection
) -> None:
    await connection.execute("alter table jobs add constraint a_test_refuses_this_worker check (worker <> 'unwanted')")
    job = await store.create(new(), actor="user:x")

    with pytest.raises(asyncpg.CheckViolationError):
        await store.append(job, starting("unwanted"), actor="worker:unwanted")

    assert (job, job) == await row_and_fold(database, store, job.id)


async def test_a_new_job_whose_event_is_refused_leaves_neither_row_nor_key(store: Store, connection: Connection) -> None:
    with pytest.raises(asyncpg.CheckViolationError):
        await store.create(new(idempotency=Idempotency("k", "h"), unique_key="u"), actor="nobody")

    assert await counts(connection) == (0, 0, 0)


async def test_an_append_to_a_missing_job_raises_an_error(store: Store, connection: Connection) -> None:
    job = await store.create(new(), actor="user:x")
    await connection.execute("delete from jobs")

    for seen in (job, job.id):
        with pytest.raises(UnknownJob, match=job.id):
            await store.append(seen, starting(), actor="worker:w1")

    assert await words_of(store, job) == ["queued"]


async def test_writes_to_the_log_are_committed_synchronously(store: Store, connection: Connection, database_url: str) -> None:
    await connection.execute("create table seen (synchronous_commit text)")
    await connection.execute("""
        create function see() returns trigger language plpgsql as $$
        begin insert into seen values (current_setting('synchronous_commit')); return new; end $$;
        create trigger see before insert on job_events for each row execute function see();
    """)

    job = await store.create(new(), actor="user:x")
    await store.append(job, starting(), actor="worker:w1")

    plain = await asyncpg.connect(database_url)
    usual = await plain.fetchval("show synchronous_commit")
    await plain.close()
    assert {row[0] for row in await connection.fetch("select synchronous_commit from seen")} == {usual}
