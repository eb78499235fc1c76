"""Sends a batch of writes in one statement.

When a batch is sent again, the writer recognises the events that the first try wrote.
"""

import itertools
import math
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from weakref import WeakKeyDictionary

import orjson

from events.bus import Bus, Change
from events.database import Connection, Database
from events.database_clock import DatabaseClock
from events.history import job_from
from events.job import JSON, Job, Recorded, Started, cause_of, evolve, word
from events.statements import CHOOSE_PLANS, FORGET_PLANS, JOBS, PLANS, SALTS, START_JOBS, STARTED_BEFORE, UNTIL_FREE
from events.stored import event_data
from events.writes import AttemptStart, EventWrite, UnknownJob

TUNED_EVERY = 30.0  # seconds after which a connection chooses its plan settings again
MAY_HAVE_GROWN = 500  # writes after which a connection checks again whether a small table has grown


@dataclass(slots=True)
class _Tuning:
    """The limits after which a connection chooses its plan settings again.

    `until` is a monotonic time in seconds, and `writes` is a number of further writes.
    """

    until: float
    writes: float


class BatchWriter:
    """Sends one batch in one statement on one connection, and resolves all its replies.

    When a connection breaks, it is unknown whether the batch was written. The batch is sent again with the same expected
    `seq`. The writer recognises the writes that the first try carried out by the random salts of their events.
    """

    def __init__(self, database: Database, bus: Bus) -> None:
        self._database = database
        self._bus = bus
        self._clock = DatabaseClock()
        self._tunings: WeakKeyDictionary[Connection, _Tuning] = WeakKeyDictionary()

    async def connect(self) -> Connection:
        """Opens a connection on which `send` may be called. The caller closes it."""
        connection = await self._database.hold(**PLANS)
        try:
            await self._tune(connection)
        except BaseException:
            connection.terminate()
            raise
        return connection

    async def _tune(self, connection: Connection) -> _Tuning:
        """Measures the database's clock, and chooses plan settings by the size of table `jobs`."""
        await self._clock.measure(connection)
        small = await connection.fetchval(CHOOSE_PLANS)
        await connection.execute(FORGET_PLANS)
        tuning = _Tuning(time.monotonic() + TUNED_EVERY, MAY_HAVE_GROWN if small else math.inf)
        self._tunings[connection] = tuning
        return tuning

    async def send(self, connection: Connection, batch: Sequence[EventWrite | AttemptStart], again: bool) -> None:
        """Writes a batch of one kind, announces the changed jobs, and resolves the replies.

        `again` is true when an earlier try may have carried out some of the writes. Raises PostgreSQL's errors.
        """
        tuning = self._tunings[connection]
        if time.monotonic() > tuning.until or tuning.writes <= 0:
            tuning = await self._tune(connection)
        tuning.writes -= len(batch)
        starts = [each for each in batch if isinstance(each, AttemptStart)]
        writes = [each for each in batch if isinstance(each, EventWrite)]
        if starts:
            done = await self._start_jobs(connection, starts, again)
        else:
            done = await self._write_events(connection, writes, again)
        if done:
            self._bus.announce([Change.of(job) for job in done.values()])
        for each in batch:
            if not each.reply.done():
                each.reply.set_result(done.get(each.job_id))

    async def _start_jobs(self, connection: Connection, starts: Sequence[AttemptStart], again: bool) -> dict[str, Job]:
        for start, salt in zip(starts, new_salts(len(starts)), strict=True):
            start.salt = (again and start.salt) or salt
        worker, now = starts[0].worker, self._clock.now()
        data = orjson.dumps(event_data(Started(worker), now)).decode()
        ids, attempts = [start.job_id for start in starts], [start.attempt for start in starts]
        types, salts = [start.type for start in starts], [start.salt for start in starts]
        rows = await connection.fetch(START_JOBS, ids, attempts, types, salts, worker, data, f"worker:{worker}", now)
        if again and len(rows) < len(starts):
            # If a job type was paused between the two tries, this second try skipped the type's
            # jobs without locking their rows. The first try may still change these rows, so wait
            # until no transaction holds them.
            await connection.fetch(UNTIL_FREE, ids)
            rows += await connection.fetch(STARTED_BEFORE, ids, attempts, salts)
        return {job.id: job for job in map(job_from, rows)}

    async def _write_events(self, connection: Connection, writes: Sequence[EventWrite], again: bool) -> dict[str, Job]:
        if unseen := [write for write in writes if write.before is None and write.new is None]:
            await _decide(connection, unseen)
            writes = [write for write in writes if not write.reply.done()]
            if not writes:
                return {}
        now = self._clock.now()
        salts = new_salts(sum(len(write.events) for write in writes))
        for write in writes:
            if not (again and write.recorded):
                _stamp(write, now, salts)
        statement = writes[0].kind
        rows = _creations(writes) if writes[0].new is not None else _moves(writes)
        arguments = rows, _events(writes), _causes(writes), *_user_keys(writes)
        done = {row["id"] for row in await connection.fetch(statement, *arguments)}
        if again and len(done) < len(writes):
            done |= await _already_written(connection, [write for write in writes if write.job_id not in done])
        return {write.job_id: write.after for write in writes if write.job_id in done and write.after is not None}


