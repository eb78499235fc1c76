"""Liveness: heartbeats, and jobs whose worker is gone.

A worker is gone when it has been silent for a lease, by the database's clock. That is said once and for ever (`gone_at`),
before any of its jobs is touched; a worker that comes back finds it said, stops its tasks and registers under a new id. Silence
counts only while the database could be written: a rescuer waits a full lease after its own heartbeats have become regular, and
after the start of PostgreSQL, or a restart of the database would rescue the whole fleet. Its own silence it measures by the
database's clock too, since the clocks of a machine that sleeps stand still.
"""

import asyncio
import os
import secrets
import socket
import time
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

import orjson
import structlog

from events import job as rules
from events.concurrency import elapsed
from events.database import DATABASE_ERRORS, Database
from events.database_faults import log_trouble
from events.history import job_from
from events.job import Job, JobError, NotAllowed
from events.statements import JOB_COLUMNS
from events.store import Store
from projections.jobs import JobsView
from workers.attempt.attempt import Interruption
from workers.attempt.runner import Runner
from workers.job_type import JobType
from workers.liveness.worker_table import BEAT, DECLARE_GONE, LEAVE, REGISTER, present_types

log = structlog.get_logger(__name__)

HEARTBEAT = 3.0  # seconds
BEAT_TIMEOUT = 3.0  # seconds; an answer that takes longer never comes, and the next beat has another connection
LEASE = 10.0  # seconds
MOST_AT_ONCE = 500

LEFT_BEHIND = f"""
select {JOB_COLUMNS} from jobs j
where status = 'processing' and type = any(cast(:types as text[]))
and not exists (select from workers w where w.id = j.worker and w.gone_at is null)
limit {MOST_AT_ONCE}
"""


