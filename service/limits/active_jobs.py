"""LIMIT_ACTIVE_JOBS: how many jobs of one person may be queued or processing.

The limit holds over all processes, because each counts the rows of the jobs view. To count them for
every new job would cost as much as the job. So while a person is far from the limit, a process may
queue a number of jobs before it counts again; `request_rate.py` does the same. This number is
called `ahead`. Near the limit a process counts before each job, and queues one job of the person at
a time. So one process never exceeds the limit. Each further process may exceed it by the jobs that
it has ahead, at most a sixteenth of the limit, or by one job that it queues at the same moment.
"""

import asyncio
import contextlib
import time
from collections.abc import Mapping, Sequence

from events.database import Database
from service.limits.over_limit import OverLimit
from service.limits.request_rate import MOST_REMEMBERED, ahead_of
from service.live.batch_loader import BatchLoader

SETTING = "LIMIT_ACTIVE_JOBS"
RETRY_AFTER = 5  # seconds
REMEDY = "Wait until some have ended, or cancel some."

# Jumps from type to type through the index `jobs_of_owner`, because an index of active jobs alone would slow down every start of
# a job. Status is compared with parameters, so that the planner does not pick an index of all active jobs.
COUNT = """
with recursive kinds as (
    select owner.id, (select min(j.type) from jobs j where j.user_id = owner.id) as type
    from unnest(cast(:owners as uuid[])) as owner(id)
    union all
    select k.id, (select min(j.type) from jobs j where j.user_id = k.id and j.type > k.type) from kinds k where k.type is not null
)
select k.id, cast(sum(active.number) as bigint) as number
from kinds k
cross join unnest(cast(:statuses as text[])) as wanted(status)
cross join lateral (
    select count(*) as number
    from (select from jobs j where j.user_id = k.id and j.type = k.type and j.status = wanted.status limit :most) as counted
) as active
group by k.id
"""


class _Owner:
    def __init__(self) -> None:
        self.ahead = 0
        self.lock = asyncio.Lock()
        self.under_way = 0
        """Jobs that were let through, and that are perhaps not in the view yet."""
        self.full_at = 0.0
        """When the last count that found the limit reached began, in monotonic seconds."""
        self._settled = asyncio.Event()

    def begin(self) -> None:
        self.under_way += 1

    def end(self) -> None:
        self.under_way -= 1
        if not self.under_way:
            self._settled.set()

    async def settled(self) -> None:
        """Waits until no job of the owner is being queued."""
        while self.under_way:
            self._settled.clear()
            await self._settled.wait()


class ActiveJobs:
    """Counts the active jobs of each owner."""

    def __init__(self, most: int | None, database: Database) -> None:
        self._most = most
        self._database = database
        self._owners: dict[str, _Owner] = {}
        self._greatest = 0
        self._counted = BatchLoader(self._count)

    def place(self, owner: str, *, times: int = 1) -> contextlib.AbstractAsyncContextManager[None]:
        """Counts one job as queued while the block lasts.

        `times` multiplies the limit. Raises `OverLimit` when the block is entered.
        """
        if self._most is None:
            return contextlib.nullcontext()
        return _Place(self, owner, self._owners.get(owner) or self._new(owner), self._most * times)

    async def ahead(self, owner: str, known: _Owner, most: int) -> int:
        """Counts the owner's active jobs.

        Returns how many more may be queued before the next count.

        If it returns 0, one job may be queued, and only while the caller holds the owner's lock.
        Raises `OverLimit`.
        """
        while True:
            began, under_way = time.monotonic(), known.under_way
            active = await self._number(owner, most)
            # Jobs that this process is queueing at this moment are not in the view yet, so they are subtracted.
            if (ahead := ahead_of(most - active - under_way) - under_way) > 0:
                return ahead
            if not under_way:
                break
            await known.settled()
        if active >= most:
            known.full_at = began
            raise self.over(most)
        return 0

    def over(self, most: int) -> OverLimit:
        return OverLimit(SETTING, f"one person at most {most} jobs that are queued or processing", RETRY_AFTER, REMEDY)

    async def _number(self, owner: str, most: int) -> int:
        self._greatest = max(self._greatest, most)
        return await self._counted.get(owner) or 0

    async def _count(self, owners: Sequence[str]) -> Mapping[str, int]:
        values = {"owners": list(owners), "statuses": ["queued", "processing"], "most": self._greatest}
        return {row["id"]: row["number"] for row in await self._database.fetch_all(COUNT, values)}

    def _new(self, owner: str) -> _Owner:
        if len(self._owners) >= MOST_REMEMBERED:
            self._owners = {owner: known for owner, known in self._owners.items() if known.under_way or known.lock.locked()}
        known = self._owners[owner] = _Owner()
        return known


class _Place:
    """A context for one job.

    It is a class, because a generator would double what the limit costs.
    """

    __slots__ = ("_jobs", "_known", "_most", "_owner")

    def __init__(self, jobs: ActiveJobs, owner: str, known: _Owner, most: int) -> None:
        self._jobs = jobs
        self._owner = owner
        self._known = known
        self._most = most

    async def __aenter__(self) -> None:
        known = self._known
        if known.ahead:
            known.ahead -= 1
            known.begin()
            return
        came = time.monotonic()
        async with known.lock:
            if known.full_at > came:  # another request has counted while this one waited
                raise self._jobs.over(self._most)
            known.ahead = max(known.ahead or await self._jobs.ahead(self._owner, known, self._most), 1) - 1
            known.begin()

    async def __aexit__(self, *exception: object) -> None:
        self._known.end()
