"""Fills a database with the jobs of a year by COPY: view, log and positions.

The rows are like those of real runs, so that the events of a job give its row in the view. Almost all
jobs have ended. The numbers of waiting and running jobs do not depend on the length of the history.
"""

import asyncio
import hashlib
import os
import random
import sys
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from events.database import Connection, Database, connect
from projections.seal import seal_everything

AT_ONCE = 10_000  # jobs in one COPY
YEAR = timedelta(days=365)
OWNERS = 1000  # users; the first owns a tenth of all owned jobs, each of the last about 0.03 %
QUEUED, PROCESSING = 200, 50
LONGEST = 3600.0  # seconds for one statement
SAMPLE = 500  # how many ids of ended jobs `Filled` keeps

MIX = ((0.70, "chatwork_messages_sync"), (0.80, "chatwork_rooms_sync"), (1.0, "summary_draft"))
ENDS = ((0.87, "completed"), (0.92, "reported"), (0.94, "retried"), (0.97, "failed"), (1.0, "canceled"))

JOB_COLUMNS = (
    "id", "type", "status", "payload", "result", "error", "user_id", "attempt", "max_attempts", "worker", "seq", "run_at",
    "started_at", "finished_at", "created_at", "updated_at", "unique_key",
)  # fmt: skip
EVENT_COLUMNS = ("event_id", "job_id", "seq", "attempt", "type", "data", "salt", "actor", "at")

NULL, QUOTED = r"\N", '"{}"'
ERROR = '{"name":"ChatworkError","message":"Chatwork API error: 503","stack":"Traceback (most recent call last)"}'

TABLES = ("jobs", "job_events")
ALL_TABLES = (*TABLES, "log_tiles", "log_tail")

CONSTRAINTS = """
select conrelid::regclass::text as table, conname as name, pg_get_constraintdef(oid) as definition from pg_constraint
where conrelid::regclass::text = any($1) and contype in ('p', 'u')
"""

INDEXES = """
select i.indexrelid::regclass::text as name, pg_get_indexdef(i.indexrelid) as definition from pg_index i
where i.indrelid::regclass::text = any($1) and not exists (select from pg_constraint c where c.conindid = i.indexrelid)
"""

# After COPY every page of a table has a little free space. New small rows would go to many pages, and each page would be
# written to the WAL in full. A table in use has no such space. With a lower fillfactor, PostgreSQL adds new rows to new pages,
# as in a table in use.
NEW_ROWS_STAND_TOGETHER = """
alter table jobs set (fillfactor = 70);
alter table job_events set (fillfactor = 85);
"""

# The heartbeat of the running jobs' worker is in the future, so that no other worker rescues them.
WORKER = """
insert into workers (id, host, pid, job_types, slots, last_seen) values ($1, 'bench', 1, '{}', 100, now() + interval '30 days')
"""


@dataclass(slots=True)
class Filled:
    """Facts about the filled rows, such as ids, that the queries of bench/reads.py need."""

    jobs: int
    events: int = 0
    begins: datetime = field(default_factory=lambda: datetime.now(UTC) - YEAR)
    ended: list[str] = field(default_factory=list)
    """Ids of some ended jobs, spread evenly over the year."""
    waiting: list[str] = field(default_factory=list)
    owners: list[str] = field(default_factory=list)
    """Ids of the owners. The one with the most jobs is first."""
    seconds: float = 0.0


