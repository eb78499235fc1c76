"""The log: the one write, and how a job's events and the whole log are read.

Whoever writes holds a decision, and a `Job` as it last saw it, or has it read where it is written. The decision names the events,
`evolve` folds them into the next `Job`, and one SQL statement inserts the events and moves the view's row, only where its `seq` is
still the one the decision was made on. That guard is the concurrency control, the fence against late workers and the detection of
a cancel: a write that does not match reads the row again and decides again, and then the decision itself says what has happened.
"""

import asyncio
import copy
import itertools
import math
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import asyncpg
import orjson

from events.bus import Bus, Change
from events.database import Connection, Database, Row
from events.deadlines import Deadlines
from events.elapsed import elapsed
from events.findings import FindingName
from events.group_commit import GroupCommit
from events.job import (
    JSON,
    NO_DELAY,
    BrokenHistory,
    Event,
    Job,
    JobError,
    Recorded,
    Started,
    Status,
    Unreadable,
    event_data,
    event_from,
    evolve,
    fold,
    queue,
    word,
)

Decision = Callable[[Job], list[Event]]

JOB_COLUMNS = (
    "id, type, status, payload, result, error, user_id, attempt, max_attempts, worker, seq, run_at, started_at, finished_at,"
    " created_at, updated_at"
)
"""The view's columns in the order of `Job`'s fields; `job_from` reads them."""
JOB_COLUMNS_OF_J = ", ".join(f"j.{column}" for column in JOB_COLUMNS.split(", "))

# Rows are moved in order of id: two processes that take the same jobs in different orders would wait for each other in a ring. What
# is asked is sorted, and every plan that a lane's connection may choose (it reads no table from end to end) goes by that order.
# Events are inserted in order of seq, whatever plan is chosen: their ids are drawn in that order, and the whole log goes by them. A
# `run_at` or `started_at` that stays as it is does not travel: null stands for it, and what is queued was not started.
MOVE_JOBS = """
with asked as materialized (
    select * from unnest($1::job_move_row[]) order by id
), moved as (
    update jobs j
    set status = a.status, result = a.result, error = a.error, attempt = a.attempt, max_attempts = a.max_attempts,
        worker = a.worker, seq = a.seq, run_at = coalesce(a.run_at, j.run_at),
        started_at = case when a.status = 'queued' then null else coalesce(a.started_at, j.started_at) end,
        finished_at = a.finished_at, updated_at = a.updated_at
    from asked a
    where j.id = a.id and j.seq = a.expected_seq
    returning j.id
), written as (
    insert into job_events (job_id, seq, attempt, type, data, salt, actor, request_id, at)
    select e.job_id, e.seq, e.attempt, e.type, e.data, e.salt, e.actor, e.request_id, e.at from unnest($2::job_event_row[]) as e
    where e.job_id in (select id from moved)
    order by e.job_id, e.seq
)
select id from moved
"""

# A retry that a client has named: the key belongs to the job from the moment in which the job moves.
MOVE_JOBS_OF_KEYS = MOVE_JOBS.replace(
    "), written as (",
    """), keyed as (
    insert into idempotency_keys (user_id, key, request_hash, job_id)
    select k.user_id, k.key, k.request_hash, k.job_id
    from unnest($3::uuid[], $4::text[], $5::text[], $6::uuid[]) as k(user_id, key, request_hash, job_id)
    where k.job_id in (select id from moved)
    order by k.user_id, k.key
), written as (""",
)

# `start` (`events/job.py`) for many jobs at once, decided where they are, so that none has to be read before. What is paused is
# not started. `updated_at` is the time of the event before, and no event is earlier than that. The rows are looked up by their ids
# alone, and their status is compared in a way that no index knows, with a word that comes along: asked for what is 'queued', the
# planner would read a backlog from end to end for each batch.
START_JOBS = f"""
with asked as materialized (
    select *, 'queued' as status from unnest($1::uuid[], $2::int[], $3::text[], $4::bytea[]) as a(id, attempt, type, salt)
    where a.type <> all (array(select p.type from pauses p where p.until is null or p.until > now()))
    order by a.id
), moved as (
    update jobs j
    set status = 'processing', worker = $5, seq = j.seq + 1, started_at = greatest(j.updated_at, $8),
        updated_at = greatest(j.updated_at, $8)
    from asked a
    where j.id = a.id and (j.status, j.attempt, j.type) is not distinct from (a.status, a.attempt, a.type)
    returning {JOB_COLUMNS_OF_J}, a.salt
), written as (
    insert into job_events (job_id, seq, attempt, type, data, salt, actor, at)
    select m.id, m.seq, m.attempt, 'started', $6, m.salt, $7, m.updated_at from moved m
    order by m.id
)
select {JOB_COLUMNS} from moved
"""

