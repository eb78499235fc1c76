"""The log: the one write, and how a job's events and the whole log are read.

Whoever writes holds a decision, and a `Job` as it last saw it, or has it read where it is written. The decision names the events,
`evolve` folds them into the next `Job`, and one SQL statement inserts the events and moves the view's row, only where its `seq` is
still the one the decision was made on. That guard is the concurrency control, the fence against late workers and the detection of
a cancel: a write that does not match reads the row again and decides again, and then the decision itself says what has happened.
"""

import asyncio
import copy
import math
import time
from collections.abc import Sequence
from datetime import datetime
from weakref import WeakKeyDictionary

import asyncpg
import orjson

from events.batch_writer import (
    MAY_HAVE_GROWN,
    TUNED_EVERY,
    _already_written,
    _creations,
    _decide,
    _events,
    _moves,
    _names,
    _stamp,
    _Tuning,
    new_salts,
)
from events.bus import Bus, Change
from events.concurrency import Deadlines
from events.database import Connection, Database
from events.database_clock import DatabaseClock
from events.findings import FindingName
from events.group_commit import GroupCommit
from events.history import job_from, recorded_from
from events.job import (
    BrokenHistory,
    Job,
    Recorded,
    Started,
    fold,
)
from events.statements import (
    ACTIVE_JOB,
    BIND_KEY,
    CHOOSE_PLANS,
    CREATE_JOBS,
    FORGET_PLANS,
    HISTORY,
    KEY,
    LOG,
    NEWS,
    PAST,
    PLANS,
    START_JOBS,
    STARTED_BEFORE,
    UNTIL_FREE,
)
from events.stored import event_data
from events.writes import (
    AlreadyActive,
    Answer,
    AttemptStart,
    Decision,
    EventWrite,
    Idempotency,
    KeyTaken,
    NewJob,
    creation,
)


