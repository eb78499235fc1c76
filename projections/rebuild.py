"""Builds a new jobs view beside the live view and swaps them, while the service runs.

To fold a job is to compute its row from its events. First all jobs are folded from one snapshot of the log. Then the
jobs that got events since that snapshot are folded again from a new snapshot, and so on, until at most `FEW` such jobs
are left. These are folded in the transaction that swaps the tables, while a lock blocks all writers for a moment. An
append writes `job_events` and `jobs` in one statement, so no append can be under way while the lock on `jobs` is held.

A job is broken if its history cannot be folded. A broken job prevents the swap, or with `skip_broken` keeps its row of
the live view. Two active jobs may have the same unique key, because the rule of their type has changed. Then both are
kept, and the older job gets the key.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import orjson

from events.database import Connection, Database, LockNotAvailable
from events.history import histories
from events.job import ACTIVE, JSON, BrokenHistory, Job, Queued, Recorded, fold
from events.statements import JOB_COLUMNS

UniqueKey = Callable[[str, JSON, str | None], str | None]
"""The rule of the job types for unique keys: `(type, payload, user_id)` → key or None.

The rule gives the key of a job whose first event does not hold a key.
"""

REBUILDING = 0x7265627569  # the key of the advisory lock of a rebuild; in ASCII it reads "rebui"
FEW = 500  # jobs that may be folded while the lock is held
BATCH = 2000  # jobs in one COPY
LOCK_TRIES = 30  # tries to lock the live view
COLUMNS = [*JOB_COLUMNS.split(", "), "unique_key"]

BEGIN_BESIDE = """
drop table if exists jobs_rebuilt;
create table jobs_rebuilt (like jobs including all);
"""

# Returns statements that copy what `create table … like` does not: rights, owner, and storage options such as fillfactor.
LEFT_TO_COPY = """
select format('grant %s on jobs_rebuilt to %s%s', p.privilege_type,
              case p.grantee when 0 then 'public' else p.grantee::regrole::text end,
              case when p.is_grantable then ' with grant option' end) as statement
from pg_class c cross join aclexplode(c.relacl) p
where c.oid = 'jobs'::regclass and p.grantee <> c.relowner
union all
select format('grant %s (%I) on jobs_rebuilt to %s%s', p.privilege_type, a.attname,
              case p.grantee when 0 then 'public' else p.grantee::regrole::text end,
              case when p.is_grantable then ' with grant option' end)
from pg_attribute a cross join aclexplode(a.attacl) p
where a.attrelid = 'jobs'::regclass and not a.attisdropped
union all
select format('alter table jobs_rebuilt owner to %s', c.relowner::regrole)
from pg_class c where c.oid = 'jobs'::regclass
union all
select format('alter table jobs_rebuilt set (%s)', array_to_string(c.reloptions, ', '))
from pg_class c where c.oid = 'jobs'::regclass and c.reloptions is not null
"""

# Copies the rows of broken jobs from the live view. An ended job keeps its unique key. An active job loses its key if an
# active job in the new view has the same key, because only one active job may have it, and the other job's history can be
# folded.
KEEP_ROWS = f"""
insert into jobs_rebuilt ({JOB_COLUMNS}, unique_key)
select {JOB_COLUMNS}, case when j.status not in ('queued', 'processing') or not exists (
    select from jobs_rebuilt o where o.unique_key = j.unique_key and o.status in ('queued', 'processing')
) then j.unique_key end
from jobs j where j.id = any($1)
"""

WHOSE_KEYS = """
select unique_key, id, created_at from jobs_rebuilt
where unique_key = any($1) and status in ('queued', 'processing')
"""

TAKE_KEYS = "update jobs_rebuilt set unique_key = null where id = any($1)"

# Gives a job the unique key that an older job had taken from it, if the job has ended, or if no active job holds
# the key.
GIVE_KEY = """
update jobs_rebuilt j set unique_key = $2
where j.id = $1 and (j.status not in ('queued', 'processing') or not exists (
    select from jobs_rebuilt o where o.unique_key = $2 and o.status in ('queued', 'processing')
))
returning j.id
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
    """The rebuild is not possible at present. The live view has not changed."""


