"""The jobs view: how the current state of jobs is read. What writes it is the append in `events/store.py`."""

import base64
import binascii
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from events.bus import Change
from events.database import Database
from events.job import Job, Status
from events.store import JOB_COLUMNS, job_from

GET = f"select {JOB_COLUMNS} from jobs where id = any($1)"

# One index scan for each pair of type and status, each already in order and cut off at the limit: no sort over the table,
# however rare the wanted status is.
PAGE_BY_TYPE_AND_STATUS = f"""
select page.* from unnest(cast(:types as text[])) as wanted_type cross join unnest(cast(:statuses as text[])) as wanted_status
cross join lateral (
    select {JOB_COLUMNS} from jobs j
    where j.type = wanted_type and j.status = wanted_status
    and (j.created_at, j.id) < (cast(:before_time as timestamptz), cast(:before_id as uuid))
    and j.created_at > :created_after and j.created_at < :created_before
    order by j.created_at desc, j.id desc
    limit :limit
) as page
order by page.created_at desc, page.id desc
limit :limit
"""

PAGE = f"""
select {JOB_COLUMNS} from jobs
where (created_at, id) < (cast(:before_time as timestamptz), cast(:before_id as uuid))
and created_at > :created_after and created_at < :created_before
order by created_at desc, id desc
limit :limit
"""

PAGE_OF_OWNER = f"""
select {JOB_COLUMNS} from jobs
where user_id = :user_id
and (created_at, id) < (cast(:before_time as timestamptz), cast(:before_id as uuid))
and created_at > :created_after and created_at < :created_before
and (cast(:type as text) is null or type = :type)
and (cast(:status as text) is null or status = :status)
order by created_at desc, id desc
limit :limit
"""

TYPES = """
with recursive types as (
    select min(type) as type from jobs
    union all
    select (select min(j.type) from jobs j where j.type > t.type) from types t where t.type is not null
)
select type from types where type is not null
"""

COUNTS = """
select type, status, count(*) as jobs from jobs
where (cast(:user_id as uuid) is null or user_id = :user_id)
group by type, status
"""

# No more rows of the index are looked at than are counted, however many jobs there are.
COUNTED = """
select wanted_status as status, least(sum(counted.jobs), :most) as jobs
from unnest(cast(:types as text[])) as wanted_type cross join unnest(cast(:statuses as text[])) as wanted_status
cross join lateral (
    select count(*) as jobs from (
        select from jobs j
        where j.type = wanted_type and j.status = wanted_status
        and j.created_at > :created_after and j.created_at < :created_before
        limit :most
    ) as found
) as counted
group by wanted_status
"""

# One walk along the owner's part of the index: a rare status would be looked for to its end anyway.
COUNTED_OF_OWNER = """
select status, least(count(*), :most) as jobs from jobs
where user_id = :user_id
and created_at > :created_after and created_at < :created_before
and (cast(:type as text) is null or type = :type)
group by status
"""

AHEAD = """
select count(*) from (
    select from jobs
    where type = :type and status = 'queued' and (run_at, id) < (cast(:run_at as timestamptz), cast(:id as uuid))
    limit :most
) as found
"""

DUE = """
select id, type, attempt, run_at from jobs
where type = $1 and status = 'queued' and run_at <= now() and (run_at, id) > ($2, $3)
order by run_at, id
limit $4
"""

NEXT_DUE = """
select extract(epoch from min(next.run_at) - now()) from unnest(cast(:types as text[])) as wanted_type
cross join lateral (
    select run_at from jobs j where j.type = wanted_type and j.status = 'queued' and run_at > now() order by run_at limit 1
) as next
"""

HELD_BY = f"select {JOB_COLUMNS} from jobs where status = 'processing' and worker = :worker"

SEQS = "select id, seq, attempt, status, type, user_id from jobs where id = any($1)"

EARLIEST = datetime.fromisoformat("0001-01-02T00:00:00+00:00")
LATEST = datetime.fromisoformat("9999-12-30T00:00:00+00:00")
LEAST_ID = "00000000-0000-0000-0000-000000000000"
GREATEST_ID = "ffffffff-ffff-ffff-ffff-ffffffffffff"


class BadCursor(ValueError):
    """Not a cursor that `page` has given."""


@dataclass(frozen=True, slots=True)
class JobFilter:
    """What a page is made of; None means any. Both times are exclusive."""

    type: str | None = None
    status: Status | None = None
    user_id: str | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None


@dataclass(frozen=True, slots=True)
class Page:
    jobs: list[Job]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class Due:
    """An attempt that may be run now."""

    job_id: str
    type: str
    attempt: int
    run_at: datetime


