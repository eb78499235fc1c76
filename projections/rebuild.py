"""Builds the jobs view anew beside the live one and swaps them, while the service runs.

First every job is folded from one snapshot of the log; then, round after round, those that had events since, until few are
left. These few are folded under a lock that keeps writers waiting for a moment, in the transaction that swaps the tables. An
append writes `job_events` and `jobs` in one statement, so whoever holds the lock on `jobs` knows that no event is on its way.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import orjson

from events.database import Connection, Database, LockNotAvailable
from events.job import JSON, Job, evolve
from events.store import JOB_COLUMNS, histories

UniqueKey = Callable[[str, JSON, str | None], str | None]
"""`(type, payload, user_id)` → what at most one active job may have in common with this one: the job type's rule."""

REBUILDING = 0x7265627569  # "rebui": the advisory lock's key
FEW = 500
BATCH = 2000
LOCK_TRIES = 30
COLUMNS = [*JOB_COLUMNS.split(", "), "unique_key"]

BEGIN_BESIDE = """
drop table if exists jobs_rebuilt;
create table jobs_rebuilt (like jobs including all);
"""

# What `like` does not copy: who may read and write the table, and how full its pages are made.
LEFT_TO_COPY = """
select format('grant %s on jobs_rebuilt to %s%s', p.privilege_type,
              case p.grantee when 0 then 'public' else p.grantee::regrole::text end,
              case when p.is_grantable then ' with grant option' end) as statement
from pg_class c cross join aclexplode(c.relacl) p
where c.oid = 'jobs'::regclass and p.grantee <> c.relowner
union all
select format('alter table jobs_rebuilt owner to %s', c.relowner::regrole)
from pg_class c where c.oid = 'jobs'::regclass
union all
select format('alter table jobs_rebuilt set (%s)', array_to_string(c.reloptions, ', '))
from pg_class c where c.oid = 'jobs'::regclass and c.reloptions is not null
"""

INDEXES = """
select i.indexrelid::regclass::text as name, regexp_replace(pg_get_indexdef(i.indexrelid), '^.* USING ', '') as definition
from pg_index i where i.indrelid = $1::text::regclass
"""

CHANGED_SINCE = "select distinct job_id from job_events where xid >= $1::text::xid8"

OLDEST_RUNNING = "select pg_snapshot_xmin(pg_current_snapshot())::text"

SWAP = """
alter table jobs rename to jobs_replaced;
alter table jobs_rebuilt rename to jobs;
drop table jobs_replaced;
"""


class RebuildRefused(Exception):
    """The rebuild could not be done now; the live view is as it was."""


async def rebuild(database: Database, unique_key: UniqueKey) -> int:
    """Returns how many jobs the new view has. Needs the right to create tables. Raises `RebuildRefused`, or `BrokenHistory` for
    a log that cannot be folded; nothing has been swapped then."""
    reader = await _patient(database)
    writer = await _patient(database)
    try:
        if not await writer.fetchval("select pg_try_advisory_lock($1)", REBUILDING):
            raise RebuildRefused("another rebuild is running")
        await writer.execute(BEGIN_BESIDE)
        since = await _fold_from_a_snapshot(reader, writer, unique_key, None)
        while len(changed := await _changed_since(reader, since)) > FEW:
            since = await _fold_from_a_snapshot(reader, writer, unique_key, changed)
        for row in await writer.fetch(LEFT_TO_COPY):
            await writer.execute(row["statement"])
        await writer.execute("analyze jobs_rebuilt")
        await _swap(writer, unique_key, since)
        return int(await writer.fetchval("select count(*) from jobs"))
    finally:
        await reader.close()
        await writer.close()


async def _patient(database: Database) -> Connection:
    return await database.hold(statement_timeout="0", idle_in_transaction_session_timeout="0", lock_timeout="2s")


async def _fold_from_a_snapshot(
    reader: Connection, writer: Connection, unique_key: UniqueKey, job_ids: Sequence[str] | None
) -> str:
    """Folds these jobs, or all, into the new table. Returns the oldest transaction that the snapshot may not have seen."""
    async with reader.transaction(isolation="repeatable_read", readonly=True):
        since: str = await reader.fetchval(OLDEST_RUNNING)
        async with writer.transaction():
            await _fold(reader, writer, unique_key, job_ids)
    return since


async def _fold(reader: Connection, writer: Connection, unique_key: UniqueKey, job_ids: Sequence[str] | None) -> None:
    if job_ids is not None:
        await writer.execute("delete from jobs_rebuilt where id = any($1)", job_ids)
    folded: list[Job] = []
    job: Job | None = None
    async for recorded in histories(reader, job_ids):
        if job is not None and job.id != recorded.job_id:
            folded.append(job)
            job = None
            if len(folded) == BATCH:
                await _store(writer, folded, unique_key)
                folded.clear()
        job = evolve(job, recorded)
    if job is not None:
        folded.append(job)
    await _store(writer, folded, unique_key)


async def _store(writer: Connection, jobs: list[Job], unique_key: UniqueKey) -> None:
    await writer.copy_records_to_table("jobs_rebuilt", records=[_row(job, unique_key) for job in jobs], columns=COLUMNS)


def _row(job: Job, unique_key: UniqueKey) -> tuple[Any, ...]:
    return (
        job.id, job.type, job.status, orjson.dumps(job.payload).decode(), _dump(job.result),
        _dump(job.error and job.error.to_json()), job.user_id, job.attempt, job.max_attempts, job.worker, job.seq, job.run_at,
        job.started_at, job.finished_at, job.created_at, job.updated_at, unique_key(job.type, job.payload, job.user_id),
    )  # fmt: skip


async def _changed_since(connection: Connection, since: str) -> list[str]:
    return [row["job_id"] for row in await connection.fetch(CHANGED_SINCE, since)]


async def _swap(writer: Connection, unique_key: UniqueKey, since: str) -> None:
    names = {row["definition"]: row["name"] for row in await writer.fetch(INDEXES, "jobs")}
    async with writer.transaction():
        await _lock_out_writers(writer)
        changed = await _changed_since(writer, since)
        await _fold(writer, writer, unique_key, changed)
        await writer.execute(SWAP)
        for row in await writer.fetch(INDEXES, "jobs"):
            await writer.execute(f"alter index {row['name']} rename to {names[row['definition']]}")


async def _lock_out_writers(writer: Connection) -> None:
    """Waits in short turns: whoever waits for this lock makes everyone behind it wait as well."""
    for _ in range(LOCK_TRIES):
        try:
            async with writer.transaction():
                await writer.execute("lock table jobs in access exclusive mode")
                return
        except LockNotAvailable:
            await asyncio.sleep(0.5)
    raise RebuildRefused("the jobs view is being read by a transaction that does not end; try again later")


def _dump(value: JSON) -> str | None:
    return None if value is None else orjson.dumps(value).decode()
