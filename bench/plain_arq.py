"""Plain arq under the same tasks: as shipped, and at the best settings that we found. It keeps no history."""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator
from typing import Any

import arq
from arq.connections import ArqRedis, RedisSettings, create_pool

AS_SHIPPED: dict[str, Any] = {"max_jobs": 100}
AT_ITS_BEST: dict[str, Any] = {"max_jobs": 500, "poll_delay": 0.05, "queue_read_limit": 20_000}

logging.getLogger("arq").setLevel(logging.WARNING)


class PlainArq:
    def __init__(self, redis: ArqRedis, settings: dict[str, Any]) -> None:
        self._redis = redis
        self._settings = settings
        self.started: dict[str, float] = {}

    async def enqueue(self) -> str:
        job = await self._redis.enqueue_job("nothing")
        assert job is not None
        return job.job_id

    async def enqueue_many(self, jobs: int, callers: int) -> float:
        """Jobs a second."""
        left = iter(range(jobs))

        async def caller() -> None:
            for _ in left:
                await self.enqueue()

        began = time.perf_counter()
        await asyncio.gather(*(caller() for _ in range(callers)))
        return jobs / (time.perf_counter() - began)

    async def drain(self, jobs: int) -> float:
        """Jobs a second, from the start of a worker until the last of these queued jobs is done."""
        began = time.perf_counter()
        await self._worker(burst=True).async_run()
        return jobs / (time.perf_counter() - began)

    @contextlib.asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        running = asyncio.create_task(self._worker(burst=False).async_run())
        yield
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    def _worker(self, *, burst: bool) -> arq.Worker:
        async def nothing(ctx: dict[str, Any], *args: Any, **kwargs: Any) -> dict[str, bool]:
            self.started.setdefault(ctx["job_id"], time.perf_counter())
            return {"ok": True}

        return arq.Worker(
            functions=[arq.func(nothing, name="nothing")], redis_pool=self._redis, handle_signals=False, burst=burst,
            **self._settings,
        )  # fmt: skip


@contextlib.asynccontextmanager
async def plain_arq(redis: str, settings: dict[str, Any]) -> AsyncIterator[PlainArq]:
    pool = await create_pool(RedisSettings.from_dsn(redis))
    try:
        yield PlainArq(pool, settings)
    finally:
        await pool.aclose()
