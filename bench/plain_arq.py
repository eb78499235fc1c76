"""Measures arq: `python -m bench.plain_arq '<json>'` (bench/measure.py).

arq keeps no history.

"As shipped" sets only `max_jobs=100`. The settings "at its best" were found by trying: 500 jobs, a
poll every 0.05 s, a read limit of 20,000. arq's log is off in both cases.
"""

import asyncio
import contextlib
import importlib.metadata
import logging
from collections.abc import AsyncIterator
from typing import Any

import arq
import uvloop
from arq.connections import ArqRedis, RedisSettings, create_pool
from arq.jobs import Job

from bench.measure import Clock, Contestant, Parameters, run

logging.getLogger("arq").setLevel(logging.WARNING)


class PlainArq(Contestant):
    can_cancel = True

    def __init__(self, parameters: Parameters, clock: Clock, redis: ArqRedis, elsewhere: ArqRedis) -> None:
        super().__init__(parameters, clock)
        self._redis, self._elsewhere = redis, elsewhere

    async def enqueue(self, number: int) -> None:
        await self._redis.enqueue_job("nothing", number)

    async def enqueue_endless(self, number: int) -> None:
        await self._redis.enqueue_job("endless", number, _job_id=f"endless-{number}")

    async def cancel(self, number: int) -> None:
        await Job(f"endless-{number}", self._elsewhere).abort(timeout=30)

    @contextlib.asynccontextmanager
    async def working(self, **more: Any) -> AsyncIterator[None]:
        worker = arq.Worker(
            functions=[arq.func(self._do_nothing, name="nothing"), arq.func(self._wait_for_ever, name="endless")],
            redis_pool=self._redis, handle_signals=False, after_job_end=self._count, **(self.parameters.settings | more),
        )  # fmt: skip
        running = asyncio.create_task(worker.async_run())
        try:
            yield
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    def working_cancelably(self) -> contextlib.AbstractAsyncContextManager[None]:
        return self.working(allow_abort_jobs=True)

    async def _do_nothing(self, ctx: dict[str, Any], number: int) -> dict[str, bool]:
        self.clock.start(number)
        return {"ok": True}

    async def _wait_for_ever(self, ctx: dict[str, Any], number: int) -> None:
        self.clock.start(number)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.clock.cancel(number)
            raise

    async def _count(self, ctx: dict[str, Any]) -> None:
        self.clock.finish()


@contextlib.asynccontextmanager
async def plain_arq(parameters: Parameters, clock: Clock) -> AsyncIterator[PlainArq]:
    settings = RedisSettings.from_dsn(parameters.redis_url)
    redis, elsewhere = await create_pool(settings), await create_pool(settings)
    try:
        yield PlainArq(parameters, clock, redis, elsewhere)
    finally:
        await redis.aclose()
        await elsewhere.aclose()


def versions() -> dict[str, str]:
    return {name: importlib.metadata.version(name) for name in ("arq", "redis", "hiredis", "uvloop")}


if __name__ == "__main__":
    run(plain_arq, versions, uvloop.run)
