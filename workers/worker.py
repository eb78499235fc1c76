"""One worker process: it claims and runs jobs, delivers due jobs, and rescues lost jobs.

Over Redis, arq's loop claims the jobs. arq's retries, results, aborts, timeouts and hooks are
switched off, because attempts and their ends are events in the log.
"""

import asyncio
import contextlib
from collections.abc import Collection, Coroutine, Mapping
from functools import partial
from typing import Any

import structlog
from redis.exceptions import RedisError

from events.bus import Bus
from events.concurrency import end, lasting
from events.database import DATABASE_ERRORS, Database
from events.database_faults import log_trouble
from events.rate_limited_log import LogLimit
from events.redis_faults import cause_of
from events.store import Store
from projections.jobs import JobsView
from workers.attempt.runner import Runner
from workers.delivery.arq_loop import ArqLoop, Stopping
from workers.delivery.redis_wire import RedisWire
from workers.delivery.tick import Delivery
from workers.delivery.wire import Capacity, Hint, Wire
from workers.job_type import JobType
from workers.liveness.heartbeat import Heartbeat, new_worker_id
from workers.resources import Resources

log = structlog.get_logger(__name__)

TAKEN_WITHIN = 2.0  # seconds that a stopping worker waits for a claim that is under way
GATHER = 0.001  # seconds that a busy worker waits before a claim, so that more slots become free


class Worker:
    """Runs jobs of the given types, at most `slots` at a time, until it is stopped."""

    def __init__(
        self,
        *,
        database: Database,
        store: Store,
        bus: Bus,
        wire: Wire,
        resources: Resources,
        job_types: Mapping[str, JobType[Any]],
        slots: int = 100,
    ) -> None:
        self._database = database
        self._wire = wire
        self._view = JobsView(database)
        self._job_types = job_types
        self._turns = list(job_types)  # the type that was served longest ago comes first
        self.runner = Runner(
            store=store, bus=bus, resources=resources, job_types=job_types, worker_id=new_worker_id(), slots=slots,
            handed_back=lambda job: wire.push([Hint.of(job)]),
        )  # fmt: skip
        self._heart = Heartbeat(database=database, store=store, view=self._view, runner=self.runner, job_types=job_types)
        self._delivery = Delivery(database, self._view, wire, self._present_types)
        self._stopping = asyncio.Event()
        self._taking: asyncio.Task[None] | None = None
        self._failed = LogLimit()
        self._more = False  # whether more jobs wait than this worker can take
        self._background: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Registers this worker and starts its tasks.

        Raises the errors of the database (`DATABASE_ERRORS`).
        """
        await self._heart.start()
        self._background = [lasting(self._heart.run(), "heartbeat"), lasting(self._delivery.run(), "delivery")]
        self._taking = lasting(self._take_jobs(), "taking jobs")
        log.info("worker started", worker=self.runner.worker_id, job_types=list(self._job_types), slots=self.runner.slots.size)

    async def stop(self, *, grace: float) -> None:
        """Stops claiming, waits up to `grace` seconds for running jobs, and hands the rest back.

        The worker sends heartbeats until its last job is handed back. Then it is marked gone.
        """
        self._stopping.set()
        if self._taking is not None:
            await asyncio.wait({self._taking}, timeout=TAKEN_WITHIN)
            await end(self._taking)
        await self.runner.stop(grace=grace)
        await end(*self._background)
        with contextlib.suppress(*DATABASE_ERRORS):
            await self._heart.stop()
        log.info("worker stopped", worker=self.runner.worker_id)

    @property
    def parts(self) -> list[asyncio.Task[None]]:
        """The tasks that run until the worker is stopped."""
        return [*self._background, *filter(None, [self._taking])]

    async def _take_jobs(self) -> None:
        """Claims and runs jobs until the worker stops.

        While Redis or PostgreSQL is away, it tries again twice a second.
        """
        while not self._stopping.is_set():
            try:
                if isinstance(self._wire, RedisWire):
                    await ArqLoop(self._wire, self._job_types, self._take_some, self._stopping).main()
                else:
                    await self._take_some()
            except Stopping:
                return
            except (RedisError, *DATABASE_ERRORS) as error:
                if not isinstance(error, RedisError):
                    log_trouble(log, "cannot claim jobs; trying again", error)
                elif (times := self._failed.count()) is not None:
                    log.warning("cannot claim jobs; trying again", error=cause_of(error), times=times)
                await _either(self._stopping.wait(), asyncio.sleep(0.5))

    async def _take_some(self) -> None:
        """Claims jobs for the free slots, then waits until there may be more to claim.

        There may be more after a push, or when a slot becomes free.
        """
        freed = self.runner.slots.freed
        freed.clear()
        if not self.runner.free:
            await _either(self._stopping.wait(), freed.wait())
        if self._more and self.runner.free < self.runner.slots.size // 4:
            # Wait for more free slots, because jobs that started together end together, and one
            # claim can fill all their slots.
            await asyncio.sleep(GATHER)
        if self._stopping.is_set() or not self.runner.free:
            return
        running = self.runner.slots.running_types
        idle = [job_type for job_type in self._turns if job_type not in running]
        capacity = Capacity(self.runner.free, self.runner.slots.size // 4, self._turns, idle)
        taken = await self._take(capacity)
        self._more = taken >= capacity.slots - min(capacity.kept, len(capacity.idle))
        if not self._more:
            await _either(self._stopping.wait(), self._wire.wait())
        elif taken < capacity.slots:
            # The remaining slots are kept for types of which no job runs. Jobs of the other types
            # can use the next slot that becomes free, so `freed` also ends this wait.
            await _either(self._stopping.wait(), self._wire.wait(), freed.wait())

    async def _take(self, capacity: Capacity) -> int:
        """Claims jobs and starts them. Returns the number of claimed jobs."""
        claims = await self._wire.claim(capacity)
        for claim in claims:
            # Settle the claim also when the log refuses the start: the attempt was started or ended
            # before, or its type is paused and the tick sends its hint after the pause.
            self.runner.run(claim, started=partial(self._wire.settle, claim))
        served = {claim.type for claim in claims}
        self._turns.sort(key=served.__contains__)
        return len(claims)

    async def _present_types(self) -> Collection[str]:
        """Returns the job types that some worker can claim. `LocalWire` reaches only this worker."""
        return await self._heart.present_types() if isinstance(self._wire, RedisWire) else self._job_types


async def _either(*waits: Coroutine[Any, Any, Any]) -> None:
    """Waits until one of `waits` has ended, then cancels the others.

    Raises the error of the one that ended.
    """
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
