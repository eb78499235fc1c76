"""The steps by which a skilled attacker hides a change: triggers off and on, view and tiles updated."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import orjson

from events.database import Connection, Database
from events.history import histories
from events.job import BrokenHistory, Job, fold
from tests.histories import give_positions
from tests.tamper.world import World

TABLES = (
    "job_events", "job_event_log_cursor", "log_tail", "log_tiles", "log_upper_tiles", "log_strays", "log_origins", "checkpoints",
    "cosignatures", "redactions",
)  # fmt: skip
TRIGGERS = """
select tgrelid::regclass::text as table, tgname as name from pg_trigger
where not tgisinternal and tgrelid::regclass::text = any($1)
"""
EVENTS = """
select job_id, seq, type, actor, data::text as data, position from (
    select e.*, row_number() over (order by e.xid, e.event_id) as position from job_events e
) as e
order by position
"""
FIT = """
update jobs set type = $2, status = $3, payload = $4, result = $5, error = $6, user_id = $7, attempt = $8, max_attempts = $9,
    worker = $10, seq = $11, run_at = $12, started_at = $13, finished_at = $14, created_at = $15, updated_at = $16
where id = $1
"""
FORGET_POSITIONS = "delete from log_upper_tiles; delete from log_tiles; delete from log_tail; delete from log_strays"
BEGIN_AGAIN = """
update job_event_log_cursor set xid = '0', event_id = 0, position = 0, largest = 0, floor = 0, tiled = 0, rows_to = 0,
    turn = turn + 1
"""


class Hand:
    """The attacker's access to one copy of the sound database."""

    def __init__(self, world: World, database: Database, connection: Connection, chance: Random) -> None:
        self.world = world
        self.database = database
        self.connection = connection
        self.chance = chance

    async def execute(self, query: str, *arguments: Any) -> None:
        """Runs a statement while the triggers of the log are off."""
        async with self.unguarded():
            await self.connection.execute(query, *arguments)

    @asynccontextmanager
    async def unguarded(self) -> AsyncIterator[None]:
        triggers = await self.connection.fetch(TRIGGERS, TABLES)
        for table in TABLES:
            await self.connection.execute(f"alter table {table} disable trigger all")
        yield
        for table in TABLES:
            await self.connection.execute(f"alter table {table} enable trigger all")
        for trigger in triggers:
            await self.connection.execute(f"alter table {trigger['table']} enable always trigger {trigger['name']}")

    async def events(self, where: str = "true") -> Sequence[Any]:
        """Returns the events that fit a condition, in order of position."""
        return await self.connection.fetch(f"select * from ({EVENTS}) as e where {where} order by position")

    async def event(self, where: str = "true") -> Any:
        """Returns one of the events that fit a condition."""
        return self.chance.choice(await self.events(where))

    async def edit(self, event: Any, change: str, *arguments: Any) -> None:
        """Changes an event. `change` is the `set` of an update; its parameters begin with $3."""
        await self.execute(
            f"update job_events set {change} where job_id = $1 and seq = $2", event["job_id"], event["seq"], *arguments
        )

    async def fit_view(self, *job_ids: str) -> None:
        """Makes the rows of the view agree with the events, for each job whose events can be folded."""
        found: dict[str, list[Any]] = {job_id: [] for job_id in job_ids}
        async with self.connection.transaction():
            async for recorded in histories(self.connection, list(job_ids)):
                found[recorded.job_id].append(recorded)
        for job_id, history in found.items():
            try:
                job = fold(history)
            except BrokenHistory:
                continue
            if job is None:
                await self.connection.execute("delete from jobs where id = $1", job_id)
            else:
                await self.connection.execute(FIT, *_row(job))

    async def reseal(self) -> None:
        """Gives all events new positions, and computes all leaves, tiles and roots again."""
        async with self.unguarded():
            await self.connection.execute(FORGET_POSITIONS)
            await self.connection.execute(BEGIN_AGAIN)
        await give_positions(self.database)

    async def forget_checkpoints(self, above: int = 0) -> None:
        """Deletes the checkpoints that are larger than this."""
        await self.execute("delete from checkpoints where size > $1", above)

    async def last_position(self) -> int:
        last: int = await self.connection.fetchval("select position from job_event_log_cursor")
        return last


def _row(job: Job) -> tuple[Any, ...]:
    error = None if job.error is None else orjson.dumps(job.error.to_json()).decode()
    result = None if job.result is None else orjson.dumps(job.result).decode()
    return (
        job.id, job.type, job.status, orjson.dumps(job.payload).decode(), result, error, job.user_id, job.attempt,
        job.max_attempts, job.worker, job.seq, job.run_at, job.started_at, job.finished_at, job.created_at, job.updated_at,
    )  # fmt: skip
