"""The log: the one write, and how a job's events and the whole log are read.

Whoever writes holds a decision, and a `Job` as it last saw it, or has it read where it is written. The decision names the events,
`evolve` folds them into the next `Job`, and one SQL statement inserts the events and moves the view's row, only where its `seq` is
still the one the decision was made on. That guard is the concurrency control, the fence against late workers and the detection of
a cancel: a write that does not match reads the row again and decides again, and then the decision itself says what has happened.
"""

import asyncio
import copy
from collections.abc import Sequence

import asyncpg

from events.audit_findings import FindingName
from events.batch_writer import (
    BatchWriter,
)
from events.bus import Bus
from events.concurrency import Deadlines
from events.database import Database
from events.group_commit import GroupCommit
from events.history import History
from events.job import (
    BrokenHistory,
    Job,
)
from events.statements import (
    ACTIVE_JOB,
    BIND_KEY,
    CREATE_JOBS,
    KEY,
)
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
        self.history = History(database)
        self._writer = BatchWriter(database, bus)
        self._commits = GroupCommit[EventWrite | AttemptStart](
            self._writer.connect, self._writer.send, shared=(CREATE_JOBS,), **group_commit
        )
        self._deadlines: Deadlines[Answer] | None = None

    async def start(self) -> None:
        self._commits.start()

    async def stop(self) -> None:
        await self._commits.stop()

    def impatient(self, seconds: float) -> "Store":
        """The same log with a time limit, for callers that answer a waiting person.

        An append without an answer within `seconds` raises `TimeoutError`. One that meets a fault which only an operator can
        mend (`events/database_faults.py`) raises it at once. In both cases the append may have been carried out.
        """
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


def _give_up(answer: Answer) -> None:
    if not answer.done():
        answer.set_exception(TimeoutError("no answer from PostgreSQL in time"))
