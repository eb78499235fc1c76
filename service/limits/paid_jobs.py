"""LIMIT_PAID_JOBS: how many paid jobs one person may queue in a sliding window.

A row of table `paid_jobs` holds the times at which a person has queued paid jobs. A job is counted before it is queued, in one
statement that locks the row, so no number of processes exceeds the limit. A crash between the two leaves a job that is counted
and was never queued. All SQL on `paid_jobs` is here.
"""

import contextlib
from collections.abc import AsyncIterator
from datetime import datetime, timedelta

from events.database import Database, is_away
from service.limit_values import Rate
from service.limits.over_limit import OverLimit

SETTING = "LIMIT_PAID_JOBS"

# PostgreSQL locks the row before it computes the new value, so `clock_timestamp()` is later than every time in the row.
TAKE = """
insert into paid_jobs as paid (user_id, queued_at) values (cast(:person as uuid), array[clock_timestamp()])
on conflict (user_id) do update set queued_at = (
    select array_agg(at order by at) from unnest(paid.queued_at || clock_timestamp()) as at
    where at > clock_timestamp() - cast(:window as interval)
)
where (
    select count(*) from unnest(paid.queued_at) as at where at > clock_timestamp() - cast(:window as interval)
) < :most
returning queued_at[cardinality(queued_at)]
"""

WAIT = """
select extract(
    epoch from queued_at[greatest(1, cardinality(queued_at) - :most + 1)] + cast(:window as interval) - clock_timestamp()
)
from paid_jobs where user_id = :person
"""

GIVE_BACK = "update paid_jobs set queued_at = array_remove(queued_at, :at) where user_id = :person"


class PaidJobs:
    """Counts the paid jobs of each owner."""

    def __init__(self, rate: Rate | None, database: Database) -> None:
        self._rate = rate
        self._database = database

    @contextlib.asynccontextmanager
    async def place(self, owner: str, *, times: int = 1) -> AsyncIterator[None]:
        """Counts one paid job. Queue it inside the block. `times` multiplies the limit.

        Raises `OverLimit`.

        If the block raises, the job is removed from the count, unless the error leaves open whether
        the job was queued.
        """
        if self._rate is None:
            yield
            return
        at = await self._take(owner, self._rate, self._rate.most * times)
        try:
            yield
        except Exception as error:
            if not is_away(error):
                await self._database.execute(GIVE_BACK, {"person": owner, "at": at})
            raise

    async def _take(self, owner: str, rate: Rate, most: int) -> datetime:
        values = {"person": owner, "window": timedelta(seconds=rate.seconds), "most": most}
        at: datetime | None = await self._database.fetch_val(TAKE, values)
        if at is not None:
            return at
        wait = await self._database.fetch_val(WAIT, values)
        raise OverLimit(SETTING, f"one person to queue at most {most} paid jobs in any {rate.unit}", float(wait or 1))
