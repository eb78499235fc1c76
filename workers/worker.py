"""The worker, assembled: what takes jobs from the wire, runs them, beats, rescues and delivers, in one process.

Over Redis the loop that takes jobs is arq's. What arq would do with a job beyond that (its retries, results, aborts, timeouts,
hooks) is switched off: attempts and their ends are ours, in the log.
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

TAKEN_WITHIN = 2.0  # seconds that a worker which stops waits for what it was about to take
GATHER = 0.001  # seconds that a busy worker waits for more slots to become free


class Worker:
    """Runs jobs until it is stopped. `slots` jobs at a time."""

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
        self._turns = list(job_types)  # whose turn it is to be asked first
        self.runner = Runner(
            store=store, bus=bus, resources=resources, job_types=job_types, worker_id=new_worker_id(), slots=slots,
            handed_back=lambda job: wire.push([Hint.of(job)]),
        )  # fmt: skip
        self._heart = Heartbeat(database=database, store=store, view=self._view, runner=self.runner, job_types=job_types)
        self._delivery = Delivery(database, self._view, wire, self._present_types)
        self._stopping = asyncio.Event()
        self._taking: asyncio.Task[None] | None = None
        self._failed = LogLimit()
        self._more = False  # whether there is more to do than slots
        self._background: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        await self._heart.start()
        self._background = [lasting(self._heart.run(), "heartbeat"), lasting(self._delivery.run(), "delivery")]
        self._taking = lasting(self._take_jobs(), "taking jobs")
        log.info("worker started", worker=self.runner.worker_id, job_types=list(self._job_types), slots=self.runner.slots.size)

    async def stop(self, *, grace: float) -> None:
        """Takes no more, waits up to `grace` seconds for what runs, hands the rest back, says goodbye. The heart beats on
        until then."""
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
        """All that lasts until the worker is stopped."""
        return [*self._background, *filter(None, [self._taking])]

    async def _take_jobs(self) -> None:
        """Until stopping. A Redis that is away ends nothing: what runs goes on, and taking is tried again."""
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
                    log_trouble(log, "cannot take jobs, trying again", error)
                elif (times := self._failed.count()) is not None:
                    log.warning("cannot take jobs, trying again", error=cause_of(error), times=times)
                await _either(self._stopping.wait(), asyncio.sleep(0.5))

    async def _take_some(self) -> None:
        """Fills the free slots; where there is less to do than slots, waits for more."""
        freed = self.runner.slots.freed
        freed.clear()
        if not self.runner.free:
            await _either(self._stopping.wait(), freed.wait())
        if self._more and self.runner.free < self.runner.slots.size // 4:
            # Jobs that were started together end together, and a claim costs the same for one as for a hundred.
            await asyncio.sleep(GATHER)
        if self._stopping.is_set() or not self.runner.free:
            return
        running = self.runner.slots.running_types
        room = Capacity(
            self.runner.free, self.runner.slots.size // 4, self._turns, [type for type in self._turns if type not in running]
        )
        taken = await self._take(room)
        self._more = taken >= room.slots - min(room.kept, len(room.idle))
        if not self._more:
            await _either(self._stopping.wait(), self._wire.wait())
        elif taken < room.slots:
            # What is left may be kept for other types: then a slot that becomes free is one to take.
            await _either(self._stopping.wait(), self._wire.wait(), freed.wait())

    async def _take(self, room: Capacity) -> int:
        claims = await self._wire.claim(room)
        for claim in claims:
            # Settled also where it is refused: it was started already, ended, moved on; or is paused, and comes again after that.
            self.runner.run(claim, started=partial(self._wire.settle, claim))
        served = {claim.type for claim in claims}
        self._turns.sort(key=served.__contains__)
        return len(claims)

    async def _present_types(self) -> Collection[str]:
        """The wire inside a process reaches this process only."""
        return await self._heart.present_types() if isinstance(self._wire, RedisWire) else self._job_types


async def _either(*waits: Coroutine[Any, Any, Any]) -> None:
    """Waits for the first, and cancels the others."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