class BrokenHistories(BrokenHistory):
    """Some jobs cannot be folded. `jobs` maps the id of each to its fault.

    The live view has not changed.
    """

    def __init__(self, jobs: dict[str, BrokenHistory]) -> None:
        first = next(iter(jobs.values()))
        super().__init__(f"{len(jobs)} jobs have a history that cannot be folded", first.name, first.job_id, first.seq)
        self.jobs = jobs


@dataclass(slots=True)
class Rebuilt:
    """The outcome of a rebuild.

    `jobs` is the number of rows in the new view. `broken` is `{job id: fault}`. It holds the jobs that could not be
    folded, and so kept their row of the live view. `without_key` is `{job id: unique key}`. It holds the active jobs
    that lost their key to an older active job.
    """

    jobs: int = 0
    broken: dict[str, BrokenHistory] = field(default_factory=dict)
    without_key: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Folded:
    job: Job
    unique_key: str | None

    @property
    def holds_key(self) -> bool:
        return self.unique_key is not None and self.job.status in ACTIVE

    @property
    def age(self) -> tuple[datetime, str]:
        return self.job.created_at, self.job.id


async def rebuild(database: Database, unique_key: UniqueKey) -> int:
    """Calls `rebuild_view` without `skip_broken`. Returns the number of jobs in the new view."""
    return (await rebuild_view(database, unique_key)).jobs


async def rebuild_view(database: Database, unique_key: UniqueKey, *, skip_broken: bool = False) -> Rebuilt:
    """Builds the jobs view from the log and swaps it in. Needs the right to create tables.

    Raises: `RebuildRefused`, and without `skip_broken` also `BrokenHistories`. After these errors the live view has not
    changed.
    """
    rebuilt = Rebuilt()
    reader = await _patient(database)
    writer = await _patient(database)
    try:
        if not await writer.fetchval("select pg_try_advisory_lock($1)", REBUILDING):
            raise RebuildRefused("another rebuild is running")
        await writer.execute(BEGIN_BESIDE)
        since = await _fold_from_a_snapshot(reader, writer, unique_key, None, rebuilt)
        while len(changed := await _changed_since(reader, since)) > FEW:
            since = await _fold_from_a_snapshot(reader, writer, unique_key, changed, rebuilt)
        if rebuilt.broken and not skip_broken:
            await writer.execute("drop table jobs_rebuilt")
            raise BrokenHistories(rebuilt.broken)
        for row in await writer.fetch(LEFT_TO_COPY):
            await writer.execute(row["statement"])
        await writer.execute("analyze jobs_rebuilt")
        await _swap(writer, unique_key, since, rebuilt, skip_broken=skip_broken)
        rebuilt.jobs = int(await writer.fetchval("select count(*) from jobs"))
        return rebuilt
    finally:
        await reader.close()
        await writer.close()


async def _patient(database: Database) -> Connection:
    return await database.hold(statement_timeout="0", idle_in_transaction_session_timeout="0", lock_timeout="2s")


async def _fold_from_a_snapshot(
    reader: Connection, writer: Connection, unique_key: UniqueKey, job_ids: Sequence[str] | None, rebuilt: Rebuilt
) -> str:
    """Folds these jobs, or all jobs for None, into the new table.

    Returns the lowest transaction id whose events the snapshot may not show.
    """
    async with reader.transaction(isolation="repeatable_read", readonly=True):
        since: str = await reader.fetchval(OLDEST_RUNNING)
        async with writer.transaction():
            await _fold(reader, writer, unique_key, job_ids, rebuilt)
    return since


async def _fold(
    reader: Connection, writer: Connection, unique_key: UniqueKey, job_ids: Sequence[str] | None, rebuilt: Rebuilt
) -> None:
    if job_ids is not None:
        await writer.execute("delete from jobs_rebuilt where id = any($1)", job_ids)
        for job_id in job_ids:
            rebuilt.broken.pop(job_id, None)
    batch: list[_Folded] = []
    async for job_id, folded in _jobs(reader, unique_key, job_ids):
        if isinstance(folded, BrokenHistory):
            rebuilt.broken[job_id] = folded
            continue
        batch.append(folded)
        if len(batch) == BATCH:
            await _store(writer, batch, rebuilt)
            batch.clear()
    await _store(writer, batch, rebuilt)