class Heartbeat:
    """The heartbeat of the worker in this process, and beside it the rescue of others. It beats in the loop that does the work:
    a blocked event loop is a dead worker. A rescue waits for the log as long as the log lets it wait, and no beat waits for a
    rescue: a connection that hangs must not make a living worker look dead."""

    def __init__(
        self,
        *,
        database: Database,
        store: Store,
        view: JobsView,
        runner: Runner,
        job_types: Mapping[str, JobType[Any]],
    ) -> None:
        # Connections of its own: handlers that use up the pool must not stop the heart. One each for the beat, for the rescue and
        # for delivery's question who is there: two that hang must not keep the third from beating.
        self._database = Database(database.url, pool_size=3)
        self._store = store
        self._view = JobsView(self._database)
        self._runner = runner
        self._job_types = job_types
        self._last_beat: float | None = None
        self._last_seen: datetime | None = None
        self._regular_since = time.monotonic()
        self._beaten = asyncio.Event()
        self._unknown: set[str] = set()
        self._abandoned: dict[str, Job] = {}

    async def start(self) -> None:
        await self._database.connect()
        await self._register(self._runner.worker_id)

    async def stop(self) -> None:
        """Says goodbye, after everything was handed back. Raises what the database raises."""
        try:
            async with asyncio.timeout(BEAT_TIMEOUT):
                await self._database.execute(LEAVE, {"id": self._runner.worker_id})
        finally:
            await self._database.disconnect()

    async def run(self) -> None:
        """Beats and rescues until cancelled."""
        async with asyncio.TaskGroup() as both:
            both.create_task(self._beat_on())
            both.create_task(self._rescue_on())

    async def _beat_on(self) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT)
            try:
                async with asyncio.timeout(BEAT_TIMEOUT):
                    await self.beat()
                self._beaten.set()
            except DATABASE_ERRORS as error:
                log_trouble(log, "heartbeat missed", error, worker=self._runner.worker_id)
                self._last_beat = None

    async def _rescue_on(self) -> None:
        while True:
            # After each good beat: only then is it known whether the silence of others counts.
            await self._beaten.wait()
            self._beaten.clear()
            try:
                await self.rescue()
            except DATABASE_ERRORS as error:
                log_trouble(log, "rescue put off", error, worker=self._runner.worker_id)

    async def beat(self) -> None:
        asked_at = elapsed()
        beat = await self._database.fetch_one(BEAT, {"id": self._runner.worker_id, "stuck": stuck_json(self._runner)})
        if beat is None:
            log.error("this worker was declared gone: it stops what it runs", worker=self._runner.worker_id)
            self._last_beat = None
            self._runner.lose()
            fresh = new_worker_id()
            await self._register(fresh)
            self._runner.go_on(fresh)
            return
        now = time.monotonic()  # after the answer: a beat that had to wait for it is a late one
        if self._last_beat is None or max(now - self._last_beat, beat["silent_for"]) > 2 * HEARTBEAT:
            self._regular_since = now
        self._last_beat, self._last_seen = now, beat["last_seen"]
        self._runner.lease(until=asked_at + LEASE)
        await self._reconcile()

    async def rescue(self) -> None:
        """Declares silent workers gone, and gives what they ran to others. Two rescuers at once do no harm."""
        if self._beats_regularly():
            values = {"me": self._runner.worker_id, "seen": self._last_seen, "lease": LEASE, "beat": 2 * HEARTBEAT}
            for row in await self._database.fetch_all(DECLARE_GONE, values):
                log.warning("worker declared gone", worker=row["id"])
        # Whether those of other types may be retried, a worker knows that knows them; here they would only take the room.
        for row in await self._database.fetch_all(LEFT_BEHIND, {"types": list(self._job_types)}):
            await rescue_job(self._store, self._job_types, job_from(row))
        for id, job in tuple(self._abandoned.items()):
            if id not in self._runner.in_hand:
                await rescue_job(self._store, self._job_types, job)

    def _beats_regularly(self) -> bool:
        """Whether the silence of others may be their own: not when the database was away, for them as for this process."""
        return self._last_beat is not None and time.monotonic() - self._regular_since > LEASE

    async def present_types(self) -> Collection[str]:
        """The job types that some living worker knows."""
        return await present_types(self._database, lease=LEASE)

    async def _register(self, worker_id: str) -> None:
        values = {
            "id": worker_id,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "job_types": list(self._job_types),
            "slots": self._runner.slots.size,
        }
        asked_at = elapsed()
        await self._database.execute(REGISTER, values)
        self._runner.lease(until=asked_at + LEASE)

    async def _reconcile(self) -> None:
        """Compares what the log says this worker runs with what it has in hand. A cancel that was missed stops here; a job
        that is not in hand for two beats was started by a write whose answer never came, and is rescued."""
        # What is started while the list is being read is on neither side of the comparison.
        started = dict(self._runner.attempts)
        listed = {job.id: job for job in await self._view.held_by(self._runner.worker_id)}
        for id, attempt in started.items():
            if id not in listed or listed[id].attempt != attempt.number:
                attempt.interrupt(Interruption.OVER)
        unknown = listed.keys() - self._runner.in_hand.keys()
        self._abandoned = {id: listed[id] for id in unknown & self._unknown}
        self._unknown = unknown


async def rescue_job(store: Store, job_types: Mapping[str, JobType[Any]], job: Job) -> None:
    """The job's worker is gone: it is retried, or has failed, as its type says."""
    job_type = job_types[job.type]
    retry_in = job_type.backoff.after(job.attempt) if job_type.retry_when_worker_lost else None
    worker, attempt = job.worker or "", job.attempt
    error = JobError("WorkerLost", f"worker {worker} disappeared while it ran attempt {attempt}")
    try:
        job = await store.append(
            job,
            lambda job: rules.rescue(job, attempt=attempt, worker=worker, error=error, retry_in=retry_in),
            actor="system:rescue",
        )
    except NotAllowed:
        return  # It ended by itself, or somebody else rescued it.
    log.warning("job rescued", job_id=job.id, attempt=attempt, worker=worker, status=job.status)


def stuck_json(runner: Runner) -> str:
    """`[{jobId, attempt, type, seconds}]`: for how long each has been stuck."""
    now = time.monotonic()
    stuck = [
        {"jobId": handler.job_id, "attempt": handler.attempt, "type": handler.type, "seconds": now - handler.since}
        for handler in runner.slots.stuck.values()
    ]
    return orjson.dumps(stuck).decode()


def new_worker_id() -> str:
    """Readable, and never given twice."""
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
