"""Chatwork's budget: no more requests in any window than allowed, over all processes and across crashes.

The budget is one row in PostgreSQL: the blocks of permits taken within the window, with their times by the database's clock. A
permit counts from the moment it is taken, used or not, so a crash forgets nothing. It may be used up to `lapse` seconds later;
two permits used within `window` seconds of each other were therefore taken within `window + lapse`, and that is what is counted
(`slack` more for requests that are late on the network).
"""

import asyncio
import time
from dataclasses import dataclass

from events.database import Database

TAKE = """
insert into chatwork_budget as budget (account, taken_at, permits, granted)
values (:account, array[clock_timestamp()], array[least(:wanted, :limit)], least(:wanted, :limit))
on conflict (account) do update set (taken_at, permits, granted) = (
    select
        case when granted.now > 0 then used.taken_at || clock.now else used.taken_at end,
        case when granted.now > 0 then used.permits || granted.now else used.permits end,
        granted.now
    from (
        select greatest(clock_timestamp(), budget.taken_at[cardinality(budget.taken_at)]) as now
    ) as clock
    cross join lateral (
        select coalesce(array_agg(block.taken_at order by n), '{}') as taken_at,
            coalesce(array_agg(block.permits order by n), '{}') as permits,
            coalesce(sum(block.permits), 0) as permits_taken
        from unnest(budget.taken_at, budget.permits) with ordinality as block(taken_at, permits, n)
        where block.taken_at > clock.now - cast(:counted as interval)
    ) as used
    cross join lateral (
        select case when budget.blocked_until > clock.now then 0
            else cast(least(:wanted, greatest(:limit - used.permits_taken, 0)) as integer) end as now
    ) as granted
)
returning granted, extract(epoch from greatest(
    blocked_until, case when granted = 0 then taken_at[1] + cast(:counted as interval) end
) - clock_timestamp()) as wait
"""

BLOCK = """
insert into chatwork_budget as budget (account, taken_at, permits, granted, blocked_until)
values (:account, '{}', '{}', 0, clock_timestamp() + cast(:pause as interval))
on conflict (account) do update set blocked_until = greatest(budget.blocked_until, excluded.blocked_until)
"""
