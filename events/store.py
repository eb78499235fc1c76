"""The log: create a job, append events to its history, start an attempt.

A writer has a decision (`events/job.py`) and the `Job` as the writer last read it. The decision returns events, and `evolve`
computes the next `Job` from them. One SQL statement then inserts the events and updates the job's row in the view, but only
if the row still has the `seq` on which the decision was made. Otherwise the store reads the row and makes the decision again,
and the second decision may raise `NotAllowed`. This check of `seq` is the optimistic concurrency control. It also refuses the
writes of late workers, and tells an attempt that its job was canceled.
"""

import asyncio
import copy
from collections.abc import Sequence

import asyncpg

from events.audit_findings import FindingName
from events.batch_writer import BatchWriter
from events.bus import Bus
from events.concurrency import Deadlines
from events.database import Database
from events.group_commit import GroupCommit
from events.history import History
from events.job import BrokenHistory, Job
from events.statements import ACTIVE_JOB, BIND_KEY, CREATE_JOBS, KEY
from events.writes import AlreadyActive, AttemptStart, Decision, EventWrite, Idempotency, KeyTaken, NewJob, Reply, creation


class Store:
    """The log of one database. The result of a write comes only after its commit.

    Call `start` before use and `stop` at the end. `group_commit` holds keyword arguments for `GroupCommit`.
    """

    def __init__(self, database: Database, bus: Bus, **group_commit: int) -> None:
        self._database = database
        self.history = History(database)
        self._writer = BatchWriter(database, bus)
        self._commits = GroupCommit[EventWrite | AttemptStart](
            self._writer.connect, self._writer.send, shared=(CREATE_JOBS,), **group_commit
        )
        self._deadlines: Deadlines[Reply] | None = None

    async def start(self) -> None:
        self._commits.start()

    async def stop(self) -> None:
        await self._commits.stop()

    def with_time_limit(self, seconds: float) -> "Store":
        """Returns the same log with a time limit for writes. HTTP requests use it.

        A write of `create` or `append` raises `TimeoutError` when PostgreSQL has not answered
        within `seconds`. When PostgreSQL has a fault that only an operator can mend
        (`events/database_faults.py`), the write raises that error at once; without a time limit it
        would wait until the fault is mended. After both errors, the events may be in the log.
        """
        store = copy.copy(self)
        store._deadlines = Deadlines(seconds, _give_up)
        return store

    async def create(self, new: NewJob, *, actor: str, request_id: str | None = None) -> Job:
        """Queues a new job.

        Raises: `AlreadyActive` when a job with the same unique key is active, `KeyTaken` when the idempotency key is already
        bound to a job.
        """
        while True:
            try:
                created = await self._write(creation(new, actor, request_id))
            except asyncpg.UniqueViolationError as error:
                # A concurrent request with the same idempotency key has committed first.
                if error.constraint_name != "one_key_of_one_user_is_one_job":
                    raise
                created = None
            if created is not None:
                return created
            await self._say_why_not_created(new)

    async def create_many(self, new: Sequence[NewJob], *, actor: str, request_id: str | None = None) -> list[Job]:
        """Queues new jobs, and returns them in the same order.

        A job that cannot be queued does not prevent the others. Raises: as `create`, for the first job that cannot be queued,
        after every job was tried.
        """
        writes = [creation(each, actor, request_id) for each in new]
        for write in writes:
            self._commits.write(write)
        replies = await asyncio.gather(*(write.reply for write in writes), return_exceptions=True)
        return [
            reply if isinstance(reply, Job) else await self.create(each, actor=actor, request_id=request_id)
            for each, reply in zip(new, replies, strict=True)
        ]

    def start_attempt(self, job_id: str, attempt: int, job_type: str, *, worker: str) -> Reply:
        """Appends `started` if this attempt is queued, its type matches and is not paused.

        Returns a future at once. After the commit it holds the started job, or None if the attempt may not start.
        """
        start = AttemptStart(job_id, attempt, job_type, worker)
        self._commits.write(start)
        return start.reply

    async def append(
        self,
        job: Job | str,
        decide: Decision,
        *,
        actor: str,
        request_id: str | None = None,
        user_key: tuple[str, Idempotency] | None = None,
    ) -> Job:
        """Appends the events that `decide` returns, and returns the job after them.

        `job` is the job as the caller last saw it, or its id. If only the id is given, the job is read first. If the job has
        changed since it was read, it is read again, and `decide` is called again. `user_key` is a user's id and an idempotency
        key to bind to the job.

        Raises: whatever `decide` raises (`NotAllowed`), `UnknownJob`, `AlreadyActive`, `KeyTaken`, `BrokenHistory`.
        """
        if isinstance(job, str):
            write = EventWrite(job, actor, request_id, decide=decide, user_key=user_key)
        else:
            write = EventWrite(job.id, actor, request_id, job, decide(job), user_key=user_key)
            if not write.events:
                return job
        while True:
            try:
                if (moved := await self._write(write)) is not None:
                    return moved
            except asyncpg.UniqueViolationError as error:
                await self._raise_if_key_is_taken(user_key, error)
                await self._raise_active_job(write.job_id, error)
            write = EventWrite(write.job_id, actor, request_id, decide=decide, user_key=user_key)

    async def job_of_key(self, user_id: str, key: str) -> tuple[str, str] | None:
        """Returns the job id and the request hash of a user's idempotency key.

        Returns None if the key is not bound to a job.
        """
        row = await self._database.fetch_one(KEY, {"user_id": user_id, "key": key})
        return None if row is None else (row["job_id"], row["request_hash"])

    async def active_job(self, unique_key: str | None) -> str | None:
        """Returns the id of the active job with this unique key, or None."""
        job_id: str | None = await self._database.fetch_val(ACTIVE_JOB, {"unique_key": unique_key})
        return job_id

    async def bind_key(self, user_id: str, idempotency: Idempotency, job_id: str) -> None:
        """Binds an idempotency key to an existing job.

        Raises `KeyTaken` when the key is already bound to another job or request.
        """
        values = {"user_id": user_id, "key": idempotency.key, "request_hash": idempotency.request_hash, "job_id": job_id}
        await self._database.execute(BIND_KEY, values)
        owner = await self.job_of_key(user_id, idempotency.key)
        if owner is not None and owner != (job_id, idempotency.request_hash):
            raise KeyTaken(*owner)

    async def _write(self, write: EventWrite) -> Job | None:
        """Returns the job after the write.

        Returns None if the job has changed meanwhile, or could not be created.
        """
        write.patient = self._deadlines is None
        self._commits.write(write)
        if self._deadlines is None:
            return await write.reply
        self._deadlines.add(write.reply)
        try:
            return await write.reply
        finally:
            self._deadlines.remove(write.reply)

    async def _say_why_not_created(self, new: NewJob) -> None:
        if new.idempotency is not None and new.user_id is not None:
            owner = await self.job_of_key(new.user_id, new.idempotency.key)
            if owner is not None:
                raise KeyTaken(*owner)
        if (active := await self.active_job(new.unique_key)) is not None:
            raise AlreadyActive(active)
        # Returns without an error, because the conflicting job has ended meanwhile: the caller tries again.

    async def _raise_if_key_is_taken(
        self, user_key: tuple[str, Idempotency] | None, error: asyncpg.UniqueViolationError
    ) -> None:
        """Raises `KeyTaken` when `error` means that another request has bound the key."""
        if user_key is None or error.constraint_name != "one_key_of_one_user_is_one_job":
            return
        user_id, idempotency = user_key
        owner = await self.job_of_key(user_id, idempotency.key)
        if owner is not None:
            raise KeyTaken(*owner) from error

    async def _raise_active_job(self, job_id: str, error: asyncpg.UniqueViolationError) -> None:
        """Raises `AlreadyActive` when a retry would make a second active job with one unique key.

        Raises `BrokenHistory` when the log has more events of the job than the view's `seq` says. Raises `error` itself for
        every other constraint.
        """
        if error.constraint_name == "an_event_has_its_own_place_in_the_history":
            detail = "the log has more events than the view counts"
            raise BrokenHistory(detail, FindingName.VIEW_DRIFT, job_id) from error
        if error.constraint_name != "only_one_active_job_of_this_kind":
            raise error
        active = await self._database.fetch_val(
            "select a.id from jobs a join jobs j using (unique_key) where j.id = :id and a.status in ('queued', 'processing')",
            {"id": job_id},
        )
        if active is not None:
            raise AlreadyActive(active) from error


def _give_up(reply: Reply) -> None:
    if not reply.done():
        reply.set_exception(TimeoutError("no answer from PostgreSQL in time"))
