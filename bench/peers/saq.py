"""Measures saq on Redis: `python -m bench.peers.saq '<json>'` (bench/measure.py).

As documented: `Queue.from_url`, and a worker with `concurrency` (from saq's README). At its best: the
queue may do more operations at the same time (`max_concurrent_ops` limits enqueues and claims, 20 by
default), and the worker checks for aborts every 0.05 s instead of every second (`timers`). Both cases
use hiredis and uvloop. saq has no call that enqueues many jobs without waiting for their results.
"""

import asyncio
import contextlib
import importlib.metadata
import logging
from collections.abc import AsyncIterator
from typing import Any

import uvloop
from saq import Queue, Worker

from bench.measure import Clock, Contestant, Parameters, run

logging.getLogger("saq").setLevel(logging.CRITICAL)


class Saq(Contestant):
    can_cancel = True

    def __init__(self, parameters: Parameters, clock: Clock, queue: Queue, elsewhere: Queue) -> None:
        super().__init__(parameters, clock)
        self._queue, self._elsewhere = queue, elsewhere

    async def enqueue(self, number: int) -> None:
        await self._queue.enqueue("nothing", number=number)

    async def enqueue_endless(self, number: int) -> None:
        await self._queue.enqueue("endless", number=number, key=f"endless-{number}", timeout=0)

    async def cancel(self, number: int) -> None:
        job = await self._elsewhere.job(f"endless-{number}")
        await self._elsewhere.abort(job, "bench")

    @contextlib.asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        worker = Worker(
            self._queue,
            functions=[("nothing", self._do_nothing), ("endless", self._wait_for_ever)],
            after_process=self._count,
            **self.parameters.settings["worker"],
        )
        worker.SIGNALS = []
        running = asyncio.create_task(worker.start())
        try:
            yield
        finally:
            await worker.stop()
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    async def _do_nothing(self, ctx: dict[str, Any], *, number: int) -> dict[str, bool]:
        self.clock.start(number)
        return {"ok": True}

    async def _wait_for_ever(self, ctx: dict[str, Any], *, number: int) -> None:
        self.clock.start(number)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.clock.cancel(number)
            raise

    async def _count(self, ctx: dict[str, Any]) -> None:
        self.clock.finish()


@contextlib.asynccontextmanager
async def saq(parameters: Parameters, clock: Clock) -> AsyncIterator[Saq]:
    options = parameters.settings.get("queue", {})
    queue, elsewhere = (Queue.from_url(parameters.redis_url, **options) for _ in range(2))
    await queue.connect()
    await elsewhere.connect()
    try:
        yield Saq(parameters, clock, queue, elsewhere)
    finally:
        await queue.disconnect()
        await elsewhere.disconnect()


def versions() -> dict[str, str]:
    return {name: importlib.metadata.version(name) for name in ("saq", "redis", "hiredis", "uvloop")}


if __name__ == "__main__":
    run(saq, versions, uvloop.run)