async def _decide(connection: Connection, writes: Sequence[EventWrite]) -> None:
    """Reads the jobs and makes the decision of each write.

    Resolves the reply of a write whose decision raises or returns no events.
    """
    jobs = {job.id: job for job in map(job_from, await connection.fetch(JOBS, [write.job_id for write in writes]))}
    for write in writes:
        if write.reply.done() or write.decide is None:
            continue
        try:
            if (job := jobs.get(write.job_id)) is None:
                raise UnknownJob(write.job_id)
            write.before, write.events = job, write.decide(job)
        except Exception as error:
            write.reply.set_exception(error)
        else:
            if not write.events:
                write.reply.set_result(job)


def new_salts(count: int) -> Iterator[bytes]:
    """Returns `count` random salts of 16 bytes. No two events share a salt."""
    random = os.urandom(16 * count)
    return (random[i : i + 16] for i in range(0, len(random), 16))


def _stamp(write: EventWrite, now: datetime, salts: Iterator[bytes]) -> None:
    """Gives each event of a write its `seq`, attempt, time, cause and salt.

    Also computes the job after these events.

    No event gets a time before that of the job's previous event, even when the database's clock was set back.
    """
    job = write.before
    at = now if job is None else max(now, job.updated_at)
    write.recorded = []
    for event in write.events:
        seq = 1 if job is None else job.seq + 1
        attempt = 1 if job is None else job.attempt + (word(event) == "queued")
        cause = (write.new and write.new.cause) if job is None else cause_of(event, job)
        recorded = Recorded(write.job_id, seq, attempt, event, write.actor, at, None, write.request_id, cause)
        job = evolve(job, recorded)
        write.recorded.append(recorded)
    write.after = job
    write.salts = list(itertools.islice(salts, len(write.events)))


def _moves(batch: Sequence[EventWrite]) -> list[tuple[Any, ...]]:
    """Returns a row of the type `job_move_row` for each job that the batch changes."""
    return [
        (
            job.id, before.seq, job.status, _dump(job.result), _dump(job.error and job.error.to_json()), job.attempt,
            job.max_attempts, job.worker, job.seq, None if job.run_at is before.run_at else job.run_at,
            None if job.started_at is before.started_at else job.started_at, job.finished_at, job.updated_at,
        )
        for before, job in ((write.before, write.after) for write in batch)
        if before is not None and job is not None
    ]  # fmt: skip


def _creations(batch: Sequence[EventWrite]) -> list[tuple[Any, ...]]:
    """Returns a row of the type `job_creation_row` for each new job of the batch."""
    return [
        (
            job.id, job.type, orjson.dumps(job.payload).decode(), job.user_id, job.max_attempts, job.run_at, job.created_at,
            new.unique_key, new.idempotency and new.idempotency.key, new.idempotency and new.idempotency.request_hash,
        )
        for new, job in ((write.new, write.after) for write in batch)
        if new is not None and job is not None
    ]  # fmt: skip


def _events(batch: Sequence[EventWrite]) -> list[tuple[Any, ...]]:
    """Returns a row of the type `job_event_row` for each event of the batch."""
    return [
        (
            event.job_id, event.seq, event.attempt, word(event.event),
            orjson.dumps(event_data(event.event, event.at)).decode(), salt, event.actor, event.request_id, event.at,
        )
        for write in batch
        for event, salt in zip(write.recorded, write.salts, strict=True)
    ]  # fmt: skip


def _causes(batch: Sequence[EventWrite]) -> list[str | None]:
    """Returns the cause of each event of the batch, in the order of `_events`.

    Returns an empty list if no event has a cause. PostgreSQL then fills the column with nulls.
    """
    causes = [event.cause for write in batch for event in write.recorded]
    return causes if any(causes) else []


def _user_keys(batch: Sequence[EventWrite]) -> Iterator[list[str]]:
    """Yields the four columns of idempotency keys for `MOVE_JOBS_OF_KEYS`.

    Yields nothing for the other statements.
    """
    bound = [(*write.user_key, write.job_id) for write in batch if write.user_key is not None]
    rows = ((user_id, key.key, key.request_hash, job_id) for user_id, key, job_id in bound)
    return map(list, zip(*rows, strict=True))


async def _already_written(connection: Connection, writes: Sequence[EventWrite]) -> set[str]:
    """Returns the ids of the jobs whose write the first try had carried out.

    PostgreSQL refused the second try of these writes, because the job's `seq` had changed.
    """
    salts = {write.job_id: write.salts[0] for write in writes}
    firsts = [write.recorded[0].seq for write in writes]
    rows = await connection.fetch(SALTS, [write.job_id for write in writes], firsts)
    return {row["job_id"] for row in rows if row["salt"] == salts[row["job_id"]]}


def _dump(value: JSON) -> str | None:
    return None if value is None else orjson.dumps(value).decode()
