"""Appends that meet a row lock or a full disk wait without delaying other jobs."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from structlog.testing import capture_logs

from events import database as database_module
from events.database import Connection
from events.job import Status
from events.store import Store
from tests.histories import canceling, completing, open_store, reporting, until, what_is_broken
from tests.proxy import Proxy
from tests.store.stores import Counted, is_true, prepared, true_of, waiting_for_locks, words_of


async def test_a_write_that_the_lost_backend_still_commits_is_not_written_again(
    far_store: Store, proxy: Proxy, connection: Connection, locker: Connection
) -> None:
    [job] = await prepared(far_store)
    decision = Counted(completing({"n": 1}))
    async with asyncio.timeout(10):
        async with locker.transaction():
            await locker.execute("select from jobs where id = $1 for update", job.id)
            completing_it = asyncio.create_task(far_store.append(job, decision, actor="worker:w1"))
            await until(lambda: waiting_for_locks(connection, 1))

            proxy.cut()
            # Two backends wait for the lock: the one of the first try, which does not notice the
            # cut connection, and the one of the second try.
            await until(lambda: waiting_for_locks(connection, 2))
        done = await completing_it

    assert (done.status, done.seq, len(decision.jobs)) == ("completed", 3, 1)
    assert await words_of(far_store, job) == ["queued", "started", "completed"]
    assert await what_is_broken(connection) == []


@pytest.fixture
def short_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets new connections wait for a lock only for a short time."""
    monkeypatch.setitem(database_module.SERVER_SETTINGS, "lock_timeout", "50ms")


async def test_a_write_is_not_given_up_while_its_first_try_still_locks_the_row(
    short_locks: None, far_store: Store, proxy: Proxy, connection: Connection, locker: Connection
) -> None:
    [job] = await prepared(far_store)
    await connection.execute(WAITS_IN_COMMIT)
    decision = Counted(completing({"n": 1}))
    with capture_logs() as logged:
        async with asyncio.timeout(20), locker.transaction():
            await locker.execute("select pg_advisory_xact_lock(4711)")
            completing_it = asyncio.create_task(far_store.append(job, decision, actor="worker:w1"))
            await until(lambda: waiting_for_locks(connection, 1))
            proxy.cut()

            # The first try keeps the row locked while it commits. The second try meets the locked
            # row again and again.
            await until(lambda: true_of(lambda: completing_it.done() or _met_a_held_row(logged) > 10))
        done = await completing_it

    assert (done.status, done.seq, len(decision.jobs)) == ("completed", 3, 1)
    assert await words_of(far_store, job) == ["queued", "started", "completed"]
    assert await what_is_broken(connection) == []


# Makes a commit wait, as if for a standby server: the row stays locked, and the outcome is unknown.
WAITS_IN_COMMIT = """
create function wait_in_commit() returns trigger language plpgsql as $$
begin
    perform set_config('lock_timeout', '0', true);
    perform pg_advisory_xact_lock(4711);
    return null;
end $$;
create constraint trigger waits_in_commit after insert on job_events deferrable initially deferred
for each row when (new.type = 'completed') execute function wait_in_commit();
"""


def _met_a_held_row(logged: Sequence[Mapping[str, Any]]) -> int:
    return sum("a row is locked by another transaction" in line["event"] for line in logged)


async def test_a_locked_row_delays_no_other_job_for_long(
    monkeypatch: pytest.MonkeyPatch, database_url: str, connection: Connection, locker: Connection
) -> None:
    monkeypatch.setitem(database_module.SERVER_SETTINGS, "lock_timeout", "500ms")
    async with open_store(database_url) as store:
        held, others = await prepared(store, 20), await prepared(store, 20)
        async with locker.transaction():
            await locker.execute("select from jobs where id = any($1::uuid[]) for update", [job.id for job in held])
            writing = [asyncio.create_task(store.append(job, completing(), actor="worker:w1")) for job in held[:10]]
            await until(lambda: waiting_for_locks(connection, 1))
            writing += [asyncio.create_task(store.append(job, completing(), actor="worker:w1")) for job in held[10:]]
            await until(lambda: waiting_for_locks(connection, 2))

            async with asyncio.timeout(4):
                await asyncio.gather(*(store.append(job, completing(), actor="worker:w1") for job in others))

            assert not any(task.done() for task in writing)
        async with asyncio.timeout(10):
            assert {job.status for job in await asyncio.gather(*writing)} == {Status.COMPLETED}
    assert await what_is_broken(connection) == []


async def test_a_write_that_waits_for_a_locked_row_is_written_when_it_is_free(
    short_locks: None, database_url: str, locker: Connection
) -> None:
    async with open_store(database_url) as store:
        [job] = await prepared(store)
        with capture_logs() as logged:
            async with locker.transaction():
                await locker.execute("select from jobs where id = $1 for update", job.id)
                first = asyncio.create_task(store.append(job, reporting(1), actor="worker:w1"))
                await until(lambda: true_of(lambda: _met_a_held_row(logged) > 0))
                second = asyncio.create_task(store.append(job.id, canceling, actor="user:x"))
                await until(lambda: true_of(lambda: _met_a_held_row(logged) > 1))

        async with asyncio.timeout(10):
            assert ((await first).seq, (await second).seq) == (3, 4)
        assert await words_of(store, job) == ["queued", "started", "progress", "canceled"]


async def test_a_store_stops_although_a_row_of_its_writes_is_locked(
    short_locks: None, database_url: str, connection: Connection, locker: Connection
) -> None:
    async with asyncio.timeout(10), locker.transaction():
        async with open_store(database_url) as store:
            [job] = await prepared(store)
            await locker.execute("select from jobs where id = $1 for update", job.id)
            with capture_logs() as logged:
                writing = asyncio.create_task(store.append(job, completing(), actor="worker:w1"))
                await until(lambda: true_of(lambda: _met_a_held_row(logged) > 0))

        with pytest.raises(ConnectionError):
            await writing


async def test_a_write_to_a_full_disk_is_written_when_there_is_space_again(store: Store, connection: Connection) -> None:
    jobs = await prepared(store, 3)
    await connection.execute(DISK_IS_FULL)
    writing = [asyncio.create_task(store.append(job, completing(), actor="worker:w1")) for job in jobs]
    await until(lambda: is_true(connection, "select last_value >= 4 from tries"))

    await connection.execute("drop trigger disk_is_full on job_events")

    async with asyncio.timeout(10):
        assert [(job.status, job.seq) for job in await asyncio.gather(*writing)] == [("completed", 3)] * 3
    assert await what_is_broken(connection) == []


DISK_IS_FULL = """
create sequence tries;
create function refuse_because_the_disk_is_full() returns trigger language plpgsql as $$
begin
    perform nextval('tries');
    raise exception 'could not extend file: No space left on device' using errcode = 'disk_full';
end $$;
create trigger disk_is_full before insert on job_events
for each row when (new.type = 'completed') execute function refuse_because_the_disk_is_full();
"""
