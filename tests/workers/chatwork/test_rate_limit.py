"""The request budget allows no more requests than the limit in any `window` seconds.

This holds over several connections and processes, and when a process is killed.
"""

import asyncio
import itertools
import os
import signal
import sys
import time
from datetime import timedelta

import pytest

from events.database import Database
from tests.job_types import until
from workers.chatwork.rate_limit import RateLimit

WINDOW, LAPSE, SLACK = 1.5, 0.5, 0.1

PROCESS = """
import asyncio, sys, time
from events.database import Database
from workers.chatwork.rate_limit import RateLimit

async def main(url, limit, window, lapse, slack):
    database = Database(url)
    await database.connect()
    rate_limit = RateLimit(database, "shared", int(limit), window=float(window), lapse=float(lapse), slack=float(slack))

    async def use():
        while True:
            await rate_limit.permit()
            print(time.monotonic(), flush=True)

    await asyncio.gather(*(use() for _ in range(4)))

asyncio.run(main(*sys.argv[1:]))
"""


def limit_of(database: Database, limit: int, *, account: str = "shared") -> RateLimit:
    return RateLimit(database, account, limit, window=WINDOW, lapse=LAPSE, slack=SLACK)


def most_in_any_window(times: list[float], window: float) -> int:
    times = sorted(times)
    return max(sum(1 for other in times if start <= other < start + window) for start in times)


async def test_many_requests_at_once_never_exceed_the_limit_in_any_window(database: Database) -> None:
    used: list[float] = []
    limits = [limit_of(database, 7) for _ in range(3)]

    async def use(rate_limit: RateLimit) -> None:
        await rate_limit.permit()
        used.append(time.monotonic())

    await asyncio.gather(*(use(rate_limit) for rate_limit in limits for _ in range(10)))

    assert len(used) == 30
    assert most_in_any_window(used, WINDOW) <= 7


async def test_permits_that_are_used_at_the_last_moment_do_not_exceed_the_limit(database: Database) -> None:
    late, prompt = limit_of(database, 4), limit_of(database, 4)
    permits = await asyncio.gather(*(late.permit() for _ in range(4)))

    # The permits are used as late as possible: a little later they would have lapsed.
    used = [permit.lapses_at for permit in permits]

    for _ in range(4):
        await prompt.permit()
        used.append(time.monotonic())

    assert most_in_any_window(used, WINDOW) <= 4


async def test_the_whole_limit_can_be_used(database: Database) -> None:
    rate_limit = limit_of(database, 20)
    begun = time.monotonic()

    await asyncio.gather(*(rate_limit.permit() for _ in range(20)))
    first = time.monotonic() - begun
    await rate_limit.permit()
    second = time.monotonic() - begun

    assert first < WINDOW < second


async def test_processes_share_one_budget_and_a_killed_process_loses_no_permits(database_url: str) -> None:
    arguments = [database_url, "12", str(WINDOW), str(LAPSE), str(SLACK)]
    used: list[float] = []

    async def process(wanted: int) -> None:
        running = await asyncio.create_subprocess_exec(
            sys.executable, "-c", PROCESS, *arguments, stdout=asyncio.subprocess.PIPE, start_new_session=True
        )
        assert running.stdout is not None
        for _ in range(wanted):
            used.append(float(await running.stdout.readline()))
        os.kill(running.pid, signal.SIGKILL)
        used.extend(float(line) for line in (await running.stdout.read()).split())
        await running.wait()

    await asyncio.gather(process(5), process(9), process(20))
    await process(14)

    assert len(used) >= 48
    assert most_in_any_window(used, WINDOW) <= 12


async def test_a_permit_that_lapsed_unused_still_counts(database: Database) -> None:
    first, second = limit_of(database, 4), limit_of(database, 4)
    waiting = [asyncio.create_task(first.permit()) for _ in range(4)]
    begun = time.monotonic()
    done = await asyncio.gather(*waiting)

    await second.permit()

    assert time.monotonic() - begun >= WINDOW
    assert all(permit.has_lapsed for permit in done)


async def test_waiting_requests_get_permits_in_their_order(database: Database) -> None:
    rate_limit = limit_of(database, 2)
    served: list[int] = []

    async def use(number: int) -> None:
        await rate_limit.permit()
        served.append(number)

    await asyncio.gather(*(use(number) for number in range(6)))

    assert served == list(range(6))


async def test_a_waiting_request_that_is_canceled_delays_no_other(database: Database) -> None:
    rate_limit = limit_of(database, 1)
    await rate_limit.permit()
    waiting = [asyncio.create_task(rate_limit.permit()) for _ in range(3)]

    async def is_refused() -> bool:
        return bool(await database.fetch_val("select bool_and(granted = 0) from chatwork_budget"))

    await until(is_refused)
    waiting[0].cancel()
    waiting[1].cancel()

    assert not (await waiting[2]).has_lapsed


async def test_a_block_until_chatworks_reset_holds_for_every_process_and_is_never_shortened(database: Database) -> None:
    first, second = limit_of(database, 1000), limit_of(database, 1000)
    await asyncio.gather(first.permit(), second.permit())
    begun = time.monotonic()

    await first.block(0.4)
    await second.block(0.01)
    await asyncio.gather(first.permit(), second.permit())

    assert 0.4 <= time.monotonic() - begun < 2


async def test_accounts_do_not_share_a_budget(database: Database) -> None:
    begun = time.monotonic()

    await limit_of(database, 1, account="one").permit()
    await limit_of(database, 1, account="other").permit()

    assert time.monotonic() - begun < WINDOW


async def test_the_limit_holds_although_the_clock_was_set_back(database: Database) -> None:
    await limit_of(database, 1).permit()
    await database.execute(
        "update chatwork_budget set taken_at = array[clock_timestamp() + cast(:ahead as interval)]",
        {"ahead": timedelta(seconds=0.5)},
    )
    begun = time.monotonic()

    await limit_of(database, 1).permit()

    assert time.monotonic() - begun >= 0.5 + WINDOW


async def test_a_high_limit_needs_few_queries(database: Database) -> None:
    rate_limit = RateLimit(database, "shared", 1_000_000)
    begun = time.process_time()

    for _ in range(3000):
        await rate_limit.permit()

    blocks = await database.fetch_val("select cardinality(taken_at) from chatwork_budget")
    assert blocks <= 3
    assert time.process_time() - begun < 1


async def test_permits_that_have_left_the_window_are_removed_from_the_row(database: Database) -> None:
    rate_limit = limit_of(database, 3)

    for _ in range(7):
        await rate_limit.permit()

    assert await database.fetch_val("select sum(p) from chatwork_budget, unnest(permits) as p") <= 3


@pytest.mark.parametrize("waiting", [1, 5])
async def test_no_more_permits_are_taken_than_requests_wait(database: Database, waiting: int) -> None:
    rate_limit = RateLimit(database, "shared", 300)

    await asyncio.gather(*(rate_limit.permit() for _ in range(waiting)))

    blocks = await database.fetch_val("select permits from chatwork_budget")
    assert list(itertools.accumulate(blocks))[-1] == waiting
