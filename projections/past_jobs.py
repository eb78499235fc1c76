"""All jobs as they stood at a past moment, folded from the log.

The log is read in pages by (job id, seq), each in a statement of its own, so memory stays bounded and no transaction stays open
while a slow client reads. The pages fit together, because events are only added, and the events of a job up to a past moment
are a prefix of its history: times never run backwards within a job.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from events.database import Database, Record
from events.history import recorded_from
from events.job import BrokenHistory, Job, Status, evolve
from events.statements import EVENT_COLUMNS

AT_ONCE = 500  # events in one page

FIRST_KEY = ("00000000-0000-0000-0000-000000000000", 0)

# The page is cut before the time is compared, so that no statement reads more than `AT_ONCE` rows. Data of later events are not
# sent. Python's `datetime` cannot hold all stored times, so the query limits each time to the years that it can hold.
PAGE = f"""
select {EVENT_COLUMNS}, null::bigint as position, e.happened
from (
    select job_id, seq, attempt, type, case when at <= $3 then data else '{{}}' end as data, actor, request_id, cause,
        greatest(least(at, $3), '0001-01-02T00:00:00Z') as at, at <= $3 as happened
    from job_events
    where (job_id, seq) > ($1, $2)
    order by job_id, seq
    limit $4
) as e
order by e.job_id, e.seq
"""


@dataclass(slots=True)
class JobCounts:
    """How many jobs of each type had each status, and how many histories could not be folded."""

    by_type: Counter[tuple[str, Status]] = field(default_factory=Counter)
    broken: int = 0

    @property
    def jobs(self) -> int:
        """The number of jobs that existed, without those with a broken history."""
        return self.by_type.total()

    def add(self, found: Job | BrokenHistory) -> None:
        if isinstance(found, Job):
            self.by_type[found.type, found.status] += 1
        else:
            self.broken += 1


async def jobs_at(database: Database, at: datetime) -> AsyncIterator[list[Job | BrokenHistory]]:
    """Yields all jobs as they were after their last event with a time at or before `at`, in order of their ids.

    Jobs without such an event are left out. A history that cannot be folded up to then is yielded as `BrokenHistory`. Each
    list has the jobs of one page, and may be empty.
    """
    folding, after = _Folding(), FIRST_KEY
    while True:
        async with database.raw() as connection:
            rows = await connection.fetch(PAGE, *after, at, AT_ONCE)
        # Folding a page takes longer than the event loop may be blocked.
        yield await asyncio.to_thread(folding.take, rows)
        if len(rows) < AT_ONCE:
            break
        after = rows[-1]["job_id"], rows[-1]["seq"]
    yield folding.rest()


class _Folding:
    """Folds pages of events, which may end in the middle of a job's history."""

    def __init__(self) -> None:
        self._job_id: str | None = None
        self._found: Job | BrokenHistory | None = None

    def take(self, rows: Sequence[Record]) -> list[Job | BrokenHistory]:
        """Folds one page, and returns the jobs whose history ended in it."""
        finished: list[Job | BrokenHistory] = []
        for row in rows:
            if row["job_id"] != self._job_id:
                finished += self.rest()
                self._job_id = row["job_id"]
            if row["happened"] and not isinstance(self._found, BrokenHistory):
                self._found = _after(self._found, row)
        return finished

    def rest(self) -> list[Job | BrokenHistory]:
        """Returns the job whose events came last, or no job if it had no event up to the moment."""
        found, self._found = self._found, None
        return [] if found is None else [found]


def _after(job: Job | None, row: Record) -> Job | BrokenHistory:
    try:
        return evolve(job, recorded_from(row))
    except BrokenHistory as broken:
        return broken