# Whoever is still writing to one of these jobs has committed, or never will, when this answers.
UNTIL_FREE = "select from jobs where id = any($1) order by id for no key update"

# Of attempts that were refused when they were sent again: those that the first try had started, and that go on.
STARTED_BEFORE = f"""
select {JOB_COLUMNS_OF_J} from unnest($1::uuid[], $2::int[], $3::bytea[]) as a(id, attempt, salt)
join job_events e on e.job_id = a.id and e.attempt = a.attempt and e.type = 'started' and e.salt = a.salt
join jobs j on j.id = e.job_id and j.status = 'processing' and j.attempt = e.attempt
"""

CREATE_JOBS = """
with asked as materialized (
    select * from unnest($1::job_creation_row[])
), created as (
    insert into jobs (
        id, type, status, payload, user_id, attempt, max_attempts, seq, run_at, created_at, updated_at, unique_key
    )
    select a.id, a.type, 'queued', a.payload, a.user_id, 1, a.max_attempts, 1, a.run_at, a.at, a.at, a.unique_key
    from asked a
    where a.idempotency_key is null or not exists (
        select from idempotency_keys k where k.user_id = a.user_id and k.key = a.idempotency_key
    )
    order by a.unique_key, a.id
    on conflict do nothing
    returning id
), keyed as (
    insert into idempotency_keys (user_id, key, request_hash, job_id)
    select a.user_id, a.idempotency_key, a.request_hash, a.id
    from asked a
    where a.idempotency_key is not null and a.id in (select id from created)
    order by a.user_id, a.idempotency_key
), written as (
    insert into job_events (job_id, seq, attempt, type, data, salt, actor, request_id, at)
    select e.job_id, e.seq, e.attempt, e.type, e.data, e.salt, e.actor, e.request_id, e.at from unnest($2::job_event_row[]) as e
    where e.job_id in (select id from created)
    order by e.job_id, e.seq
)
select id from created
"""

# A plan that is kept saves a third of the time of a short append. One that was made while the table was small would scan it whole
# for every job, so none is kept until it has grown, and then for half a minute. Beside a small table a batch may be joined by a
# hash, which hands on a large batch in no order; beside a large one each row is looked up in turn.
CHOOSE_PLANS = """
select small, set_config('plan_cache_mode', case when small then 'force_custom_plan' else 'force_generic_plan' end, false),
    set_config('enable_hashjoin', case when small then 'off' else 'on' end, false)
from (select count(*) < 1000 as small from (select from jobs limit 1000) as counted) as known
"""
FORGET_PLANS = "discard plans"
PLANS = {
    "enable_seqscan": "off",
    # The order in which rows are moved rests on these being there to choose from, whatever the role has switched off.
    **dict.fromkeys(
        ("enable_indexscan", "enable_indexonlyscan", "enable_nestloop", "enable_mergejoin", "enable_sort", "enable_material"),
        "on",
    ),
}
TUNED_EVERY = 30.0  # seconds
MAY_HAVE_GROWN = 500  # writes after which a connection looks again at a table that was small

DEEPEST = 250  # levels of JSON; orjson reads more than it writes

SALTS = """
select e.job_id, e.salt from job_events e
join unnest($1::uuid[], $2::int[]) as a(job_id, seq) on e.job_id = a.job_id and e.seq = a.seq
"""

JOBS = f"select {JOB_COLUMNS} from jobs where id = any($1)"

ACTIVE_JOB = """
select id from jobs where unique_key = :unique_key and status in ('queued', 'processing')
"""

HISTORY = """
select e.job_id, e.seq, e.attempt, e.type, e.data, e.actor, e.at, l.position
from job_events e left join job_event_log l on l.event_id = e.event_id
where e.job_id = :job_id and e.seq > :after
order by e.seq
"""