async def _jobs(
    reader: Connection, unique_key: UniqueKey, job_ids: Sequence[str] | None
) -> AsyncIterator[tuple[str, _Folded | BrokenHistory]]:
    """Yields the id of each job, with the job as its history gives it, or with its fault."""
    history: list[Recorded] = []
    async for recorded in histories(reader, job_ids):
        if history and history[0].job_id != recorded.job_id:
            yield history[0].job_id, _folded(history, unique_key)
            history = []
        history.append(recorded)
    if history:
        yield history[0].job_id, _folded(history, unique_key)


def _folded(history: list[Recorded], unique_key: UniqueKey) -> _Folded | BrokenHistory:
    try:
        job = fold(history)
    except BrokenHistory as broken:
        return broken
    first = history[0].event
    assert job is not None
    assert isinstance(first, Queued)
    return _Folded(job, first.unique_key or unique_key(job.type, job.payload, job.user_id))


async def _store(writer: Connection, jobs: Sequence[_Folded], rebuilt: Rebuilt) -> None:
    losers = await _losers(writer, [job for job in jobs if job.holds_key])
    await writer.execute(TAKE_KEYS, list(losers))
    rebuilt.without_key |= losers
    records = [_row(each.job, None if each.job.id in losers else each.unique_key) for each in jobs]
    await writer.copy_records_to_table("jobs_rebuilt", records=records, columns=COLUMNS)


async def _losers(writer: Connection, jobs: Sequence[_Folded]) -> dict[str, str]:
    """Returns the jobs that lose their unique key to an older active job, as `{job id: key}`.

    Compares `jobs` with each other, and with the jobs that are already in the new table.
    """
    keys = list({each.unique_key for each in jobs})
    wanting: dict[str, list[tuple[datetime, str]]] = {}
    for row in await writer.fetch(WHOSE_KEYS, keys) if keys else ():
        wanting.setdefault(row["unique_key"], []).append((row["created_at"], row["id"]))
    for each in jobs:
        wanting.setdefault(each.unique_key or "", []).append(each.age)
    return {job_id: key for key, ages in wanting.items() for _, job_id in sorted(ages)[1:]}


def _row(job: Job, unique_key: str | None) -> tuple[Any, ...]:
    return (
        job.id, job.type, job.status, orjson.dumps(job.payload).decode(), _dump(job.result),
        _dump(job.error and job.error.to_json()), job.user_id, job.attempt, job.max_attempts, job.worker, job.seq, job.run_at,
        job.started_at, job.finished_at, job.created_at, job.updated_at, unique_key,
    )  # fmt: skip


async def _changed_since(connection: Connection, since: str) -> list[str]:
    return [row["job_id"] for row in await connection.fetch(CHANGED_SINCE, since)]


async def _swap(writer: Connection, unique_key: UniqueKey, since: str, rebuilt: Rebuilt, *, skip_broken: bool) -> None:
    names = {row["definition"]: row["name"] for row in await writer.fetch(INDEXES, "jobs")}
    async with writer.transaction():
        await _lock_out_writers(writer)
        changed = await _changed_since(writer, since)
        await _fold(writer, writer, unique_key, changed, rebuilt)
        if rebuilt.broken and not skip_broken:
            raise BrokenHistories(rebuilt.broken)
        await writer.execute(KEEP_ROWS, list(rebuilt.broken))
        await _give_keys_back(writer, rebuilt)
        await writer.execute(SWAP)
        for row in await writer.fetch(INDEXES, "jobs"):
            await writer.execute(f"alter index {row['name']} rename to {names[row['definition']]}")


async def _give_keys_back(writer: Connection, rebuilt: Rebuilt) -> None:
    for job_id, key in sorted(rebuilt.without_key.items()):
        if await writer.fetchval(GIVE_KEY, job_id, key):
            del rebuilt.without_key[job_id]


async def _lock_out_writers(writer: Connection) -> None:
    """Locks the view in short tries, because all statements behind a waiting lock wait too.

    The lock lasts until the transaction of the caller ends. Raises `RebuildRefused` after `LOCK_TRIES` tries.
    """
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
