"""The request budget of a Chatwork token, over all processes and across crashes.

The budget allows `limit` requests in any `window` seconds. One row of PostgreSQL keeps it. A process
takes a block of one or more permits at a time; the row holds the size of each block and its time by
the database's clock. A permit counts from the moment it is taken, used or not, so a crash forgets
nothing.

A permit may be used up to `lapse` seconds after it was taken. So permits that are used within
`window` seconds may have been taken within `window + lapse` seconds. Therefore a permit counts for
`window + lapse + slack` seconds, where `slack` allows for requests that are late on the network.
"""

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from events.concurrency import elapsed
from events.database import Database

WINDOW = 300.0  # seconds (Chatwork's API: 300 requests in 5 minutes for a token)
LAPSE = 5.0  # seconds for which a permit may be used, from the moment it was asked for
SLACK = 1.0  # seconds that a request may be late on the network
LONGEST_SLEEP = 30.0  # seconds until the budget is read again, even if the next permit is later
SHORTEST_SLEEP = 0.01  # the least number of seconds until the budget is read again

# PostgreSQL locks the row before it computes the new value, so `clock_timestamp()` here is later
# than every change that was committed before.
TAKE = """
insert into chatwork_budget as budget (account, taken_at, permits, granted)
values (:account, array[clock_timestamp()], array[cast(:wanted as integer)], cast(:wanted as integer))
on conflict (account) do update set (taken_at, permits, granted) = (
    select
        case when granted.now > 0 then used.taken_at || clock.now else used.taken_at end,
        case when granted.now > 0 then used.permits || granted.now else used.permits end,
        granted.now
    from (select clock_timestamp() as now) as clock
    cross join lateral (
        select coalesce(array_agg(block.taken_at order by n), '{}') as taken_at,
            coalesce(array_agg(block.permits order by n), '{}') as permits,
            coalesce(sum(block.permits), 0) as number
        from unnest(budget.taken_at, budget.permits) with ordinality as block(taken_at, permits, n)
        where block.taken_at > clock.now - cast(:counted as interval)
    ) as used
    cross join lateral (
        select case when budget.blocked_until > clock.now then 0
            else cast(greatest(least(:wanted, :limit - used.number), 0) as integer) end as now
    ) as granted
)
returning granted, clock_timestamp() as now,
    case when blocked_until > clock_timestamp() then blocked_until else taken_at[1] + cast(:counted as interval) end as resumes_at
"""

STATE = """
select coalesce(sum(block.permits), 0) as used, min(block.taken_at) + cast(:counted as interval) as next_free_at,
    max(case when budget.blocked_until > clock_timestamp() then budget.blocked_until end) as blocked_until
from chatwork_budget budget
left join lateral unnest(budget.taken_at, budget.permits) as block(taken_at, permits)
    on block.taken_at > clock_timestamp() - cast(:counted as interval)
where budget.account = :account
"""

BLOCK = """
insert into chatwork_budget as budget (account, taken_at, permits, granted, blocked_until)
values (:account, '{}', '{}', 0, clock_timestamp() + cast(:pause as interval))
on conflict (account) do update set blocked_until = greatest(budget.blocked_until, excluded.blocked_until)
"""


@dataclass(frozen=True, slots=True)
class Permit:
    """Allows one request before `lapses_at`, a time of `elapsed()` in seconds."""

    lapses_at: float

    @property
    def has_lapsed(self) -> bool:
        """Whether it is too late to send the request."""
        return elapsed() >= self.lapses_at


@dataclass(frozen=True, slots=True)
class Budget:
    """The state of a budget: `used` of `limit` requests in any `window` seconds.

    At `next_free_at` the oldest of the used ones counts no longer; None if none counts. Until
    `blocked_until` no request is allowed, because Chatwork asked for a pause.
    """

    limit: int
    window: float
    used: int
    next_free_at: datetime | None
    blocked_until: datetime | None


class RateLimit:
    """Takes permits from the budget of one account, for this process."""

    def __init__(
        self,
        database: Database,
        account: str,
        limit: int,
        *,
        window: float = WINDOW,
        lapse: float = LAPSE,
        slack: float = SLACK,
    ) -> None:
        """`limit` is the most requests of all processes in any `window` seconds.

        `account` names the budget: it is a digest of the token (`account_of`). A permit may be used
        for `lapse` seconds. A request may be late on the network by `slack` seconds.
        """
        self._database = database
        self._account = account
        self.limit = limit
        self.window = window
        self.resumes_at: datetime | None = None
        """The time of the database at which the next request is allowed; None if one is allowed now."""
        self._exhausted = asyncio.Event()
        self._lapse = lapse
        self._counted = timedelta(seconds=window + lapse + slack)
        self._turn = asyncio.Lock()  # first come, first served
        self._waiting = 0
        self._left = 0
        self._lapses_at = 0.0

    async def permit(self) -> Permit:
        """Waits until a request may be sent, and returns a permit for it.

        Do not call it inside a transaction, because the transaction would lock the budget for all
        processes.
        """
        self._waiting += 1
        try:
            async with self._turn:
                while self._left == 0 or elapsed() >= self._lapses_at:
                    await self._take_a_block()
                self._left -= 1
                return Permit(self._lapses_at)
        finally:
            self._waiting -= 1

    async def exhausted(self, told: datetime | None = None) -> datetime:
        """Waits until the budget is used up. Returns the time at which the next request is allowed.

        If that time is `told`, waits until it has changed.
        """
        while self.resumes_at is None or self.resumes_at == told:
            await self._exhausted.wait()
        return self.resumes_at

    async def state(self) -> Budget:
        """Reads the budget, without taking anything from it."""
        row = await self._database.fetch_one(STATE, {"account": self._account, "counted": self._counted})
        assert row is not None
        return Budget(self.limit, self.window, row["used"], row["next_free_at"], row["blocked_until"])

    async def block(self, seconds: float) -> None:
        """Lets no process take a permit for `seconds`, because Chatwork asked for a pause."""
        self._left = 0
        await self._database.execute(BLOCK, {"account": self._account, "pause": timedelta(seconds=seconds)})

    async def _take_a_block(self) -> None:
        # The time is read before the query, so that a permit lapses here before the database stops
        # counting it.
        asked_at = elapsed()
        values: dict[str, Any] = {
            "account": self._account,
            "wanted": self._block_size(),
            "limit": self.limit,
            "counted": self._counted,
        }
        row = await self._database.fetch_one(TAKE, values)
        assert row is not None
        self._left, self._lapses_at = row["granted"], asked_at + self._lapse
        self.resumes_at = row["resumes_at"] if self._left == 0 else None
        if self._left == 0:
            # Everybody who waits now is woken; who waits later gets a new event.
            self._exhausted.set()
            self._exhausted = asyncio.Event()
            wait = (row["resumes_at"] - row["now"]).total_seconds()
            await asyncio.sleep(min(max(wait, SHORTEST_SLEEP), LONGEST_SLEEP))

    def _block_size(self) -> int:
        # One permit is taken for each waiting task, because an unused permit counts, too. If the
        # limit is in the thousands, at least a thousandth of it is taken, so that fewer queries are
        # needed.
        return min(max(self._waiting, self.limit // 1000), self.limit)