# What is only folded needs no positions, and they lie far away from each other.
PAST = """
select job_id, seq, attempt, type, data, actor, at, null::bigint as position
from job_events
where job_id = :job_id and (cast(:seq as integer) is null or seq <= :seq) and (cast(:at as timestamptz) is null or at <= :at)
order by seq
"""

# `offset 0` has each job's events looked up by the job, and each position by the event, whatever the planner thinks.
NEWS = """
select e.job_id, e.seq, e.attempt, e.type, e.data, e.actor, e.at, l.position, a.after
from unnest($1::uuid[], $2::int[]) as a(job_id, after)
cross join lateral (select * from job_events where job_id = a.job_id and seq > a.after offset 0) as e
left join lateral (select position from job_event_log where event_id = e.event_id offset 0) as l on true
order by e.job_id, e.seq
"""

LOG = """
select e.job_id, e.seq, e.attempt, e.type, e.data, e.actor, e.at, l.position
from job_event_log l join job_events e on e.event_id = l.event_id
where l.position > :after
order by l.position
limit :limit
"""

HISTORIES = """
select e.job_id, e.seq, e.attempt, e.type, e.data, e.actor, e.at, null::bigint as position
from job_events e
where $1::uuid[] is null or e.job_id = any($1)
order by e.job_id, e.seq
"""

KEY = "select job_id, request_hash from idempotency_keys where user_id = :user_id and key = :key"

BIND_KEY = """
insert into idempotency_keys (user_id, key, request_hash, job_id)
values (:user_id, :key, :request_hash, :job_id)
on conflict do nothing
"""


@dataclass(frozen=True, slots=True)
class Idempotency:
    """A client's `Idempotency-Key`, and the hash of the request it came with."""

    key: str
    request_hash: str


class NewJob(NamedTuple):
    """A job to be queued. `payload` is JSON; of one `unique_key` at most one job is active; an `idempotency` needs a user."""

    type: str
    payload: JSON
    user_id: str | None
    max_attempts: int
    delay: timedelta = NO_DELAY
    unique_key: str | None = None
    idempotency: Idempotency | None = None


class UnknownJob(LookupError):
    """There is no job of this id."""

    def __init__(self, job_id: str) -> None:
        super().__init__(f"job {job_id} is not in the view")


class BrokenView(Exception):
    """A row of the view that nobody could have written: `job_id`."""

    def __init__(self, job_id: str, why: str) -> None:
        super().__init__(f"job {job_id} cannot be read in the view: {why}")
        self.job_id = job_id


class AlreadyActive(Exception):
    """A job with the same unique key is queued or processing: `job_id`."""

    def __init__(self, job_id: str) -> None:
        super().__init__(f"job {job_id} of the same kind is active")
        self.job_id = job_id


class KeyTaken(Exception):
    """The idempotency key belongs to a job already: `job_id`, made by the request with `request_hash`."""

    def __init__(self, job_id: str, request_hash: str) -> None:
        super().__init__(f"the idempotency key belongs to job {job_id}")
        self.job_id = job_id
        self.request_hash = request_hash


Answer = asyncio.Future[Job | None]
"""The job after what was asked for; None where it was refused."""


def _answer() -> Answer:
    return asyncio.get_running_loop().create_future()


@dataclass(slots=True, eq=False)
class _Write:
    """Events on their way into the log. By its events' `salts` a write is recognised after a broken connection. Without a job
    `before` and a `new` one, the job is read and the events are decided where they are written."""

    job_id: str
    actor: str
    request_id: str | None
    before: Job | None = None
    events: list[Event] = field(default_factory=list)
    new: NewJob | None = None
    decide: Decision | None = None
    names: tuple[str, Idempotency] | None = None
    salts: list[bytes] = field(default_factory=list)
    recorded: list[Recorded] = field(default_factory=list)
    after: Job | None = None
    patient: bool = True
    answer: Answer = field(default_factory=_answer)

    @property
    def key(self) -> str:
        return self.job_id

    @property
    def kind(self) -> str:
        """The statement that writes it."""
        if self.new is not None:
            return CREATE_JOBS
        return MOVE_JOBS if self.names is None else MOVE_JOBS_OF_KEYS


