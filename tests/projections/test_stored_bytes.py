"""The fast check of stored bytes accepts sound histories, and none in which the slow check finds a fault."""

import random
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from events.database import Connection, Database
from events.store import Store
from projections.verifying.histories import compare, side_by_side
from projections.verifying.ranges import HIGHEST, LOWEST, JobRange, hold_raw
from projections.verifying.ranges import side_by_side as read_beside
from projections.verifying.stored_bytes import Histories
from tests.projections.conftest import superuser
from tests.projections.histories_in_log import one_of_each, unguarded, unique_key

__all__ = ["superuser"]

EVENT_CHANGES = (
    "data = replace(data::text, '1', '1.0')::json",
    "data = replace(data::text, ',', ', ')::json",
    "data = (left(data::text, -1) || ',\"more\":1}')::json",
    "data = (left(data::text, -1) || ',\"result\":2}')::json",
    "data = replace(data::text, 'null', 'true')::json",
    "data = replace(data::text, 'false', 'true')::json",
    "data = replace(data::text, '3', '4')::json",
    "data = replace(data::text, 'Z\"', '+00:00\"')::json",
    "data = replace(data::text, 'retry', 'worker_lost')::json",
    "data = '{}'",
    "data = '[]'",
    "data = replace(data::text, '\"n\":1', '\"n\":123456789012345678901234567890')::json",
    "attempt = attempt + 1",
    "seq = seq + 100",
    "type = 'progress'",
    "type = 'canceled'",
    "actor = 'worker:w9'",
    "actor = 'user:x'",
    "at = at - interval '1 hour'",
    "at = at + interval '1 microsecond'",
    "at = 'infinity'",
    "at = '-infinity'",
    "at = '12000-01-01'",
)
VIEW_CHANGES = (
    "type = 'another'", "payload = '{\"key\": \"x\"}'", "result = '1'", "result = 'null'", "error = 'null'", "user_id = null",
    "max_attempts = max_attempts + 1", "seq = seq + 1", "run_at = run_at + interval '1 microsecond'", "started_at = now()",
    "finished_at = null", "created_at = '-infinity'", "updated_at = 'infinity'", "unique_key = null", "unique_key = 'x'",
)  # fmt: skip


async def judged(database: Database, raw: Connection) -> list[tuple[bool, list[str]]]:
    """Returns for each job whether the fast check accepts it, and the faults that the slow check finds."""
    slow: dict[str, list[str]] = {}
    plain = await database.hold()
    async with plain.transaction():
        async for job_id, history, shown in side_by_side(plain, None):
            slow[job_id] = [str(finding) for finding in compare(job_id, history, shown, unique_key)]
    await plain.close()
    results = []
    histories = Histories(unique_key)
    async with raw.transaction():
        async for key, stored, row in read_beside(raw, JobRange(LOWEST, HIGHEST)):
            accepted = row is not None and bool(stored) and histories.accepts(row, stored)
            results.append((accepted, slow[str(UUID(bytes=key))]))
    assert len(results) == len(slow)
    return results


async def test_every_sound_history_is_accepted(store: Store, database: Database) -> None:
    await one_of_each(store)
    raw = await hold_raw(database)

    results = await judged(database, raw)

    await raw.close()
    assert results == [(True, [])] * 6


@pytest.mark.parametrize("seed", range(3))
async def test_no_history_with_a_fault_is_accepted(store: Store, database: Database, superuser: Connection, seed: int) -> None:
    chance = random.Random(seed)
    raw = await hold_raw(database)
    await superuser.execute("alter table job_events drop constraint a_history_begins_with_queued")
    await superuser.execute("alter table jobs drop constraint attempts_never_exceed_max_attempts")
    for turn in range(8):
        await one_of_each(store, f"{turn} ")
    async with unguarded(superuser):
        await change_some(superuser, chance)

    results = await judged(database, raw)

    await raw.close()
    assert [faults for accepted, faults in results if accepted and faults] == []
    assert sum(accepted for accepted, _ in results) > 5
    assert sum(bool(faults) for _, faults in results) > 10


async def change_some(superuser: Connection, chance: random.Random) -> None:
    """Changes an event or the view's row of most jobs at random."""
    for job in await superuser.fetch("select id, seq from jobs order by id"):
        choice = chance.random()
        if choice < 0.5:
            change = chance.choice(EVENT_CHANGES)
            values: tuple[Any, ...] = (job["id"], chance.randint(1, job["seq"]))
            await _try(superuser, f"update job_events set {change} where job_id = $1 and seq = $2", *values)
        elif choice < 0.75:
            await _try(superuser, f"update jobs set {chance.choice(VIEW_CHANGES)} where id = $1", job["id"])


async def _try(superuser: Connection, query: str, *values: Any) -> None:
    """Runs a change, unless a constraint or the form of JSON forbids it."""
    try:
        await superuser.execute(query, *values)
    except (asyncpg.IntegrityConstraintViolationError, asyncpg.DataError):
        return
