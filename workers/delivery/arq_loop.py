"""arq's worker as our claim loop: arq polls, and its poll takes jobs from our wire."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Never

import arq
import arq.worker
import structlog
from redis.exceptions import ReadOnlyError, ResponseError

from events.redis_faults import cause_of
from workers.delivery.redis_wire import RedisWire
from workers.job_type import JobType

log = structlog.get_logger(__name__)


class ArqLoop(arq.Worker):
    """arq's worker, whose poll is our claim: one Lua call for all free slots instead of five round trips for each job, woken by
    a push instead of a timer. Its health key is kept, so that `arq --check` tells the truth."""

    def __init__(
        self,
        wire: RedisWire,
        job_types: Mapping[str, JobType[Any]],
        take_some: Callable[[], Awaitable[None]],
        stopping: asyncio.Event,
    ) -> None:
        super().__init__(
            functions=[arq.func(_runs_elsewhere, name=name) for name in job_types],
            redis_pool=wire.redis,
            handle_signals=False,
            retry_jobs=False,
            allow_abort_jobs=False,
            keep_result=0,
            max_tries=1_000_000,
            poll_delay=0,
            health_check_interval=30,
        )
        self._take_some = take_some
        self._stopping = stopping

    async def _poll_iteration(self) -> None:
        if self._stopping.is_set():
            raise Stopping
        await self._take_some()
        try:
            await self.record_health()
        except ReadOnlyError:
            raise
        except ResponseError as error:
            # It looks at `arq:queue` too, which is not ours: whatever lies there keeps no job waiting.
            log.warning("arq's health key cannot be written", error=cause_of(error))


class Stopping(Exception):
    pass


async def _runs_elsewhere(ctx: dict[Any, Any], *args: Any, **kwargs: Any) -> Never:
    """arq wants a function for every name. Ours are run by `Runner`, which is handed the job by `_take_some`."""
    raise RuntimeError("this function is never called by arq")
