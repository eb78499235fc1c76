"""Reads the jobs view, the current state of all jobs.

Every append (`events/store.py`) updates the view.
"""

import base64
import binascii
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from events.bus import Change
from events.database import Database
from events.history import job_from
from events.job import ENDED, Job, Status
from events.statements import JOB_COLUMNS, JOBS

PAGE = f"""
select {JOB_COLUMNS} from jobs
where (created_at, id) < (cast(:before_time as timestamptz), cast(:before_id as uuid)) and created_at > :created_after
order by created_at desc, id desc
limit :limit
"""

# One index scan for each pair of type and status returns jobs in order, at most `:limit`. So PostgreSQL never sorts the table,
# however rare the wanted status is. Whole rows are read only for the jobs of the page.
PAGE_BY_TYPE_AND_STATUS = f"""
with page as (
    select found.id from unnest(cast(:types as text[])) as wanted_type
    cross join unnest(cast(:statuses as text[])) as wanted_status
    cross join lateral (
        select j.created_at, j.id from jobs j
        where j.type = wanted_type and j.status = wanted_status
        and (j.created_at, j.id) < (cast(:before_time as timestamptz), cast(:before_id as uuid))
        and j.created_at > :created_after
        order by j.created_at desc, j.id desc
        limit :limit
    ) as found
    order by found.created_at desc, found.id desc
    limit :limit
)
select {JOB_COLUMNS} from jobs where id = any(array(select id from page))
order by created_at desc, id desc
"""

PAGE_OF_OWNER = PAGE_BY_TYPE_AND_STATUS.replace("where j.type", "where j.user_id = :user_id and j.type")

TYPES = """
with recursive types as (
    select min(type) as type from jobs
    union all
    select (select min(j.type) from jobs j where j.type > t.type) from types t where t.type is not null
)
select type from types where type is not null
"""

# Each count stops at `:most`, so that it reads a limited part of the index, however many jobs there are.
COUNTED = """
select wanted_type as type, wanted_status as status, counted.jobs
from unnest(cast(:types as text[])) as wanted_type cross join unnest(cast(:statuses as text[])) as wanted_status
cross join lateral (
    select count(*) as jobs from (
        select from jobs j
        where j.type = wanted_type and j.status = wanted_status
        and j.created_at > :created_after and j.created_at < :created_before
        limit :most
    ) as found
) as counted
"""

COUNTED_OF_OWNER = COUNTED.replace("where j.type", "where j.user_id = :user_id and j.type")

ACTIVE_COUNTED = """
select type, 'queued' as status, count(*) as jobs from jobs where status = 'queued' group by type
union all
select type, 'processing', count(*) from jobs where status = 'processing' group by type
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

# The unique keys of these jobs, each with the job of this key that is active, if there is one.
UNIQUE_KEYS = """
select j.id, j.unique_key, (
    select a.id from jobs a where a.unique_key = j.unique_key and a.status in ('queued', 'processing')
) as active
from jobs j
where j.id = any(cast(:ids as uuid[])) and j.unique_key is not null
"""

# No index serves this search, because each write would pay for it. It reads only the index of all ids, or of one owner's.
OF_SHORT_ID = """
select id, created_at from jobs
where right(cast(id as text), 8) = :short_id
order by created_at desc, id desc
limit :limit
"""

OF_SHORT_ID_AND_OWNER = OF_SHORT_ID.replace("where ", "where user_id = cast(:user_id as uuid) and ")

EARLIEST = datetime.fromisoformat("0001-01-02T00:00:00+00:00")
LATEST = datetime.fromisoformat("9999-12-30T00:00:00+00:00")
LEAST_ID, GREATEST_ID = "00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff"


SHORT_ID = re.compile(r"[0-9a-fA-F]{8}")
"""The last eight digits of a job's id, by which people name it."""

MOST_OF_SHORT_ID = 20  # jobs; more than one has the same short id only in a log of many millions


class BadCursor(ValueError):
    """The text is not a cursor that `page` has returned."""


@dataclass(frozen=True, slots=True)
class JobFilter:
    """The jobs that a page or a count includes. None means any; both times are exclusive."""

    type: str | None = None
    status: Status | None = None
    user_id: str | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """Some jobs, and the cursor of the next page, which is None on the last page."""

    jobs: list[Job]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class Due:
    """An attempt that may run now."""

    job_id: str
    type: str
    attempt: int
    run_at: datetime


