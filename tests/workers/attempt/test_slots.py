"""One attempt, from start to end, whatever its handler does: the job ends in the right state, and the worker lives on."""

import asyncio
from collections import defaultdict
from typing import Any

from events.bus import Bus
from events.database import Database
from events.job import JSON, Status
from events.store import Store
from tests.job_types import (
    ended,
    job_type,
    lives_on,
    queue,
    row_locked,
    until,
    until_waiting_for_locks,
    working,
)
from workers.delivery.wire import LocalWire
from workers.job_type import Context


async def test_while_the_end_of_one_is_being_written_the_next_runs_and_no_third(
    database: Database, store: Store, bus: Bus, wire: LocalWire
) -> None:
    entered: list[str] = []
    finish: dict[str, asyncio.Event] = defaultdict(asyncio.Event)

    async def wait(context: Context, payload: Any) -> JSON:
        entered.append(context.job_id)
        await finish[context.job_id].wait()
        return None

    async with working(database, store, bus, wire, [job_type("waits", wait)], slots=1) as worker:
        first, second, third = [await queue(store, wire, job_type("waits", wait)) for _ in range(3)]
        await until(lambda: entered == [first.id])
        async with row_locked(database, first):
            finish[first.id].set()
            await until(lambda: entered == [first.id, second.id])

            async with row_locked(database, second):
                finish[second.id].set()
                await until_waiting_for_locks(database, 2)
                assert worker.runner.free == 0
                assert worker.runner.in_hand.keys() == {first.id, second.id}
        await until(lambda: entered == [first.id, second.id, third.id])
        finish[third.id].set()
        for job in (first, second, third):
            assert (await ended(database, job)).status is Status.COMPLETED
        await lives_on(worker, store, database)