@dataclass(slots=True, eq=False)
class _Start:
    """An attempt that is to be started, if it is the one that the job waits for."""

    job_id: str
    attempt: int
    type: str
    worker: str
    salt: bytes = b""
    patient: bool = True
    answer: Answer = field(default_factory=_answer)

    @property
    def key(self) -> str:
        return self.job_id

    @property
    def kind(self) -> tuple[str, str]:
        return START_JOBS, self.worker


@dataclass(slots=True)
class _Tuning:
    """What a connection was told of its tables holds until then, and for so many writes more."""

    until: float
    writes: float


class Store:
    """The log of one database. Open it with `start`; every append waits until it is durable. `group_commit` are the keyword
    arguments of `GroupCommit`."""

    def __init__(self, database: Database, bus: Bus, **group_commit: int) -> None:
        self._database = database
        self._bus = bus
        self._clock = DatabaseClock()
        self._tunings: WeakKeyDictionary[Connection, _Tuning] = WeakKeyDictionary()
        self._commits = GroupCommit[_Write | _Start](self._connect, self._send, shared=(CREATE_JOBS,), **group_commit)
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
                created = await self._write(_creation(new, actor, request_id))
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
        writes = [_creation(each, actor, request_id) for each in new]
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
        start = _Start(job_id, attempt, type, worker)
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
            write = _Write(job, actor, request_id, decide=decide, names=names)
        else:
            write = _Write(job.id, actor, request_id, job, decide(job), names=names)
            if not write.events:
                return job
        while True:
            try:
                if (moved := await self._write(write)) is not None:
                    return moved
            except asyncpg.UniqueViolationError as error:
                await self._say_whose_key(names, error)
                await self._say_who_is_active(write.job_id, error)
            write = _Write(write.job_id, actor, request_id, decide=decide, names=names)

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

    async def _write(self, write: _Write) -> Job | None:
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

    async def _send(self, connection: Connection, batch: Sequence[_Write | _Start], again: bool) -> None:
        tuning = self._tunings[connection]
        if time.monotonic() > tuning.until or tuning.writes <= 0:
            tuning = await self._tune(connection)
        tuning.writes -= len(batch)
        starts = [each for each in batch if isinstance(each, _Start)]
        writes = [each for each in batch if isinstance(each, _Write)]
        if starts:
            done = await self._start_jobs(connection, starts, again)
        else:
            done = await self._write_events(connection, writes, again)
        if done:
            self._bus.announce([Change.of(job) for job in done.values()])
        for each in batch:
            if not each.answer.done():
                each.answer.set_result(done.get(each.job_id))

    async def _start_jobs(self, connection: Connection, starts: Sequence[_Start], again: bool) -> dict[str, Job]:
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

    async def _write_events(self, connection: Connection, writes: Sequence[_Write], again: bool) -> dict[str, Job]:
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


class DatabaseClock:
    """The database's clock as seen from here: events are stamped with it, whatever this machine's clock says."""

    def __init__(self) -> None:
        self._theirs = datetime.now(UTC)
        self._measured = float("-inf")

    def now(self) -> datetime:
        # From this machine only the time that has passed is taken: its clock may be set anew at any moment.
        return self._theirs + timedelta(seconds=elapsed() - self._measured)

    async def measure(self, connection: Connection) -> None:
        best = float("inf")
        for _ in range(3):
            asked = elapsed()
            theirs = await connection.fetchval("select clock_timestamp()")
            answered = elapsed()
            if answered - asked < best:
                best = answered - asked
                self._theirs, self._measured = theirs, asked + best / 2


def new_job_id() -> str:
    """A UUIDv7 (RFC 9562, 6.2, method 3): 48 bits of Unix milliseconds, 12 of their fraction, then 62 random ones, so that ids
    are made in order of time."""
    milliseconds, nanoseconds = divmod(time.time_ns(), 1_000_000)
    high = milliseconds << 16 | 0x7000 | nanoseconds * 4096 // 1_000_000
    low = 0b10 << 62 | int.from_bytes(os.urandom(8)) >> 2
    digits = f"{high:016x}{low:016x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def job_from(row: Row | asyncpg.Record) -> Job:
    """A `Job` from a row that begins with `JOB_COLUMNS`. Raises `BrokenView`."""
    id, type, status, payload, result, error, *rest = itertools.islice(row.values(), len(Job._fields))
    try:
        failure = None if error is None else JobError(**orjson.loads(error))
        return Job(id, type, Status(status), _load(payload), _load(result), failure, *rest)
    except (TypeError, ValueError) as broken:
        raise BrokenView(id, str(broken)) from broken