class Store:
    """The log of one database. Open it with `start`; every append waits until it is durable. `group_commit` are the keyword
    arguments of `GroupCommit`."""

    def __init__(self, database: Database, bus: Bus, **group_commit: int) -> None:
        self._database = database
        self._bus = bus
        self._clock = DatabaseClock()
        self._tunings: WeakKeyDictionary[Connection, _Tuning] = WeakKeyDictionary()
        self._commits = GroupCommit[EventWrite | AttemptStart](self._connect, self._send, shared=(CREATE_JOBS,), **group_commit)
        self._deadlines: Deadlines[Answer] | None = None

    async def start(self) -> None:
        self._commits.start()

    async def stop(self) -> None:
        await self._commits.stop()

    def impatient(self, seconds: float) -> "Store":
        """The same log, for callers with somebody waiting: an append that has no answer within `seconds` raises `TimeoutError`,
        and one that meets what no waiting mends (`events/faults.py`) raises that. It may have been carried out all the same."""
        store = copy.copy(self)
        store._deadlines = Deadlines(seconds, _give_up)
        return store

    async def create(self, new: NewJob, *, actor: str, request_id: str | None = None) -> Job:
        """Queues a new job. Raises `AlreadyActive` or `KeyTaken`."""
        while True:
            try:
                created = await self._write(creation(new, actor, request_id))
            except asyncpg.UniqueViolationError as error:
                # Two requests with one key at the same moment: this one lost.
                if error.constraint_name != "one_key_of_one_user_is_one_job":
                    raise
                created = None
            if created is not None:
                return created
            await self._say_why_not_created(new)

    async def create_many(self, new: Sequence[NewJob], *, actor: str, request_id: str | None = None) -> list[Job]:
        """Queues new jobs, in order, and waits once for them all. Each stands for itself: one that could not be queued raises
        what `create` raises, after the others were queued."""
        writes = [creation(each, actor, request_id) for each in new]
        for write in writes:
            self._commits.write(write)
        answers = await asyncio.gather(*(write.answer for write in writes), return_exceptions=True)
        return [
            answer if isinstance(answer, Job) else await self.create(each, actor=actor, request_id=request_id)
            for each, answer in zip(new, answers, strict=True)
        ]

    def start_attempt(self, job_id: str, attempt: int, type: str, *, worker: str) -> Answer:
        """Appends `started`, if the job waits for this attempt, is of this type, and the type is not paused. Does not wait: the
        answer is the job as it was started, once that is durable, or None."""
        start = AttemptStart(job_id, attempt, type, worker)
        self._commits.write(start)
        return start.answer

    async def append(
        self,
        job: Job | str,
        decide: Decision,
        *,
        actor: str,
        request_id: str | None = None,
        names: tuple[str, Idempotency] | None = None,
    ) -> Job:
        """Appends what `decide` decides and returns the job after it. `job` is the job as last seen, or only its id: then, and
        where it has changed since, the decision is made on what it is now. `names` are a user and a key that belongs to the job
        from then on. Raises what `decide` raises (`NotAllowed`), `UnknownJob`, `AlreadyActive`, `KeyTaken`."""
        if isinstance(job, str):
            write = EventWrite(job, actor, request_id, decide=decide, names=names)
        else:
            write = EventWrite(job.id, actor, request_id, job, decide(job), names=names)
            if not write.events:
                return job
        while True:
            try:
                if (moved := await self._write(write)) is not None:
                    return moved
            except asyncpg.UniqueViolationError as error:
                await self._say_whose_key(names, error)
                await self._say_who_is_active(write.job_id, error)
            write = EventWrite(write.job_id, actor, request_id, decide=decide, names=names)

    async def history(self, job_id: str, *, after: int = 0) -> list[Recorded]:
        """A job's events in order of seq, from `after` (exclusive) on. Empty for an unknown job."""
        rows = await self._database.fetch_all(HISTORY, {"job_id": job_id, "after": after})
        return [recorded_from(row) for row in rows]

    async def past(self, job_id: str, *, seq: int | None = None, at: datetime | None = None) -> Job | None:
        """A job as it was after its event number `seq`, or at a time. None where it had no event yet."""
        rows = await self._database.fetch_all(PAST, {"job_id": job_id, "seq": seq, "at": at})
        return fold(map(recorded_from, rows))

    async def news(self, places: Sequence[tuple[str, int]]) -> dict[tuple[str, int], list[Recorded]]:
        """What happened to each of these jobs after a seq, for all of these places (job, seq) at once; those after which nothing
        happened are left out."""
        async with self._database.raw() as connection:
            rows = await connection.fetch(NEWS, [job_id for job_id, _ in places], [after for _, after in places])
        news: dict[tuple[str, int], list[Recorded]] = {}
        for row in rows:
            news.setdefault((row["job_id"], row["after"]), []).append(recorded_from(row))
        return news

    async def log(self, *, after: int = 0, limit: int = 1000) -> list[Recorded]:
        """The whole log in order of position, from `after` (exclusive) on, as far as positions are given (`seal.py`)."""
        rows = await self._database.fetch_all(LOG, {"after": after, "limit": limit})
        return [recorded_from(row) for row in rows]

    async def job_of_key(self, user_id: str, key: str) -> tuple[str, str] | None:
        """The job that a user's idempotency key belongs to, and the hash of the request that made it."""
        row = await self._database.fetch_one(KEY, {"user_id": user_id, "key": key})
        return None if row is None else (row["job_id"], row["request_hash"])

    async def bind_key(self, user_id: str, idempotency: Idempotency, job_id: str) -> None:
        """Gives a key to a job that is there already. Raises `KeyTaken` where it belongs to another."""
        values = {"user_id": user_id, "key": idempotency.key, "request_hash": idempotency.request_hash, "job_id": job_id}
        await self._database.execute(BIND_KEY, values)
        owner = await self.job_of_key(user_id, idempotency.key)
        if owner is not None and owner != (job_id, idempotency.request_hash):
            raise KeyTaken(*owner)

    async def _write(self, write: EventWrite) -> Job | None:
        """The job after it; None where the job has moved on, or was not free to be created."""
        write.patient = self._deadlines is None
        self._commits.write(write)
        if self._deadlines is None:
            return await write.answer
        self._deadlines.add(write.answer)
        try:
            return await write.answer
        finally:
            self._deadlines.remove(write.answer)

    async def _say_why_not_created(self, new: NewJob) -> None:
        if new.idempotency is not None and new.user_id is not None:
            owner = await self.job_of_key(new.user_id, new.idempotency.key)
            if owner is not None:
                raise KeyTaken(*owner)
        active = await self._database.fetch_val(ACTIVE_JOB, {"unique_key": new.unique_key})
        if active is not None:
            raise AlreadyActive(active)
        # Whoever was in the way has ended meanwhile: the caller tries again.

    async def _say_whose_key(self, names: tuple[str, Idempotency] | None, error: asyncpg.UniqueViolationError) -> None:
        """The same request came twice at the same moment, or the key came with another one."""
        if names is None or error.constraint_name != "one_key_of_one_user_is_one_job":
            return
        user_id, idempotency = names
        owner = await self.job_of_key(user_id, idempotency.key)
        if owner is not None:
            raise KeyTaken(*owner) from error

    async def _say_who_is_active(self, job_id: str, error: asyncpg.UniqueViolationError) -> None:
        """A retry that would make a second active job of one kind."""
        if error.constraint_name == "an_event_has_its_own_place_in_the_history":
            detail = "the log has more events than the view knows of"
            raise BrokenHistory(detail, FindingName.VIEW_DRIFT, job_id) from error
        if error.constraint_name != "only_one_active_job_of_this_kind":
            raise error
        active = await self._database.fetch_val(
            "select a.id from jobs a join jobs j using (unique_key) where j.id = :id and a.status in ('queued', 'processing')",
            {"id": job_id},
        )
        if active is not None:
            raise AlreadyActive(active) from error

    async def _connect(self) -> Connection:
        connection = await self._database.hold(**PLANS)
        try:
            await self._tune(connection)
        except BaseException:
            connection.terminate()
            raise
        return connection

    async def _tune(self, connection: Connection) -> _Tuning:
        """Now and then: what the connection knows of the database's clock and of its tables."""
        await self._clock.measure(connection)
        small = await connection.fetchval(CHOOSE_PLANS)
        await connection.execute(FORGET_PLANS)
        tuning = _Tuning(time.monotonic() + TUNED_EVERY, MAY_HAVE_GROWN if small else math.inf)
        self._tunings[connection] = tuning
        return tuning

    async def _send(self, connection: Connection, batch: Sequence[EventWrite | AttemptStart], again: bool) -> None:
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
            if not each.answer.done():
                each.answer.set_result(done.get(each.job_id))

    async def _start_jobs(self, connection: Connection, starts: Sequence[AttemptStart], again: bool) -> dict[str, Job]:
        for start, salt in zip(starts, new_salts(len(starts)), strict=True):
            start.salt = (again and start.salt) or salt
        worker, now = starts[0].worker, self._clock.now()
        data = orjson.dumps(event_data(Started(worker), now)).decode()
        ids, attempts = [start.job_id for start in starts], [start.attempt for start in starts]
        types, salts = [start.type for start in starts], [start.salt for start in starts]
        rows = await connection.fetch(START_JOBS, ids, attempts, types, salts, worker, data, f"worker:{worker}", now)
        if again and len(rows) < len(starts):
            # What is paused by now was passed over, though the first try may be starting it at this moment.
            await connection.fetch(UNTIL_FREE, ids)
            rows += await connection.fetch(STARTED_BEFORE, ids, attempts, salts)
        return {job.id: job for job in map(job_from, rows)}

    async def _write_events(self, connection: Connection, writes: Sequence[EventWrite], again: bool) -> dict[str, Job]:
        if unseen := [write for write in writes if write.before is None and write.new is None]:
            await _decide(connection, unseen)
            writes = [write for write in writes if not write.answer.done()]
            if not writes:
                return {}
        now = self._clock.now()
        salts = new_salts(sum(len(write.events) for write in writes))
        for write in writes:
            if not (again and write.recorded):
                _stamp(write, now, salts)
        statement = writes[0].kind
        rows = _creations(writes) if writes[0].new is not None else _moves(writes)
        done = {row["id"] for row in await connection.fetch(statement, rows, _events(writes), *_names(writes))}
        if again and len(done) < len(writes):
            done |= await _already_written(connection, [write for write in writes if write.job_id not in done])
        return {write.job_id: write.after for write in writes if write.job_id in done and write.after is not None}


def _give_up(answer: Answer) -> None:
    if not answer.done():
        answer.set_exception(TimeoutError("no answer from PostgreSQL in time"))
