"""The audit finds whatever was changed behind the log's back, and says nothing of what is sound; a view can always be made anew."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from events.database import Connection, Database, connect
from events.job import BrokenHistory, Job, NotAllowed, Status, force_fail, hand_back, rescue, retry
from events.store import AlreadyActive, NewJob, Store
from projections import rebuild as rebuild_module
from projections.jobs import JobsView
from projections.rebuild import REBUILDING, RebuildRefused, rebuild
from projections.seal import seal
from projections.verify import Difference, verify
from tests.histories import (
    ALICE,
    BOB,
    ERROR,
    RETRY_AT_ONCE,
    canceling,
    completing,
    failing,
    give_positions,
    new,
    open_store,
    reporting,
    starting,
    until,
    what_is_broken,
)


def unique_key(type: str, payload: Any, user_id: str | None) -> str | None:
    """The rule of these tests: of a job with a `key` in its payload one may be active."""
    key: str | None = payload.get("key")
    return key


def keyed(key: str) -> NewJob:
    return new(payload={"key": key}, unique_key=key)


@pytest.fixture
async def superuser(database_url: str) -> AsyncIterator[Connection]:
    connection = await connect(database_url, application_name="the test", idle_in_transaction_session_timeout="0")
    yield connection
    await connection.close()


@asynccontextmanager
async def unguarded(superuser: Connection) -> AsyncIterator[None]:
    """While somebody with every right tampers with the log."""
    await superuser.execute("alter table job_events disable trigger all")
    yield
    await superuser.execute("alter table job_events enable always trigger events_are_never_changed")
    await superuser.execute("alter table job_events enable always trigger events_are_never_truncated")


async def one_of_each(store: Store) -> dict[str, Job]:
    """A job in every state, with every kind of event behind them, and all of it sealed."""
    jobs = {name: await store.create(keyed(name), actor="user:x") for name in ("queued", *list(Status)[1:], "retried")}
    for name in ("processing", "completed", "failed", "retried"):
        jobs[name] = await store.append(jobs[name], starting(), actor="worker:w1")
        jobs[name] = await store.append(jobs[name], reporting({"n": 1}), actor="worker:w1")
    jobs["completed"] = await store.append(jobs["completed"], completing({"n": 1}), actor="worker:w1")
    jobs["failed"] = await store.append(jobs["failed"], failing(retry_in=None), actor="worker:w1")
    jobs["canceled"] = await store.append(jobs["canceled"], canceling, actor="user:x")
    job = await store.append(jobs["retried"], failing(), actor="worker:w1")
    job = await store.append(job, starting("w2", 2), actor="worker:w2")
    job = await store.append(job, lambda job: hand_back(job, attempt=2, worker="w2"), actor="worker:w2")
    job = await store.append(job, starting("w3", 3), actor="worker:w3")
    job = await store.append(
        job, lambda job: rescue(job, attempt=3, worker="w3", error=ERROR, retry_in=RETRY_AT_ONCE), actor="system:rescue"
    )
    job = await store.append(job, starting("w4", 4), actor="worker:w4")
    job = await store.append(job, lambda job: force_fail(job, error=ERROR), actor="user:admin")
    jobs["retried"] = await store.append(job, retry, actor="user:x")
    return jobs


@pytest.fixture
async def jobs(store: Store, database: Database) -> dict[str, Job]:
    jobs = await one_of_each(store)
    await give_positions(database)
    return jobs


async def found(database: Database, **only: Any) -> list[Difference]:
    return (await verify(database, **only)).differences


# Verify ---------------------------------------------------------------------------------------------------------------------------


async def test_nothing_is_found_where_nothing_is_wrong(jobs: dict[str, Job], database: Database, superuser: Connection) -> None:
    verified = await verify(database)

    events = await superuser.fetchval("select count(*) from job_events")
    assert verified.differences == []
    assert (verified.jobs, verified.events, verified.last_position) == (6, events, events)


async def test_an_empty_database_is_sound(database: Database) -> None:
    verified = await verify(database)

    assert (verified.jobs, verified.events, verified.last_position, verified.differences) == (0, 0, 0, [])


async def test_events_that_have_no_position_yet_are_sound(store: Store, database: Database) -> None:
    await one_of_each(store)

    assert await found(database) == []


VIEW_CHANGES = {
    "type": "type = 'another'",
    "status": "status = 'queued', worker = null",
    "payload": """payload = '{"key": "another"}'""",
    "result": "result = '1'",
    "error": """error = '{"name": "a", "message": "b", "stack": null}'""",
    "user_id": f"user_id = '{BOB}'",
    "attempt": "attempt = 2",
    "max_attempts": "max_attempts = 4",
    "worker": "worker = 'w9'",
    "seq": "seq = seq + 1",
    "run_at": "run_at = run_at + interval '1 microsecond'",
    "started_at": "started_at = null",
    "finished_at": "finished_at = now()",
    "created_at": "created_at = created_at - interval '1 microsecond'",
    "updated_at": "updated_at = updated_at + interval '1 microsecond'",
}


@pytest.mark.parametrize("column", VIEW_CHANGES)
async def test_a_changed_row_of_the_view_is_found_and_the_column_named(
    jobs: dict[str, Job], database: Database, superuser: Connection, column: str
) -> None:
    changed = jobs["processing"].id
    await superuser.execute(f"update jobs set {VIEW_CHANGES[column]} where id = $1", changed)

    differences = await found(database)

    assert {difference.job_id for difference in differences} == {changed}
    assert any(column in difference.detail for difference in differences)


@pytest.mark.parametrize("result", ['{"n": true}', '{"n": 1.0}', '{"n": "1"}', '{"n": 1, "m": null}', "{}", "null"])
async def test_a_result_that_is_only_a_little_different_is_found(
    jobs: dict[str, Job], database: Database, superuser: Connection, result: str
) -> None:
    await superuser.execute("update jobs set result = $2 where id = $1", jobs["completed"].id, result)

    assert [difference.job_id for difference in await found(database)] == [jobs["completed"].id]


@pytest.mark.parametrize(
    "change",
    [
        """error = '{"nonsense": 1}'""",
        "error = '\"it broke\"'",
        "error = '[]'",
        r"""result = '"\ud800"'""",
        "result = ('[' || repeat('[', 1500) || repeat(']', 1500) || ']')::json",
    ],
)
async def test_a_row_of_the_view_that_cannot_be_read_is_found_and_hides_no_other(
    jobs: dict[str, Job], database: Database, superuser: Connection, change: str
) -> None:
    await superuser.execute(f"update jobs set {change} where id = $1", jobs["failed"].id)
    await superuser.execute("update jobs set seq = 9 where id = $1", jobs["canceled"].id)

    assert {difference.job_id for difference in await found(database)} == {jobs["failed"].id, jobs["canceled"].id}


@pytest.mark.parametrize("name", ["queued", "processing", "completed", "failed", "canceled", "retried"])
async def test_a_row_that_is_missing_in_the_view_is_found(
    jobs: dict[str, Job], database: Database, superuser: Connection, name: str
) -> None:
    await superuser.execute("delete from jobs where id = $1", jobs[name].id)

    assert await found(database) == [Difference(jobs[name].id, "is in the log and not in the view")]


@pytest.mark.parametrize("id", ["00000000-0000-0000-0000-000000000000", BOB, "ffffffff-ffff-ffff-ffff-ffffffffffff"])
async def test_a_row_of_the_view_that_nothing_in_the_log_speaks_of_is_found(
    jobs: dict[str, Job], database: Database, superuser: Connection, id: str
) -> None:
    await superuser.execute(
        """
        insert into jobs (id, type, status, payload, attempt, max_attempts, seq, run_at, created_at, updated_at)
        values ($1, 'rooms', 'queued', '{}', 1, 1, 1, now(), now(), now())
        """,
        id,
    )

    assert await found(database) == [Difference(id, "is in the view and not in the log")]


async def test_an_empty_view_beside_a_log_is_found(jobs: dict[str, Job], database: Database, superuser: Connection) -> None:
    await superuser.execute("delete from jobs")

    assert {difference.job_id for difference in await found(database)} == {job.id for job in jobs.values()}


@pytest.mark.parametrize("seq", [1, 2, 3, 4])
async def test_an_event_that_is_missing_is_found(
    jobs: dict[str, Job], database: Database, superuser: Connection, seq: int
) -> None:
    job = jobs["completed"]
    async with unguarded(superuser):
        await superuser.execute("delete from job_events where job_id = $1 and seq = $2", job.id, seq)

    differences = await found(database)

    assert job.id in {difference.job_id for difference in differences}
    # Its position leads nowhere now.
    assert None in {difference.job_id for difference in differences}


async def test_a_history_that_was_shortened_together_with_its_view_is_found_by_its_positions(
    jobs: dict[str, Job], database: Database, superuser: Connection
) -> None:
    async with unguarded(superuser):
        await superuser.execute("delete from job_events where job_id = $1", jobs["completed"].id)
        await superuser.execute("delete from jobs where id = $1", jobs["completed"].id)

    assert {difference.job_id for difference in await found(database)} == {None}


EVENT_CHANGES = {
    "another kind of event": "type = 'canceled', data = '{\"reason\": \"x\"}' where seq = 3",
    "another result": "data = '{\"result\": 2}' where seq = 4",
    "a result that is not there": "data = '{}' where seq = 4",
    "no object": "data = '[]' where seq = 4",
    "nothing": "data = 'null' where seq = 2",
    "text that cannot be read": r"""data = '{"result": "\ud800"}' where seq = 4""",
    "more depth than can be read": "data = ('[' || repeat('[', 1500) || repeat(']', 1500) || ']')::json where seq = 4",
    "more depth in a result that is gone by now": """
        data = ('{"result": ' || repeat('[', 1500) || repeat(']', 1500) || '}')::json where seq = 3
    """,
    "attempts that are no number": (
        'data = \'{"reason": "new", "runAt": "2026-11-23T09:00:00Z", "maxAttempts": "3", "type": "rooms", "payload": {},'
        ' "userId": null}\' where seq = 1'
    ),
    "another attempt": "attempt = 2 where seq = 3",
    "a time before the event before": "at = at - interval '1 hour' where seq = 3",
    "a time after the event after": "at = at + interval '1 hour' where seq = 3",
    "a start by somebody else": "actor = 'worker:w9' where seq = 2",
    "a start that was said to be somebody else's": 'data = \'{"worker": "w9"}\' where seq = 2',
    "somebody else's progress": "actor = 'worker:w9' where seq = 3",
    "a user's progress": "actor = 'user:x' where seq = 3",
    "somebody else's result": "actor = 'worker:w9' where seq = 4",
}


@pytest.mark.parametrize("what", EVENT_CHANGES)
async def test_a_wrong_event_is_found_and_hides_no_other(
    jobs: dict[str, Job], database: Database, superuser: Connection, what: str
) -> None:
    wrong, other = jobs["completed"].id, jobs["queued"].id
    await superuser.execute("update jobs set seq = 7 where id = $1", other)
    async with unguarded(superuser):
        await superuser.execute(f"update job_events set {EVENT_CHANGES[what]} and job_id = $1", wrong)

    assert {difference.job_id for difference in await found(database)} == {wrong, other}


async def test_a_failure_that_another_worker_wrote_is_found(
    jobs: dict[str, Job], database: Database, superuser: Connection
) -> None:
    async with unguarded(superuser):
        await superuser.execute(
            "update job_events set actor = 'worker:w9' where type = 'failed' and job_id = $1", jobs["failed"].id
        )

    assert [difference.job_id for difference in await found(database)] == [jobs["failed"].id]


async def test_a_hand_back_by_another_worker_is_found(jobs: dict[str, Job], database: Database, superuser: Connection) -> None:
    async with unguarded(superuser):
        await superuser.execute("""
            update job_events set actor = 'worker:w9' where type = 'queued' and data->>'reason' = 'worker_shutdown'
        """)

    assert [difference.job_id for difference in await found(database)] == [jobs["retried"].id]


async def test_one_job_is_verified_by_itself(jobs: dict[str, Job], database: Database, superuser: Connection) -> None:
    await superuser.execute("update jobs set max_attempts = 9 where id = any($1)", [jobs["failed"].id, jobs["queued"].id])

    verified = await verify(database, job_id=jobs["failed"].id)

    assert (verified.jobs, verified.events) == (1, 4)
    assert [difference.job_id for difference in verified.differences] == [jobs["failed"].id]
    assert await found(database, job_id=jobs["completed"].id) == []
    assert (await verify(database, job_id=BOB)).jobs == 0


LAST = "(select max(position) from job_event_log)"
ORDER_CHANGES = {
    "a hole at the beginning": "delete from job_event_log where position = 1",
    "a hole in the middle": "delete from job_event_log where position = 5",
    "a hole of several": "delete from job_event_log where position between 5 and 8",
    "a leap over positions that no event has lost": "update job_event_log set position = position + 1000 where position > 4",
    "a hole at the end": f"delete from job_event_log where position = {LAST}",
    "no order at all": "delete from job_event_log",
    "a position that leads nowhere": "update job_event_log set event_id = 999999999 where position = 5",
    "a position beyond the last": f"insert into job_event_log (position, event_id) select {LAST} + 1, 999999999",
    "two events of a job that changed places": """
        with own as (
            select l.position, l.event_id, e.seq from job_event_log l join job_events e using (event_id)
            where e.job_id = (select job_id from job_events where type = 'completed') and e.seq in (2, 3)
        ), gone as (delete from job_event_log where position in (select position from own))
        select a.position as here, b.position as there, a.event_id as mine, b.event_id as theirs
        from own a, own b where a.seq = 2 and b.seq = 3
    """,
}


ORDER_FINDINGS = {
    "a hole at the beginning": "MISSING INSERTED",
    "a hole in the middle": "MISSING INSERTED",
    "a hole of several": "MISSING INSERTED",
    "a leap over positions that no event has lost": "MISSING INSERTED",
    "a hole at the end": "TRUNCATED_TAIL INSERTED",
    "no order at all": "TRUNCATED_TAIL INSERTED",
    "a position that leads nowhere": "MISSING INSERTED",
    "a position beyond the last": "TRUNCATED_TAIL INSERTED",
    "two events of a job that changed places": "REORDERED",
}


@pytest.mark.parametrize("what", ORDER_CHANGES)
async def test_a_disturbed_order_of_the_log_is_found(
    jobs: dict[str, Job], database: Database, superuser: Connection, what: str
) -> None:
    rows = await superuser.fetch(ORDER_CHANGES[what])
    for here, there, mine, theirs in rows:
        await superuser.execute(
            "insert into job_event_log (position, event_id) values ($1, $2), ($3, $4)", here, theirs, there, mine
        )

    findings = (await verify(database)).findings

    assert {finding.name.value for finding in findings} == set(ORDER_FINDINGS[what].split())


class Load:
    """Writers who live jobs from start to end, in two processes, until they are told to stop."""

    def __init__(self, stores: list[Store]) -> None:
        self._stores = stores
        self._over = asyncio.Event()
        self.appended = 0
        self.tasks = [asyncio.create_task(self._live(n)) for n in range(8)]

    async def stop(self) -> None:
        self._over.set()
        await asyncio.gather(*self.tasks)

    async def moved_on(self, by: int = 100) -> None:
        """Waits until that much more was appended."""
        until_then = self.appended + by

        async def enough() -> bool:
            for task in self.tasks:
                if task.done():
                    task.result()
            return self.appended >= until_then

        await until(enough)

    async def _live(self, n: int) -> None:
        worker, turn = f"w{n}", 0
        while not self._over.is_set():
            turn += 1
            store = self._stores[turn % len(self._stores)]
            job = await store.create(keyed(f"{worker} {turn}"), actor="system:load")
            for step in (
                starting(worker), reporting(turn, worker), failing(worker), starting(worker, 2), completing(turn, worker, 2),
            ):  # fmt: skip
                if turn % 3 and job.seq >= 3:
                    # These stay as they are, so that a view made anew finds some of each.
                    break
                job = await store.append(job, step, actor=f"worker:{worker}")
                self.appended += 1


@asynccontextmanager
async def under_load(database_url: str) -> AsyncIterator[Load]:
    async with open_store(database_url) as one, open_store(database_url) as two:
        load = Load([one, two])
        await load.moved_on()
        try:
            yield load
        finally:
            await load.stop()


async def test_nothing_is_found_in_a_sound_database_under_load(database_url: str, database: Database) -> None:
    async with under_load(database_url) as load:
        for _ in range(5):
            await seal(database)
            verified = await verify(database)
            await load.moved_on(50)

            assert verified.differences == []
            assert verified.jobs > 10


# Rebuild --------------------------------------------------------------------------------------------------------------------------


async def whole_view(connection: Connection) -> list[tuple[Any, ...]]:
    columns = "*, payload::text, result::text, error::text"
    return [tuple(row) for row in await connection.fetch(f"select {columns} from jobs order by id")]


async def make_up(connection: Connection) -> dict[str, Any]:
    """Everything about the table beside its rows, by name."""
    queries = {
        "columns": """
            select attname, format_type(atttypid, atttypmod), attnotnull, pg_get_expr(adbin, adrelid) from pg_attribute
            left join pg_attrdef on adrelid = attrelid and adnum = attnum
            where attrelid = 'jobs'::regclass and attnum > 0 order by attnum
        """,
        "indexes": "select indexname, indexdef from pg_indexes where tablename = 'jobs' order by 1",
        "constraints": "select conname, pg_get_constraintdef(oid) from pg_constraint where conrelid = 'jobs'::regclass order by 1",
        "options": "select reloptions::text, relpersistence::text, relrowsecurity from pg_class where oid = 'jobs'::regclass",
        "owner": "select relowner::regrole::text from pg_class where oid = 'jobs'::regclass",
        "rights": """
            select coalesce(nullif(p.grantee, 0)::regrole::text, 'public'), p.privilege_type, p.is_grantable
            from pg_class c cross join aclexplode(c.relacl) p where c.oid = 'jobs'::regclass order by 1, 2
        """,
        "tables": "select relname from pg_class where relnamespace = 'public'::regnamespace and relkind = 'r' order by 1",
    }
    return {what: [tuple(row) for row in await connection.fetch(query)] for what, query in queries.items()}


async def test_a_view_made_anew_is_the_view_that_was(jobs: dict[str, Job], database: Database, superuser: Connection) -> None:
    before = await whole_view(superuser)

    assert await rebuild(database, unique_key) == 6

    assert await whole_view(superuser) == before
    assert await found(database) == []


async def test_a_view_of_nothing_is_made_anew(database: Database, superuser: Connection) -> None:
    assert await rebuild(database, unique_key) == 0

    assert await whole_view(superuser) == []


async def test_a_spoilt_view_is_mended(jobs: dict[str, Job], database: Database, superuser: Connection) -> None:
    before = await whole_view(superuser)
    await superuser.execute("delete from jobs where status = 'completed'")
    await superuser.execute("update jobs set unique_key = null, max_attempts = 99, result = '7'")
    await superuser.execute(
        """
        insert into jobs (id, type, status, payload, attempt, max_attempts, seq, run_at, created_at, updated_at)
        values ($1, 'rooms', 'queued', '{}', 1, 1, 1, now(), now(), now())
        """,
        BOB,
    )

    await rebuild(database, unique_key)

    assert await whole_view(superuser) == before


async def test_a_table_made_anew_is_made_up_as_the_one_before(
    jobs: dict[str, Job], database: Database, superuser: Connection
) -> None:
    await superuser.execute("grant select, update on jobs to public; grant insert on jobs to pg_monitor with grant option")
    before = await make_up(superuser)

    await rebuild(database, unique_key)
    await rebuild(database, unique_key)

    after = await make_up(superuser)
    for what in before:
        assert after[what] == before[what], what
    assert ["fillfactor=85" in row[0] for row in after["options"]] == [True]


async def test_a_table_made_anew_by_another_role_still_belongs_to_its_owner(
    jobs: dict[str, Job], database: Database, superuser: Connection
) -> None:
    await superuser.execute("grant create on schema public to pg_monitor; alter table jobs owner to pg_monitor")

    await rebuild(database, unique_key)

    assert (await make_up(superuser))["owner"] == [("pg_monitor",)]


async def test_jobs_go_on_after_their_view_was_made_anew(
    store: Store, jobs: dict[str, Job], database: Database, superuser: Connection
) -> None:
    await rebuild(database, unique_key)

    done = await store.append(jobs["processing"], completing(), actor="worker:w1")
    with pytest.raises(NotAllowed):
        await store.append(jobs["processing"], reporting(1), actor="worker:w1")
    with pytest.raises(AlreadyActive):
        await store.create(keyed("queued"), actor="user:x")
    fresh = await store.create(keyed("processing"), actor="user:x")

    assert await JobsView(database).get(done.id) == done
    assert await JobsView(database).get(fresh.id) == fresh
    assert await what_is_broken(superuser) == []


async def test_a_view_is_made_anew_while_writers_go_on(database_url: str, database: Database, superuser: Connection) -> None:
    async with under_load(database_url) as load:
        for _ in range(3):
            async with asyncio.timeout(30):
                count = await rebuild(database, unique_key)
            broken = await what_is_broken(superuser)
            await load.moved_on()

            assert count > 10
            assert broken == []

    assert await what_is_broken(superuser) == []
    keys = await superuser.fetch("select unique_key, payload->>'key' from jobs")
    assert all(in_row == by_rule for in_row, by_rule in keys)
    assert await found(database) == []


async def test_an_append_that_commits_late_is_in_the_view_that_was_made_anew_meanwhile(
    jobs: dict[str, Job], database: Database, database_url: str, superuser: Connection
) -> None:
    late = await connect(database_url, idle_in_transaction_session_timeout="0")
    async with asyncio.timeout(20):
        async with late.transaction():
            await late.execute(
                """
                with moved as (
                    update jobs set status = 'canceled', seq = 2, finished_at = updated_at where id = $1 returning id, updated_at
                )
                insert into job_events (job_id, seq, attempt, type, data, salt, actor, at)
                select id, 2, 1, 'canceled', '{"reason": "asked"}', decode(repeat('00', 16), 'hex'), 'user:x', updated_at
                from moved
                """,
                jobs["queued"].id,
            )
            making = asyncio.create_task(rebuild(database, unique_key))
            # By now every job was folded without this event, and the swap waits for its end.
            await until(lambda: at_least(superuser, 1))
        await making
    await late.close()

    assert await what_is_broken(superuser) == []


async def test_readers_see_a_view_all_the_while_it_is_made_anew(
    jobs: dict[str, Job], database: Database, superuser: Connection
) -> None:
    view = JobsView(database)
    making = asyncio.create_task(rebuild(database, unique_key))
    looks = 0

    while not making.done():
        assert await view.get(jobs["completed"].id) == jobs["completed"]
        assert sum(sum(statuses.values()) for statuses in (await view.counts(most=10)).values()) == 6
        looks += 1

    assert await making == 6
    assert looks > 0


async def waiting_for_locks(connection: Connection) -> int:
    query = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
    return int(await connection.fetchval(query))


async def test_a_verification_that_meets_the_swap_finds_nothing(
    store: Store, jobs: dict[str, Job], database: Database, database_url: str, superuser: Connection
) -> None:
    reader = await connect(database_url, idle_in_transaction_session_timeout="0")
    async with asyncio.timeout(20):
        async with reader.transaction():
            await reader.execute("lock table jobs in access share mode")
            making = asyncio.create_task(rebuild(database, unique_key))
            await until(lambda: at_least(superuser, 1))
            # Writes wait behind the rebuild, which waits for the reader; when its patience ends for a moment, they go ahead.
            await store.append(jobs["processing"], completing(), actor="worker:w1")
            await store.create(new(), actor="user:x")
            await until(lambda: at_least(superuser, 1))
            verifying = asyncio.create_task(verify(database))
            await until(lambda: at_least(superuser, 2))

        assert await making == 7
        verified = await verifying
    await reader.close()

    assert verified.differences == []
    assert verified.jobs == 7


async def at_least(connection: Connection, backends: int) -> bool:
    return await waiting_for_locks(connection) >= backends


async def test_a_second_rebuild_at_the_same_time_is_refused(
    jobs: dict[str, Job], database: Database, superuser: Connection
) -> None:
    before = await make_up(superuser), await whole_view(superuser)
    await superuser.fetchval("select pg_advisory_lock($1)", REBUILDING)

    with pytest.raises(RebuildRefused, match="another rebuild"):
        await rebuild(database, unique_key)

    assert (await make_up(superuser), await whole_view(superuser)) == before
    await superuser.fetchval("select pg_advisory_unlock($1)", REBUILDING)
    assert await rebuild(database, unique_key) == 6


async def test_a_rebuild_that_gets_no_turn_leaves_the_view_as_it_is(
    store: Store, jobs: dict[str, Job], database: Database, superuser: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rebuild_module, "LOCK_TRIES", 1)
    before = await whole_view(superuser)
    async with superuser.transaction():
        await superuser.execute("lock table jobs in access share mode")

        with pytest.raises(RebuildRefused):
            await rebuild(database, unique_key)

    assert await whole_view(superuser) == before
    await store.append(jobs["processing"], completing(), actor="worker:w1")
    assert await what_is_broken(superuser) == []
    assert await rebuild(database, unique_key) == 6


async def test_a_log_that_cannot_be_folded_leaves_the_view_as_it_is(
    jobs: dict[str, Job], database: Database, superuser: Connection
) -> None:
    before = await whole_view(superuser)
    async with unguarded(superuser):
        await superuser.execute("delete from job_events where seq = 2 and job_id = $1", jobs["completed"].id)

    with pytest.raises(BrokenHistory):
        await rebuild(database, unique_key)

    assert await whole_view(superuser) == before


async def test_what_an_interrupted_rebuild_left_behind_is_in_nobodys_way(
    jobs: dict[str, Job], database: Database, superuser: Connection
) -> None:
    await superuser.execute("create table jobs_rebuilt (like jobs including all); insert into jobs_rebuilt select * from jobs")
    before = await make_up(superuser)

    assert await rebuild(database, unique_key) == 6

    after = await make_up(superuser)
    assert {**after, "tables": None} == {**before, "tables": None}
    assert ("jobs_rebuilt",) not in after["tables"]


async def test_payloads_come_through_a_rebuild_as_they_were(store: Store, database: Database, superuser: Connection) -> None:
    payload = {"部屋": "😀", "b": 1, "a": [0.1, None, True, {"z": {}, "y": []}], "big": 2**53}
    job = await store.create(new(payload=payload, user_id=ALICE), actor="user:x")
    before = await superuser.fetchval("select payload::text from jobs")

    await rebuild(database, unique_key)

    assert await superuser.fetchval("select payload::text from jobs") == before
    assert json.loads(before) == payload
    assert await JobsView(database).get(job.id) == job