def recorded_from(row: Row | asyncpg.Record) -> Recorded:
    """An event from its row, whatever stands there: what nobody could have written is `Unreadable`."""
    event = _event_of(row["type"], row["data"], row["at"])
    return Recorded(row["job_id"], row["seq"], row["attempt"], event, row["actor"], row["at"], row["position"])


def _event_of(type: str, text: str, at: datetime) -> Event | Unreadable:
    try:
        data = _load(text)
    except (TypeError, ValueError) as error:
        return Unreadable(type, text, f"data of a {type} event that cannot be read: {error}")
    try:
        return event_from(type, data, at)
    except BrokenHistory as broken:
        return Unreadable(type, data, str(broken))


async def histories(connection: Connection, job_ids: Sequence[str] | None = None) -> AsyncIterator[Recorded]:
    """All events of all jobs (or of these), job by job in order of id, each job's in order of seq. Inside a transaction."""
    async for row in connection.cursor(HISTORIES, job_ids, prefetch=2000):
        yield recorded_from(row)


def _creation(new: NewJob, actor: str, request_id: str | None) -> _Write:
    decided = queue(
        type=new.type, payload=new.payload, user_id=new.user_id, max_attempts=new.max_attempts, delay=new.delay,
        unique_key=new.unique_key,
    )  # fmt: skip
    return _Write(new_job_id(), actor, request_id, None, decided, new)


async def _decide(connection: Connection, writes: Sequence[_Write]) -> None:
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


def _give_up(answer: Answer) -> None:
    if not answer.done():
        answer.set_exception(TimeoutError("no answer from PostgreSQL in time"))


def _stamp(write: _Write, now: datetime, salts: Iterator[bytes]) -> None:
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


def _moves(batch: Sequence[_Write]) -> list[tuple[Any, ...]]:
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


def _creations(batch: Sequence[_Write]) -> list[tuple[Any, ...]]:
    """Rows of the type `job_creation_row`."""
    return [
        (
            job.id, job.type, orjson.dumps(job.payload).decode(), job.user_id, job.max_attempts, job.run_at, job.created_at,
            new.unique_key, new.idempotency and new.idempotency.key, new.idempotency and new.idempotency.request_hash,
        )
        for new, job in ((write.new, write.after) for write in batch)
        if new is not None and job is not None
    ]  # fmt: skip


def _events(batch: Sequence[_Write]) -> list[tuple[Any, ...]]:
    """Rows of the type `job_event_row`."""
    return [
        (
            event.job_id, event.seq, event.attempt, word(event.event),
            orjson.dumps(event_data(event.event, event.at)).decode(), salt, event.actor, write.request_id, event.at,
        )
        for write in batch
        for event, salt in zip(write.recorded, write.salts, strict=True)
    ]  # fmt: skip


def _names(batch: Sequence[_Write]) -> Iterator[list[str]]:
    """The columns of `MOVE_JOBS_OF_KEYS`; none for the other statements."""
    names = [(*write.names, write.job_id) for write in batch if write.names is not None]
    rows = ((user_id, key.key, key.request_hash, job_id) for user_id, key, job_id in names)
    return map(list, zip(*rows, strict=True))


async def _already_written(connection: Connection, writes: Sequence[_Write]) -> set[str]:
    """Of writes that were refused when they were sent again: those that the first try had carried out."""
    salts = {write.job_id: write.salts[0] for write in writes}
    firsts = [write.recorded[0].seq for write in writes]
    rows = await connection.fetch(SALTS, [write.job_id for write in writes], firsts)
    return {row["job_id"] for row in rows if row["salt"] == salts[row["job_id"]]}


def _dump(value: JSON) -> str | None:
    return None if value is None else orjson.dumps(value).decode()


def _load(text: str | None) -> JSON:
    """Raises `ValueError` or `TypeError` for what cannot be read, or not be written again."""
    if text is None:
        return None
    value = orjson.loads(text)
    if text.count("[") + text.count("{") > DEEPEST:
        orjson.dumps(value)
    return value
