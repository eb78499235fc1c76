"""Queues and drains jobs that do nothing, which shows the cost of a job itself.

`python -m bench.nothing` runs a worker for these jobs only. The worker starts when the process gets a
line on standard input.
"""

import asyncio
import logging
import signal
import sys
import time

import structlog
import uvloop

from events.bus import Change
from service.config import load_settings
from service.process.assembly import Core, opened
from workers.delivery.enqueue import enqueue
from workers.job_type import Context, JobType, Payload
from workers.worker import Worker


class Empty(Payload):
    pass


async def _do_nothing(context: Context, payload: Empty) -> dict[str, bool]:
    return {"ok": True}


NOTHING = JobType("nothing", Empty, _do_nothing, deadline=60)


def worker_of_nothing(core: Core, *, slots: int = 100) -> Worker:
    return Worker(
        database=core.database, store=core.store, bus=core.bus, wire=core.wire, resources=core.resources,
        job_types={NOTHING.name: NOTHING}, slots=slots,
    )  # fmt: skip


async def queued_per_second(core: Core, jobs: int, *, callers: int = 50) -> float:
    left = iter(range(jobs))

    async def caller() -> None:
        for _ in left:
            await enqueue(core.store, core.wire, NOTHING, {}, user_id=None, actor="system:bench")

    began = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(callers)))
    return jobs / (time.perf_counter() - began)


async def drained_per_second(core: Core, jobs: int) -> float:
    """Drains `jobs` queued jobs with a worker in this process. Returns the jobs in a second.

    The time begins when the worker starts.
    """
    left, done = jobs, asyncio.Event()

    def hear(change: Change) -> None:
        nonlocal left
        left -= change.status == "completed" and change.type == NOTHING.name
        if not left:
            done.set()

    stop_listening = core.bus.listen(hear)
    worker = worker_of_nothing(core)
    began = time.perf_counter()
    await worker.start()
    await done.wait()
    seconds = time.perf_counter() - began
    await worker.stop(grace=5)
    stop_listening()
    return jobs / seconds


async def _work_until_asked_to_stop() -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    settings, stop = load_settings(), asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    assert settings.database_url is not None
    # A worker of the product gives no positions to events. This worker does, so that the cost of positions is included.
    async with opened(settings, settings.database_url, seals=True) as core:
        worker = worker_of_nothing(core)
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        await worker.start()
        await stop.wait()
        await worker.stop(grace=5)


if __name__ == "__main__":
    uvloop.run(_work_until_asked_to_stop())
