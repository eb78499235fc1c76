"""arq's worker, changed so that it claims jobs from our wire."""

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
    """arq's worker with another way to poll.

    One Lua call claims jobs for all free slots, and a push wakes the loop instead of a timer. arq's
    own poll would need five round trips for each job. arq's health key is still written, because
    `arq --check` reads it.
    """

    def __init__(
        self,
        wire: RedisWire,
        job_types: Mapping[str, JobType[Any]],
        take_some: Callable[[], Awaitable[None]],
        stopping: asyncio.Event,
    ) -> None:
        """`take_some` claims and starts jobs, then waits until there may be more to claim.

        The loop ends when `stopping` is set.
        """
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
            # arq also reads `arq:queue`, which belongs to other programs. A strange value there
            # must not stop our jobs.
            log.warning("arq's health key cannot be written", error=cause_of(error))


class Stopping(Exception):
    """Ends arq's loop, because the worker is stopping."""


async def _runs_elsewhere(ctx: dict[Any, Any], *args: Any, **kwargs: Any) -> Never:
    """Never runs. arq demands a function for every job type, but `Runner` runs our jobs."""
    raise RuntimeError("arq called a function that only `Runner` may run")