class JobsView:
    def __init__(self, database: Database) -> None:
        self._database = database

    @property
    def database(self) -> Database:
        return self._database

    async def get(self, job_id: str) -> Job | None:
        return next(iter(await self.get_many([job_id])), None)

    async def get_many(self, job_ids: Sequence[str]) -> list[Job]:
        """Those of the jobs that exist, in no order."""
        async with self._database.raw() as connection:
            return [job_from(row) for row in await connection.fetch(GET, job_ids)]

    async def page(self, wanted: JobFilter, *, limit: int, cursor: str | None = None) -> Page:
        """A page of at most `limit` jobs, newest first, and where the next begins. Raises `BadCursor`."""
        before_time, before_id = (LATEST, GREATEST_ID) if cursor is None else _read_cursor(cursor)
        values: dict[str, Any] = {
            "before_time": before_time,
            "before_id": before_id,
            "created_after": wanted.created_after or EARLIEST,
            "created_before": wanted.created_before or LATEST,
            "limit": limit + 1,
        }
        if wanted.user_id is not None:
            query = PAGE_OF_OWNER
            values |= {"user_id": wanted.user_id, "type": wanted.type, "status": wanted.status}
        elif wanted.type is None and wanted.status is None:
            query = PAGE
        else:
            query = PAGE_BY_TYPE_AND_STATUS
            values["types"] = [wanted.type] if wanted.type else await self.types()
            values["statuses"] = [wanted.status] if wanted.status else list(Status)
        jobs = [job_from(row) for row in await self._database.fetch_all(query, values)]
        more = len(jobs) > limit
        return Page(jobs[:limit], _cursor(jobs[limit - 1]) if more else None)

    async def types(self) -> list[str]:
        """Every job type that any job has, by hopping through the index from one to the next."""
        return [row["type"] for row in await self._database.fetch_all(TYPES)]

    async def counts(self, *, user_id: str | None = None) -> dict[str, dict[Status, int]]:
        """How many jobs of each type are in each status: `{type: {status: count}}`."""
        counts: dict[str, dict[Status, int]] = {}
        for row in await self._database.fetch_all(COUNTS, {"user_id": user_id}):
            counts.setdefault(row["type"], {})[Status(row["status"])] = row["jobs"]
        return counts

    async def capped_counts(self, wanted: JobFilter, *, most: int) -> dict[Status, int]:
        """How many of the wanted jobs are in each status, whatever status is wanted: each counted up to `most`."""
        values: dict[str, Any] = {
            "created_after": wanted.created_after or EARLIEST,
            "created_before": wanted.created_before or LATEST,
            "most": most,
        }
        if wanted.user_id is not None:
            rows = await self._database.fetch_all(COUNTED_OF_OWNER, values | {"user_id": wanted.user_id, "type": wanted.type})
        else:
            types = [wanted.type] if wanted.type else await self.types()
            rows = await self._database.fetch_all(COUNTED, values | {"types": types, "statuses": list(Status)})
        return dict.fromkeys(Status, 0) | {Status(row["status"]): int(row["jobs"]) for row in rows}

    async def ahead_of(self, job: Job, *, most: int) -> int:
        """How many queued jobs of its type come before a queued one, counted up to `most`."""
        values = {"type": job.type, "run_at": job.run_at, "id": job.id, "most": most}
        return int(await self._database.fetch_val(AHEAD, values))

    async def due(self, type: str, *, limit: int, after: Due | None = None) -> list[Due]:
        """Attempts of one type that may be run now, those that have waited longest first; only those behind `after` in this
        order."""
        place = (EARLIEST, LEAST_ID) if after is None else (after.run_at, after.job_id)
        async with self._database.raw() as connection:
            return [Due(*row) for row in await connection.fetch(DUE, type, *place, limit)]

    async def next_due(self, types: Iterable[str]) -> float | None:
        """Seconds until the next delayed attempt may be run, None if there is none."""
        seconds = await self._database.fetch_val(NEXT_DUE, {"types": list(types)})
        return None if seconds is None else float(seconds)

    async def seqs(self, job_ids: Sequence[str]) -> list[Change]:
        """Where these jobs stand now: what the bus should have told by now."""
        async with self._database.raw() as connection:
            return [Change(*row) for row in await connection.fetch(SEQS, job_ids)]

    async def held_by(self, worker: str) -> list[Job]:
        """What a worker is running, as far as the log knows."""
        return [job_from(row) for row in await self._database.fetch_all(HELD_BY, {"worker": worker})]


def _cursor(job: Job) -> str:
    return base64.urlsafe_b64encode(f"{job.created_at.isoformat()} {job.id}".encode()).decode().rstrip("=")


def _read_cursor(cursor: str) -> tuple[datetime, str]:
    try:
        time, _, job_id = base64.b64decode(cursor + "=" * (-len(cursor) % 4), b"-_", validate=True).decode().partition(" ")
        before = datetime.fromisoformat(time)
        if before.tzinfo is None:
            raise BadCursor("not a cursor of this list")
        return before.astimezone(UTC), str(UUID(job_id))
    except (ValueError, OverflowError, binascii.Error) as error:
        raise BadCursor("not a cursor of this list") from error