async def fill(url: str, jobs: int) -> Filled:
    """Fills a migrated, empty database with `jobs` jobs. Returns facts about the rows."""
    began = time.perf_counter()
    chance = random.Random(20261123)
    filled = Filled(jobs, owners=[_id(0, chance) for _ in range(OWNERS)])
    connection = await connect(url, statement_timeout="0", synchronous_commit="off", maintenance_work_mem="1GB")
    try:
        left_out = await _leave_out_indexes(connection)
        coming = asyncio.create_task(asyncio.to_thread(_rows, filled, 0, chance))
        for first in range(0, jobs, AT_ONCE):
            view, log = await coming
            if first + AT_ONCE < jobs:
                coming = asyncio.create_task(asyncio.to_thread(_rows, filled, first + AT_ONCE, chance))
            await connection.copy_to_table("jobs", source=_whole(view), columns=JOB_COLUMNS, timeout=LONGEST)
            await connection.copy_to_table("job_events", source=_whole(log), columns=EVENT_COLUMNS, timeout=LONGEST)
            if (first // AT_ONCE) % 100 == 99:
                _say(f"{first + AT_ONCE:,} jobs, {filled.events:,} events, {time.perf_counter() - began:.0f} s")
        for statement in left_out:
            await connection.execute(statement, timeout=LONGEST)
            _say(f"{statement[:90]} …, {time.perf_counter() - began:.0f} s")
        await connection.execute("select setval('job_event_ids', $1)", filled.events)
        await connection.execute(WORKER, _worker(jobs - 1, jobs))
        await connection.execute(NEW_ROWS_STAND_TOGETHER)
        await connection.execute("checkpoint", timeout=LONGEST)
        await _seal(url)
        for table in ALL_TABLES:
            await connection.execute(f"vacuum (analyze) {table}", timeout=LONGEST)
    finally:
        await connection.close()
    filled.seconds = time.perf_counter() - began
    _say(f"filled: {jobs:,} jobs, {filled.events:,} events, {filled.seconds:.0f} s")
    return filled


async def _seal(url: str) -> None:
    database = Database(url)
    await database.connect()
    try:
        await seal_everything(database)
    finally:
        await database.disconnect()


async def _leave_out_indexes(connection: Connection) -> list[str]:
    """Drops all indexes. Returns the statements that build them again after COPY."""
    again = []
    for row in await connection.fetch(CONSTRAINTS, TABLES):
        await connection.execute(f"alter table {row['table']} drop constraint {row['name']}")
        again.append(f"alter table {row['table']} add constraint {row['name']} {row['definition']}")
    for row in await connection.fetch(INDEXES, TABLES):
        await connection.execute(f"drop index {row['name']}")
        again.append(row["definition"])
    return again


def _rows(filled: Filled, first: int, chance: random.Random) -> tuple[bytes, bytes]:
    """Makes jobs from number `first` on and their events, as text for COPY."""
    view: list[str] = []
    log: list[str] = []
    for number in range(first, min(first + AT_ONCE, filled.jobs)):
        _one_job(filled, number, chance, view, log)
    return "".join(view).encode(), "".join(log).encode()


def _one_job(filled: Filled, number: int, chance: random.Random, view: list[str], log: list[str]) -> None:
    created = filled.begins + (number + chance.random()) * (YEAR / filled.jobs)
    job_id, job_type, end = _id(int(created.timestamp() * 1000), chance), _one_of(MIX, chance), _one_of(ENDS, chance)
    if number >= filled.jobs - QUEUED - PROCESSING:
        end = "processing" if number >= filled.jobs - PROCESSING else "queued"
    owner = None if chance.random() < 0.1 else filled.owners[int(OWNERS * chance.random() ** 3)]
    worker, maximum = _worker(number, filled.jobs), 3 if job_type == "summary_draft" else 5
    times = [created, created + timedelta(seconds=chance.uniform(0.002, 0.05))]
    times += [times[1] + timedelta(seconds=delay) for delay in (chance.uniform(0.1, 1), 5)]
    at = [time.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z" for time in times]

    payload = f'{{"note":"{os.urandom(75).hex()}","roomId":"{number}"}}'
    room = f'{{"roomId":"{number}","fetched":{number % 100}}}'
    result = f'{{"totalRooms":1,"processedRooms":1,"rooms":[{room}],"errors":[]}}'
    by, of = f"worker:{worker}", f"user:{owner}" if owner else "system:schedule"
    key = f"{job_type}:{hashlib.sha256(payload.encode()).hexdigest()}"
    first = f'"type":"{job_type}","payload":{payload},"userId":{QUOTED.format(owner) if owner else "null"},"uniqueKey":"{key}"'
    new = (1, "queued", f'{{"reason":"new","runAt":"{at[0]}","maxAttempts":{maximum},{first}}}', of, at[0])
    started = (1, "started", f'{{"worker":"{worker}"}}', by, at[1])
    completed = (1, "completed", f'{{"result":{result}}}', by, at[2])
    status, shown, wrong, attempt, run_at, started_at = end, NULL, NULL, 1, at[0], at[1]
    match end:
        case "completed":
            events, shown = [new, started, completed], result
        case "reported":
            report = (1, "progress", '{"result":{"totalRooms":1,"processedRooms":0}}', by, at[1])
            events, status, shown = [new, started, report, completed], "completed", result
        case "retried":
            failed = (1, "failed", f'{{"error":{ERROR},"willRetry":true}}', by, at[1])
            again = (2, "queued", f'{{"reason":"retry","runAt":"{at[2]}","maxAttempts":{maximum}}}', by, at[1])
            events = [new, started, failed, again, (2, *started[1:4], at[2]), (2, *completed[1:4], at[3])]
            status, shown, attempt, run_at, started_at = "completed", result, 2, at[2], at[2]
        case "failed":
            events, wrong = [new, started, (1, "failed", f'{{"error":{ERROR},"willRetry":false}}', by, at[2])], ERROR
        case "canceled":
            events, started_at = [new, (1, "canceled", '{"reason":"canceled by its owner"}', of, at[1])], NULL
        case "processing":
            events = [new, started]
        case _:
            events, started_at = [new], NULL

    last, ended = events[-1][4], status not in ("queued", "processing")
    view.append(
        f"{job_id}\t{job_type}\t{status}\t{payload}\t{shown}\t{wrong}\t{owner or NULL}\t{attempt}\t{maximum}\t"
        f"{worker if status == 'processing' else NULL}\t{len(events)}\t{run_at}\t{started_at}\t{last if ended else NULL}\t"
        f"{at[0]}\t{last}\t{key}\n"
    )
    salts = os.urandom(16 * len(events)).hex()
    for seq, (attempt, word, data, actor, when) in enumerate(events, 1):
        filled.events += 1
        salt = salts[32 * seq - 32 : 32 * seq]
        log.append(f"{filled.events}\t{job_id}\t{seq}\t{attempt}\t{word}\t{data}\t\\\\x{salt}\t{actor}\t{when}\n")
    if status == "queued":
        filled.waiting.append(job_id)
    elif ended and number % max(1, filled.jobs // SAMPLE) == 0:
        filled.ended.append(job_id)


def _one_of(mix: Sequence[tuple[float, str]], chance: random.Random) -> str:
    roll = chance.random()
    return next(name for up_to, name in mix if roll <= up_to)


def _id(milliseconds: int, chance: random.Random) -> str:
    """Makes a UUIDv7 as the store does. `milliseconds` is its Unix time."""
    digits = f"{milliseconds:012x}7{chance.getrandbits(12):03x}{8 + chance.getrandbits(2):x}{chance.getrandbits(60):015x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def _worker(number: int, jobs: int) -> str:
    """Returns the id of the worker of a job. Each week has twenty workers."""
    return f"bench-{number * 52 // jobs:02}-{0 if number >= jobs - PROCESSING else number % 20:02}"


async def _whole(rows: bytes) -> AsyncIterator[bytes]:
    yield rows


def _say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)
