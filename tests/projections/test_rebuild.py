"""A rebuilt view equals the fold of the log, while the service runs."""

import asyncio
import json
from typing import Any

import pytest

from events.database import Connection, Database, connect
from events.job import BrokenHistory, Job, NotAllowed
from events.store import Store
from events.writes import AlreadyActive
from projections import rebuild as rebuild_module
from projections.jobs import JobsView
from projections.rebuild import REBUILDING, RebuildRefused, rebuild
from projections.verify import verify
from tests.histories import (
    ALICE,
    BOB,
    completing,
    new,
    reporting,
    until,
    what_is_broken,
)
from tests.projections.histories_in_log import found, keyed, under_load, unguarded, unique_key


async def whole_view(connection: Connection) -> list[tuple[Any, ...]]:
    columns = "*, payload::text, result::text, error::text"
    return [tuple(row) for row in await connection.fetch(f"select {columns} from jobs order by id")]


async def make_up(connection: Connection) -> dict[str, Any]:
    """Returns the properties of the table `jobs` (columns, indexes, rights …) without rows."""
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
        "rights on columns": """
            select a.attname, p.grantee::regrole::text, p.privilege_type, p.is_grantable
            from pg_attribute a cross join aclexplode(a.attacl) p where a.attrelid = 'jobs'::regclass order by 1, 2, 3
        """,
        "tables": "select relname from pg_class where relnamespace = 'public'::regnamespace and relkind = 'r' order by 1",
    }
    return {what: [tuple(row) for row in await connection.fetch(query)] for what, query in queries.items()}


async def test_a_rebuilt_view_equals_the_view_before(jobs: dict[str, Job], database: Database, superuser: Connection) -> None:
    before = await whole_view(superuser)

    assert await rebuild(database, unique_key) == 6

    assert await whole_view(superuser) == before
    assert await found(database) == []


async def test_an_empty_view_is_rebuilt(database: Database, superuser: Connection) -> None:
    assert await rebuild(database, unique_key) == 0

    assert await whole_view(superuser) == []


async def test_a_tampered_view_is_repaired(jobs: dict[str, Job], database: Database, superuser: Connection) -> None:
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


async def test_a_rebuilt_table_has_the_rights_indexes_and_options_of_the_old_one(
    jobs: dict[str, Job], database: Database, superuser: Connection
) -> None:
    await superuser.execute("grant select, update on jobs to public; grant insert on jobs to pg_monitor with grant option")
    await superuser.execute("grant insert (id, type), update (status) on jobs to pg_monitor")
    before = await make_up(superuser)

    await rebuild(database, unique_key)
    await rebuild(database, unique_key)

    after = await make_up(superuser)
    for what in before:
        assert after[what] == before[what], what
    assert len(after["rights on columns"]) == 3
    assert ["fillfactor=85" in row[0] for row in after["options"]] == [True]


async def test_a_table_rebuilt_by_another_role_still_belongs_to_its_owner(
    jobs: dict[str, Job], database: Database, superuser: Connection
) -> None:
    await superuser.execute("grant create on schema public to pg_monitor; alter table jobs owner to pg_monitor")

    await rebuild(database, unique_key)

    assert (await make_up(superuser))["owner"] == [("pg_monitor",)]


async def test_jobs_can_be_changed_after_a_rebuild(
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


async def test_a_view_is_rebuilt_while_jobs_are_written(database_url: str, database: Database, superuser: Connection) -> None:
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


async def test_an_append_that_commits_late_is_in_the_rebuilt_view(
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
            # The rebuild has now folded every job without this event. Before it replaces the table, it waits for the
            # transaction that writes this event.
            await until(lambda: at_least(superuser, 1))
        await making
    await late.close()

    assert await what_is_broken(superuser) == []


async def test_readers_see_a_view_throughout_a_rebuild(jobs: dict[str, Job], database: Database, superuser: Connection) -> None:
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


async def test_a_verification_during_the_swap_of_the_tables_finds_nothing(
    store: Store, jobs: dict[str, Job], database: Database, database_url: str, superuser: Connection
) -> None:
    reader = await connect(database_url, idle_in_transaction_session_timeout="0")
    async with asyncio.timeout(20):
        async with reader.transaction():
            await reader.execute("lock table jobs in access share mode")
            making = asyncio.create_task(rebuild(database, unique_key))
            await until(lambda: at_least(superuser, 1))
            # The rebuild waits for the reader, and writes wait for the rebuild. From time to time the rebuild stops waiting
            # and tries again later. The writes are then carried out.
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


async def test_a_rebuild_that_cannot_lock_the_view_leaves_it_unchanged(
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


async def test_a_rebuild_of_a_log_that_cannot_be_folded_leaves_the_view_unchanged(
    jobs: dict[str, Job], database: Database, superuser: Connection
) -> None:
    before = await whole_view(superuser)
    async with unguarded(superuser):
        await superuser.execute("delete from job_events where seq = 2 and job_id = $1", jobs["completed"].id)

    with pytest.raises(BrokenHistory):
        await rebuild(database, unique_key)

    assert await whole_view(superuser) == before


async def test_a_rebuild_removes_the_table_of_an_interrupted_rebuild(
    jobs: dict[str, Job], database: Database, superuser: Connection
) -> None:
    await superuser.execute("create table jobs_rebuilt (like jobs including all); insert into jobs_rebuilt select * from jobs")
    before = await make_up(superuser)

    assert await rebuild(database, unique_key) == 6

    after = await make_up(superuser)
    assert {**after, "tables": None} == {**before, "tables": None}
    assert ("jobs_rebuilt",) not in after["tables"]


async def test_a_rebuild_keeps_payloads_byte_for_byte(store: Store, database: Database, superuser: Connection) -> None:
    payload = {"部屋": "😀", "b": 1, "a": [0.1, None, True, {"z": {}, "y": []}], "big": 2**53}
    job = await store.create(new(payload=payload, user_id=ALICE), actor="user:x")
    before = await superuser.fetchval("select payload::text from jobs")

    await rebuild(database, unique_key)

    assert await superuser.fetchval("select payload::text from jobs") == before
    assert json.loads(before) == payload
    assert await JobsView(database).get(job.id) == job
