"""One simulated process of the service, with an API, a worker, or both.

It opens the same objects as `service/process/assembly.py`.
"""

import asyncio
import contextlib
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from events import job as rules
from events.database import DATABASE_ERRORS
from events.job import Job, JobError
from events.store import Store
from events.writes import AlreadyActive, Idempotency, KeyTaken
from tests.simulation.loop import WORLD, Process, VirtualLoop
from tests.simulation.postgres import Postgres, SimDatabase
from tests.simulation.wire import Redis, SimBus, SimWire
from workers.delivery.enqueue import enqueue
from workers.delivery.wire import Hint, LocalWire, Wire
from workers.job_type import JobType
from workers.pauses import Pauses
from workers.resources import Resources
from workers.worker import Worker

T = TypeVar("T")


class Gone(Exception):
    """The simulated process died before it answered the request."""


@dataclass(frozen=True)
class Role:
    name: str
    works: bool
    answers: bool
    slots: int


class Node:
    """One simulated process from its start to its end. `ask` sends it a request."""

    def __init__(
        self,
        loop: VirtualLoop,
        process: Process,
        role: Role,
        postgres: Postgres,
        redis: Redis | None,
        job_types: dict[str, JobType[Any]],
    ) -> None:
        self.process = process
        self.role = role
        self.worker: Worker | None = None
        self.ready = False
        self.stopping = asyncio.Event()
        self.grace = 0.0
        self.died: asyncio.Future[None] = loop.create_future()
        self._loop = loop
        self._postgres = postgres
        self._redis = redis
        self._job_types = job_types
        self._life = loop.create_task(self._live(), name=process.name, context=process.context.copy())

    async def ask(self, work: Coroutine[Any, Any, T]) -> T:
        """Runs `work` inside the process and returns its result.

        Raises `Gone` if the process dies before.
        """
        task = self._loop.create_task(work, context=self.process.context.copy())
        waits: set[asyncio.Future[Any]] = {task, self.died}
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        if not task.done() or self.process.dead:
            raise Gone(self.process.name)
        return task.result()

    def kill(self) -> None:
        """Kills the process, like kill -9."""
        if not self.process.dead:
            self._loop.kill(self.process)
            self._postgres.cut(lambda connection: connection.client is self.process, may_be_done_later=True)
            if not self.died.done():
                self.died.set_result(None)

    def stop(self, grace: float) -> None:
        """Asks the process to stop, like SIGTERM. Running jobs may take another `grace` seconds."""
        self.grace = grace
        self.process.asked_to_stop_at = self._loop.time()
        self.stopping.set()

    async def _live(self) -> None:
        try:
            async with contextlib.AsyncExitStack() as stack:
                await self._open(stack)
                self.ready = True
                await self.stopping.wait()
                self.ready = False
        except DATABASE_ERRORS:
            pass  # PostgreSQL was away while the process started or stopped; the world starts another process
        finally:
            self.ready = False
            self._loop.call_soon(self.kill, context=WORLD.context)

    async def _open(self, stack: contextlib.AsyncExitStack) -> None:
        database = SimDatabase(self._postgres)
        await database.connect()
        stack.push_async_callback(database.disconnect)
        bus = SimBus(self._redis) if self._redis is not None else SimBus(Redis(self._loop, self._postgres.random))
        stack.push_async_callback(bus.stop)
        self.store = Store(database, bus)
        await self.store.start()
        stack.push_async_callback(self.store.stop)
        self.wire = cast(Wire, LocalWire() if self._redis is None else SimWire(self._redis))
        await self.wire.start()
        stack.push_async_callback(self.wire.stop)
        self.pauses = Pauses(database)
        if self.role.works:
            resources = Resources(database=database, chatwork=None, summariser=cast(Any, None))
            self.worker = Worker(
                database=database,
                store=self.store,
                bus=bus,
                wire=self.wire,
                resources=resources,
                job_types=self._job_types,
                slots=self.role.slots,
            )
            await self.worker.start()
            stack.push_async_callback(self._stop_worker)

    async def _stop_worker(self) -> None:
        if self.worker is not None:
            await self.worker.stop(grace=self.grace)

    async def create(self, type: str, payload: Any, user: str, request: str, key: str | None) -> str:
        """Queues a job as `service/api/queue_request.py` does. Returns the job's id.

        The job may be a new one, the active one with the same unique key, or the one of the same
        idempotency key.
        """
        idempotency = None if key is None else Idempotency(key, "hash")
        if idempotency is not None and (found := await self.store.job_of_key(user, idempotency.key)) is not None:
            return found[0]
        try:
            job = await enqueue(
                self.store, self.wire, self._job_types[type], payload, user_id=user, actor=f"user:{user}", request_id=request,
                idempotency=idempotency,
            )  # fmt: skip
        except KeyTaken as taken:
            return taken.job_id
        except AlreadyActive as active:
            job_id = active.job_id
        else:
            return job.id
        if idempotency is not None:
            try:
                await self.store.bind_key(user, idempotency, job_id)
            except KeyTaken as taken:
                return taken.job_id
        return job_id

    async def cancel(self, job_id: str, request: str) -> Job:
        return await self._append(job_id, request, lambda job: rules.cancel(job, reason="asked"))

    async def force_fail(self, job_id: str, request: str) -> Job:
        return await self._append(job_id, request, lambda job: rules.force_fail(job, error=JobError("ForceFailed", "asked")))

    async def retry(self, job_id: str, request: str) -> Job:
        job = await self._append(job_id, request, rules.retry)
        self.wire.push([Hint.of(job)])
        return job

    async def _append(self, job_id: str, request: str, decide: Any) -> Job:
        return await self.store.append(job_id, decide, actor="user:admin", request_id=request)
