"""Heartbeats of the worker in this process, and the rescue of jobs whose worker is gone.

A worker is gone when it has sent no heartbeat for a lease (`LEASE` seconds, by the database's
clock). Another worker, the rescuer, then sets `gone_at` in the gone worker's row, for ever, before
it rescues the jobs of the gone worker. A worker that comes back finds `gone_at` set, stops its
handlers and registers under a new id.

Silence counts only if the silent worker could have written. Therefore a rescuer waits a full lease
after its own heartbeats have become regular, and after the start of PostgreSQL. Otherwise every
worker would be declared gone when the database restarts. A rescuer measures its own silence by the
database's clock too, because the clocks of a sleeping machine stand still.
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

HEARTBEAT = 3.0  # seconds between two heartbeats
BEAT_TIMEOUT = 3.0  # seconds to wait for the answer to a heartbeat; the next heartbeat uses another connection
LEASE = 10.0  # seconds of silence after which a worker is gone
MOST_AT_ONCE = 500  # the most jobs that one rescue reads

LEFT_BEHIND = f"""
select {JOB_COLUMNS} from jobs j
where status = 'processing' and type = any(cast(:types as text[]))
and not exists (select from workers w where w.id = j.worker and w.gone_at is null)
limit {MOST_AT_ONCE}
"""


class Heartbeat:
    """Sends this worker's heartbeats, and rescues the jobs of gone workers in a second task.

    The heartbeats run in the event loop of the handlers, because a worker with a blocked loop must
    count as dead. A heartbeat never waits for a rescue, because a hanging connection must not make
    a living worker look dead.
    """

    def __init__(
        self,
        *,
        database: Database,
        store: Store,
        view: JobsView,
        runner: Runner,
        job_types: Mapping[str, JobType[Any]],
    ) -> None:
        # The heartbeat has its own pool, because handlers that use up the shared pool must not stop
        # it. Its three connections are for the heartbeat, the rescue and `present_types`, because
        # heartbeats must go on while the other two hang.
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
        """Registers this worker. Raises the errors of the database (`DATABASE_ERRORS`)."""
        await self._database.connect()
        await self._register(self._runner.worker_id)

    async def stop(self) -> None:
        """Marks this worker as gone, after its jobs were handed back.

        Raises the errors of the database (`DATABASE_ERRORS`).
        """
        try:
            async with asyncio.timeout(BEAT_TIMEOUT):
                await self._database.execute(LEAVE, {"id": self._runner.worker_id})
        finally:
            await self._database.disconnect()

    async def run(self) -> None:
        """Sends heartbeats, and rescues the jobs of dead workers, until cancelled."""
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
                log_trouble(log, "heartbeat cannot be written to the database", error, worker=self._runner.worker_id)
                self._last_beat = None

    async def _rescue_on(self) -> None:
        while True:
            # The rescue starts only after a successful heartbeat, because the silence of others
            # counts only while this process can write.
            await self._beaten.wait()
            self._beaten.clear()
            try:
                await self.rescue()
            except DATABASE_ERRORS as error:
                log_trouble(log, "lost jobs cannot be rescued; trying again", error, worker=self._runner.worker_id)

    async def beat(self) -> None:
        """Writes one heartbeat, extends the lease, and compares the log with the running attempts.

        If this worker was declared gone, stops its attempts and registers it under a new id.
        """
        asked_at = elapsed()
        beat = await self._database.fetch_one(BEAT, {"id": self._runner.worker_id, "stuck": stuck_json(self._runner)})
        if beat is None:
            log.error("this worker was declared gone: it stops its attempts and registers again", worker=self._runner.worker_id)
            self._last_beat = None
            self._runner.lose()
            fresh = new_worker_id()
            await self._register(fresh)
            self._runner.go_on(fresh)
            return
        now = time.monotonic()  # read after the answer, because a heartbeat counts as late if its answer took long
        if self._last_beat is None or max(now - self._last_beat, beat["silent_for"]) > 2 * HEARTBEAT:
            self._regular_since = now
        self._last_beat, self._last_seen = now, beat["last_seen"]
        self._runner.lease(until=asked_at + LEASE)
        await self._reconcile()

    async def rescue(self) -> None:
        """Declares silent workers gone and retries or fails their jobs.

        Two rescuers at once are harmless.
        """
        if self._beats_regularly():
            values = {"me": self._runner.worker_id, "seen": self._last_seen, "lease": LEASE, "beat": 2 * HEARTBEAT}
            for row in await self._database.fetch_all(DECLARE_GONE, values):
                log.warning("worker declared gone", worker=row["id"])
        # Only jobs of known types are rescued, because the type says whether a retry is allowed.
        for row in await self._database.fetch_all(LEFT_BEHIND, {"types": list(self._job_types)}):
            await rescue_job(self._store, self._job_types, job_from(row))
        for job_id, job in tuple(self._abandoned.items()):
            if job_id not in self._runner.in_hand:
                await rescue_job(self._store, self._job_types, job)

    def _beats_regularly(self) -> bool:
        """Returns whether this worker's own heartbeats have been regular for a lease."""
        return self._last_beat is not None and time.monotonic() - self._regular_since > LEASE

    async def present_types(self) -> Collection[str]:
        """Returns the job types that at least one living worker runs."""
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
        """Compares this worker's jobs in the table `jobs` with the attempts that it runs.

        If a running attempt has no job in the table, the job was canceled and the bus lost the
        message, so the attempt is stopped. If a job in the table has no running attempt at two
        heartbeats in a row, its start was written but the answer was lost, so the job is rescued.
        """
        # The attempts are copied before the table is read, because an attempt that starts meanwhile
        # may be missing in the result.
        started = dict(self._runner.attempts)
        listed = {job.id: job for job in await self._view.held_by(self._runner.worker_id)}
        for job_id, attempt in started.items():
            if job_id not in listed or listed[job_id].attempt != attempt.number:
                attempt.interrupt(Interruption.OVER)
        unknown = listed.keys() - self._runner.in_hand.keys()
        self._abandoned = {job_id: listed[job_id] for job_id in unknown & self._unknown}
        self._unknown = unknown


async def rescue_job(store: Store, job_types: Mapping[str, JobType[Any]], job: Job) -> None:
    """Retries a job whose worker is gone, or fails it, as its type and its attempts allow."""
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
        return  # The attempt has ended by itself, or another worker has rescued the job.
    log.warning("job rescued", job_id=job.id, attempt=attempt, worker=worker, status=job.status)


def stuck_json(runner: Runner) -> str:
    """Returns the stuck handlers as JSON: `[{jobId, attempt, type, seconds}]`.

    `seconds` says for how long the handler has been stuck.
    """
    now = time.monotonic()
    stuck = [
        {"jobId": handler.job_id, "attempt": handler.attempt, "type": handler.type, "seconds": now - handler.since}
        for handler in runner.slots.stuck.values()
    ]
    return orjson.dumps(stuck).decode()


def new_worker_id() -> str:
    """Returns a new worker id: host, process id and a random part, so no id is given twice."""
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
