import itertools
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

from events.database import Connection
from events.history import job_from
from events.job import JSON, Recorded, evolve, word
from events.statements import JOBS, SALTS
from events.stored import event_data
from events.writes import EventWrite, UnknownJob

TUNED_EVERY = 30.0  # seconds
MAY_HAVE_GROWN = 500  # writes after which a connection looks again at a table that was small


@dataclass(slots=True)
class _Tuning:
    """What a connection was told of its tables holds until then, and for so many writes more."""

    until: float
    writes: float


async def _decide(connection: Connection, writes: Sequence[EventWrite]) -> None:
    """Reads the jobs and decides on each. One for which there is nothing to write has its answer then."""
    jobs = {job.id: job for job in map(job_from, await connection.fetch(JOBS, [write.job_id for write in writes]))}
    for write in writes:
        if write.answer.done() or write.decide is None:
            continue
        try:
            if (job := jobs.get(write.job_id)) is None:
                raise UnknownJob(write.job_id)
            write.before, write.events = job, write.decide(job)
        except Exception as error:
            write.answer.set_exception(error)
        else:
            if not write.events:
                write.answer.set_result(job)


def new_salts(count: int) -> Iterator[bytes]:
    random = os.urandom(16 * count)
    return (random[i : i + 16] for i in range(0, len(random), 16))


def _stamp(write: EventWrite, now: datetime, salts: Iterator[bytes]) -> None:
    """Gives the events their place, their time, never earlier than the event before them, and their salts, and folds them into
    the next job."""
    job = write.before
    at = now if job is None else max(now, job.updated_at)
    write.recorded = []
    for event in write.events:
        seq = 1 if job is None else job.seq + 1
        attempt = 1 if job is None else job.attempt + (word(event) == "queued")
        recorded = Recorded(write.job_id, seq, attempt, event, write.actor, at)
        job = evolve(job, recorded)
        write.recorded.append(recorded)
    write.after = job
    write.salts = list(itertools.islice(salts, len(write.events)))


def _moves(batch: Sequence[EventWrite]) -> list[tuple[Any, ...]]:
    """Rows of the type `job_move_row`."""
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
    """Rows of the type `job_creation_row`."""
    return [
        (
            job.id, job.type, orjson.dumps(job.payload).decode(), job.user_id, job.max_attempts, job.run_at, job.created_at,
            new.unique_key, new.idempotency and new.idempotency.key, new.idempotency and new.idempotency.request_hash,
        )
        for new, job in ((write.new, write.after) for write in batch)
        if new is not None and job is not None
    ]  # fmt: skip


def _events(batch: Sequence[EventWrite]) -> list[tuple[Any, ...]]:
    """Rows of the type `job_event_row`."""
    return [
        (
            event.job_id, event.seq, event.attempt, word(event.event),
            orjson.dumps(event_data(event.event, event.at)).decode(), salt, event.actor, write.request_id, event.at,
        )
        for write in batch
        for event, salt in zip(write.recorded, write.salts, strict=True)
    ]  # fmt: skip


def _names(batch: Sequence[EventWrite]) -> Iterator[list[str]]:
    """The columns of `MOVE_JOBS_OF_KEYS`; none for the other statements."""
    names = [(*write.names, write.job_id) for write in batch if write.names is not None]
    rows = ((user_id, key.key, key.request_hash, job_id) for user_id, key, job_id in names)
    return map(list, zip(*rows, strict=True))


async def _already_written(connection: Connection, writes: Sequence[EventWrite]) -> set[str]:
    """Of writes that were refused when they were sent again: those that the first try had carried out."""
    salts = {write.job_id: write.salts[0] for write in writes}
    firsts = [write.recorded[0].seq for write in writes]
    rows = await connection.fetch(SALTS, [write.job_id for write in writes], firsts)
    return {row["job_id"] for row in rows if row["salt"] == salts[row["job_id"]]}


def _dump(value: JSON) -> str | None:
    return None if value is None else orjson.dumps(value).decode()