class JobsView:
    """Queries on the jobs view of one database.

    Reading jobs raises `BrokenView` for a row that was tampered with.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    @property
    def database(self) -> Database:
        return self._database

    async def get(self, job_id: str) -> Job | None:
        return next(iter(await self.get_many([job_id])), None)

    async def get_many(self, job_ids: Sequence[str]) -> list[Job]:
        """Returns the jobs with these ids in no particular order. Leaves out unknown ids."""
        async with self._database.raw() as connection:
            return [job_from(row) for row in await connection.fetch(JOBS, job_ids)]

    async def unique_keys(self, job_ids: Sequence[str]) -> dict[str, tuple[str, str | None]]:
        """Returns the unique key of each of these jobs that has one, and the id of the active job with this key."""
        rows = await self._database.fetch_all(UNIQUE_KEYS, {"ids": job_ids})
        return {row["id"]: (row["unique_key"], row["active"]) for row in rows}

    async def of_short_id(self, short_id: str, user_id: str | None = None, *, limit: int = MOST_OF_SHORT_ID) -> list[str]:
        """Returns the ids, newest first, that end in these eight hexadecimal digits.

        With `user_id` only ids of this owner's jobs. Usually there is one at most.
        """
        query, values = OF_SHORT_ID, {"short_id": short_id.lower(), "limit": limit}
        if user_id is not None:
            query, values = OF_SHORT_ID_AND_OWNER, values | {"user_id": user_id}
        return [row["id"] for row in await self._database.fetch_all(query, values)]

    async def page(self, wanted: JobFilter, *, limit: int, cursor: str | None = None) -> Page:
        """Returns a page of at most `limit` jobs, newest first. Raises `BadCursor`."""
        # The cursor and `created_before` become one upper bound. With two bounds, PostgreSQL might start its scan at the
        # later one.
        before_time, before_id = min(
            (LATEST, GREATEST_ID) if cursor is None else _read_cursor(cursor),
            (wanted.created_before or LATEST, LEAST_ID if wanted.created_before else GREATEST_ID),
        )
        values: dict[str, Any] = {
            "before_time": before_time,
            "before_id": before_id,
            "created_after": wanted.created_after or EARLIEST,
            "limit": limit + 1,
        }
        query = PAGE
        if (wanted.type, wanted.status, wanted.user_id) != (None, None, None):
            query = PAGE_BY_TYPE_AND_STATUS
            values |= await self._types_and_statuses(wanted)
        if wanted.user_id is not None:
            query = PAGE_OF_OWNER
            values["user_id"] = wanted.user_id
        jobs = [job_from(row) for row in await self._database.fetch_all(query, values)]
        more = len(jobs) > limit
        return Page(jobs[:limit], _cursor(jobs[limit - 1]) if more else None)

    async def types(self) -> list[str]:
        """Returns all job types in the view, with one index lookup for each type."""
        return [row["type"] for row in await self._database.fetch_all(TYPES)]

    async def counts(self, *, most: int) -> dict[str, dict[Status, int]]:
        """Counts jobs by type and status: `{type: {status: count}}`.

        Counts ended jobs only up to `most` for each pair of type and status.
        """
        rows = await self._database.fetch_all(ACTIVE_COUNTED)
        values = {"created_after": EARLIEST, "created_before": LATEST, "types": await self.types(), "most": most}
        rows = [*rows, *await self._database.fetch_all(COUNTED, values | {"statuses": sorted(ENDED)})]
        counts: dict[str, dict[Status, int]] = {}
        for row in rows:
            if row["jobs"]:
                counts.setdefault(row["type"], {})[Status(row["status"])] = row["jobs"]
        return counts

    async def capped_counts(self, wanted: JobFilter, *, most: int) -> dict[Status, int]:
        """Counts the wanted jobs by status, each up to `most`. Ignores the filter's `status`."""
        values: dict[str, Any] = {
            "created_after": wanted.created_after or EARLIEST,
            "created_before": wanted.created_before or LATEST,
            "most": most,
        }
        query = COUNTED
        if wanted.user_id is not None:
            query = COUNTED_OF_OWNER
            values["user_id"] = wanted.user_id
        counts = dict.fromkeys(Status, 0)
        for row in await self._database.fetch_all(query, values | await self._types_and_statuses(replace(wanted, status=None))):
            status = Status(row["status"])
            counts[status] = min(most, counts[status] + row["jobs"])
        return counts

    async def _types_and_statuses(self, wanted: JobFilter) -> dict[str, list[str]]:
        return {
            "types": [wanted.type] if wanted.type else await self.types(),
            "statuses": [wanted.status] if wanted.status else list(Status),
        }

    async def ahead_of(self, job: Job, *, most: int) -> int:
        """Counts, up to `most`, the queued jobs of the same type that are due before this job."""
        values = {"type": job.type, "run_at": job.run_at, "id": job.id, "most": most}
        return int(await self._database.fetch_val(AHEAD, values))

    async def due(self, job_type: str, *, limit: int, after: Due | None = None) -> list[Due]:
        """Returns at most `limit` attempts of one type that may run now, longest-waiting first.

        With `after`, returns only the attempts that come after that attempt in this order.
        """
        place = (EARLIEST, LEAST_ID) if after is None else (after.run_at, after.job_id)
        async with self._database.raw() as connection:
            return [Due(*row) for row in await connection.fetch(DUE, job_type, *place, limit)]

    async def next_due(self, types: Iterable[str]) -> float | None:
        """Returns the seconds until the next delayed attempt of these types may run, or None."""
        seconds = await self._database.fetch_val(NEXT_DUE, {"types": list(types)})
        return None if seconds is None else float(seconds)

    async def seqs(self, job_ids: Sequence[str]) -> list[Change]:
        """Returns the current state of these jobs as changes, like those that the bus brings."""
        async with self._database.raw() as connection:
            return [Change(*row) for row in await connection.fetch(SEQS, job_ids)]

    async def held_by(self, worker: str) -> list[Job]:
        """Returns the jobs that a worker is running according to the view."""
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
