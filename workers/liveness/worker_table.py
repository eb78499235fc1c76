"""Table `workers`: the SQL that reads and writes it, and the list of workers for people.

Each worker has a row, which the worker's `Heartbeat` writes.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

import orjson

from events.database import Database

MOST = 200  # workers that the list shows at most

PRESENT_TYPES = """
select distinct unnest(job_types) as type from workers
where gone_at is null and last_seen > now() - make_interval(secs => :lease)
"""

PRESENT = """
select count(*) from workers
where gone_at is null and last_seen > now() - make_interval(secs => :lease) and :type = any(job_types)
"""

WORKERS = """
select id, host, pid, job_types, slots, started_at, last_seen, gone_at, stuck,
    last_seen > now() - make_interval(secs => :lease) as heard_lately
from workers
where gone_at is null or gone_at > now() - cast(:remembered as interval)
order by gone_at is not null, started_at desc
limit :most
"""

RUNNING = """
select worker, id, type, attempt, started_at from jobs where status = 'processing' and worker = any($1) order by started_at
"""


class Presence(StrEnum):
    """Whether a worker lives, judged by its heartbeats."""

    ALIVE = "alive"
    SILENT = "silent"
    """The worker sent no heartbeat for longer than the lease, but is not declared gone yet.

    PostgreSQL may have been unreachable, so that the worker could send none.
    """
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class Running:
    """A job that a worker runs."""

    job_id: str
    type: str
    attempt: int
    started_at: datetime


@dataclass(frozen=True, slots=True)
class StuckHandler:
    """A handler that goes on although it was cancelled.

    Its attempt has ended, so the log refuses everything that the handler still reports.
    """

    job_id: str
    type: str
    attempt: int
    since: datetime


@dataclass(frozen=True, slots=True)
class WorkerSeen:
    """A worker as the list of workers shows it."""

    id: str
    host: str
    pid: int
    presence: Presence
    job_types: list[str]
    slots: int
    started_at: datetime
    last_seen: datetime
    gone_at: datetime | None
    running: list[Running]
    stuck: list[StuckHandler]


async def present_types(database: Database, *, lease: float) -> Collection[str]:
    """Returns the job types that at least one living worker runs. `lease` is in seconds."""
    return [row["type"] for row in await database.fetch_all(PRESENT_TYPES, {"lease": lease})]


async def workers_present(database: Database, job_type: str, *, lease: float) -> int:
    """Returns how many living workers run a job type. `lease` is in seconds."""
    return int(await database.fetch_val(PRESENT, {"type": job_type, "lease": lease}))


async def workers_seen(database: Database, *, lease: float, remembered: timedelta) -> list[WorkerSeen]:
    """Returns at most `MOST` workers: the living first, then those gone within `remembered`.

    Of each kind the worker that started last comes first. `lease` is in seconds.
    """
    rows = await database.fetch_all(WORKERS, {"lease": lease, "remembered": remembered, "most": MOST})
    async with database.raw() as connection:
        running = await connection.fetch(RUNNING, [row["id"] for row in rows])
    return [
        WorkerSeen(
            id=row["id"],
            host=row["host"],
            pid=row["pid"],
            presence=_presence(gone=row["gone_at"] is not None, heard_lately=row["heard_lately"]),
            job_types=list(row["job_types"]),
            slots=row["slots"],
            started_at=row["started_at"],
            last_seen=row["last_seen"],
            gone_at=row["gone_at"],
            running=[
                Running(job["id"], job["type"], job["attempt"], job["started_at"])
                for job in running
                if job["worker"] == row["id"]
            ],
            stuck=_stuck(row["stuck"], row["last_seen"]) if row["gone_at"] is None else [],
        )
        for row in rows
    ]


def _presence(*, gone: bool, heard_lately: bool) -> Presence:
    if gone:
        return Presence.GONE
    return Presence.ALIVE if heard_lately else Presence.SILENT


def _stuck(text: str, last_seen: datetime) -> list[StuckHandler]:
    return [
        StuckHandler(stuck["jobId"], stuck["type"], stuck["attempt"], last_seen - timedelta(seconds=stuck["seconds"]))
        for stuck in orjson.loads(text)
    ]


REGISTER = """
with forgotten as (delete from workers where gone_at < now() - interval '30 days')
insert into workers (id, host, pid, job_types, slots) values (:id, :host, :pid, cast(:job_types as text[]), :slots)
"""

# Returns no row if the worker was declared gone.
BEAT = """
update workers w set last_seen = now(), stuck = cast(:stuck as json) from workers before
where w.id = :id and before.id = w.id and w.gone_at is null
returning w.last_seen, cast(extract(epoch from w.last_seen - before.last_seen) as float8) as silent_for
"""

LEAVE = "update workers set gone_at = now() where id = :id and gone_at is null"

# The rescuer's own row must hold its last heartbeat (`seen`), and that heartbeat must be recent. A
# rescuer whose own heartbeat is late was frozen, asleep or cut off. It must not declare others
# gone, because the same cause may have silenced them.
DECLARE_GONE = """
update workers set gone_at = now()
where gone_at is null and last_seen < now() - make_interval(secs => :lease)
and pg_postmaster_start_time() < now() - make_interval(secs => :lease)
and exists (
    select from workers me
    where me.id = :me and me.last_seen = :seen and me.last_seen >= now() - make_interval(secs => :beat)
)
returning id
"""
