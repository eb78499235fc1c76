"""Appends use index lookups in order, and keep query plans only for grown tables."""

import re

import pytest

from events import statements
from events.database import Connection
from events.store import Store
from tests.histories import new, open_store, until


async def test_no_query_plan_is_kept_before_the_table_has_grown(database_url: str, connection: Connection) -> None:
    async with open_store(database_url) as store:
        for jobs, mode, hash_joins in ((0, "force_custom_plan", "off"), (1_000, "force_generic_plan", "on")):
            await store.create_many([new() for _ in range(jobs)], actor="user:x")
            lane = await store._writer.connect()
            assert await lane.fetchval("show plan_cache_mode") == mode
            assert await lane.fetchval("show enable_hashjoin") == hash_joins
            await lane.close()

        lane = await store._writer.connect()
        await lane.execute(f"prepare moving as {statements.MOVE_JOBS}")
        plan = [row[0].strip() for row in await lane.fetch("explain (costs off) execute moving(null, null, null)")]
        await lane.close()

    # Each row is found by one index lookup, in the order of the input, however many rows there are.
    assert plan[plan.index("->  Update on jobs j") + 1 :][:4] == [
        "->  Nested Loop",
        "->  CTE Scan on asked a",
        "->  Index Scan using jobs_pkey on jobs j",
        "Index Cond: (id = a.id)",
    ]
    assert plan[plan.index("CTE asked") + 1 :][:2] == ["->  Sort", "Sort Key: unnest.id"]


async def test_a_store_that_began_with_an_empty_table_keeps_query_plans_after_it_has_grown(store: Store) -> None:
    await store.create_many([new() for _ in range(1_000)], actor="user:x")

    async def plans_are_kept() -> bool:
        await store.create_many([new() for _ in range(100)], actor="user:x")
        modes = [await lane.fetchval("show plan_cache_mode") for lane in store._writer._tunings]
        return "force_generic_plan" in modes

    await until(plans_are_kept)


ENDED_LONG_AGO = """
insert into jobs (id, type, status, payload, attempt, max_attempts, seq, run_at, finished_at, created_at, updated_at)
select gen_random_uuid(), 'rooms', 'completed', '{}', 1, 1, 3, now(), now(), now(), now() from generate_series(1, 5000)
"""


async def test_a_start_finds_its_job_by_id_although_the_statistics_show_few_queued_jobs(
    store: Store, connection: Connection
) -> None:
    await connection.execute(ENDED_LONG_AGO)
    await store.create(new(), actor="user:x")
    await connection.execute("analyze jobs")
    lane = await store._writer.connect()
    await lane.execute(f"prepare starting as {statements.START_JOBS}")

    plan = [row[0] for row in await lane.fetch(f"explain (costs off) execute starting({', '.join(['null'] * 8)})")]
    await lane.close()

    # A kept plan must not use the partial index of queued jobs, which may later have millions of
    # entries.
    assert set(re.findall(r"(\w+) on jobs j", "\n".join(plan))) == {"Update", "jobs_pkey"}


@pytest.mark.parametrize("statement", [statements.MOVE_JOBS, statements.CREATE_JOBS])
async def test_a_jobs_events_get_their_ids_in_order_of_seq_whatever_joins_are_chosen(
    connection: Connection, statement: str
) -> None:
    plan = [row[0].strip() for row in await connection.fetch(f"explain (costs off) {statement}", [], [], [])]

    # Events get their ids in the order in which rows reach the insert. A hash join could change
    # that order.
    inserted = plan[plan.index("->  Insert on job_events") + 1 :]
    assert inserted[0].startswith("->  Subquery Scan")
    assert inserted[1:3] == ["->  Sort", "Sort Key: e.job_id, e.seq"]
