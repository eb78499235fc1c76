"""Runs one verification of the log at a time, over all processes, and stores its result."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import orjson
import structlog

from events.database import DATABASE_ERRORS, Database, Row
from projections.verify import CLOCK_TOLERANCE, NOBODY, Trust, Verified, verify
from workers.registry import unique_key

log = structlog.get_logger("rireki")

MOST_DIFFERENCES = 100  # findings that are stored; further findings are only counted
TOUCH_EVERY = 5.0  # seconds between two updates of `last_seen` by a running verification
LOST_AFTER = 30.0  # seconds without such an update after which the process of a verification counts as dead

COLUMNS = (
    "id, started_at, last_seen, finished_at, actor, jobs, events, last_position, differences, findings, difference_count, error,"
    " unsealed, covers, finding_counts,"
    " finished_at is null and last_seen < now() - make_interval(secs => :lost_after) as lost"
)

LAST = f"select {COLUMNS} from verifications order by started_at desc limit 1"

END_LOST = """
update verifications set finished_at = last_seen, error = :error
where finished_at is null and last_seen < now() - make_interval(secs => :lost_after)
"""

BEGIN = """
insert into verifications (actor) values (:actor)
on conflict ((true)) where finished_at is null do nothing
returning id
"""

TOUCH = "update verifications set last_seen = now() where id = :id"

FINISH = """
update verifications
set finished_at = now(), last_seen = now(), jobs = :jobs, events = :events, last_position = :last_position,
    differences = cast(:differences as text[]), findings = cast(:findings as json), difference_count = :difference_count,
    unsealed = :unsealed, covers = cast(:covers as json), finding_counts = cast(:finding_counts as json)
where id = :id and finished_at is null
"""

FAIL = "update verifications set finished_at = now(), error = :error where id = :id and finished_at is null"

INTERRUPTED = "The process that ran this verification has stopped."


class Verifier:
    """Runs the verifications that were started in this process."""

    def __init__(
        self,
        database: Database,
        trust: Callable[[], Awaitable[Trust]] | None = None,
        *,
        clock_tolerance: float = CLOCK_TOLERANCE,
    ) -> None:
        """`trust` gives the keys and copies that a verification trusts, and `clock_tolerance` is in seconds."""
        self._database = database
        self._trust = trust
        self._clock_tolerance = clock_tolerance
        self._tasks: set[asyncio.Task[None]] = set()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        try:
            yield
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def start(self, actor: str) -> Row:
        """Starts a verification, unless one runs in any process. Returns the row of the latest."""
        await self._database.execute(END_LOST, {"lost_after": LOST_AFTER, "error": INTERRUPTED})
        verification_id = await self._database.fetch_val(BEGIN, {"actor": actor})
        if verification_id is not None:
            task = asyncio.create_task(self._verify(verification_id), name=f"verify {verification_id}")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        last = await self.last()
        assert last is not None
        return last

    async def last(self) -> Row | None:
        """Returns the row of the latest verification, running or finished, or None."""
        return await self._database.fetch_one(LAST, {"lost_after": LOST_AFTER})

    async def _trusted(self) -> Trust:
        return NOBODY if self._trust is None else await self._trust()

    async def verify_job(self, job_id: str) -> Verified:
        """Verifies one job, at once. Raises the errors of PostgreSQL, and `ConfigError`."""
        return await verify(self._database, job_id=job_id, unique_key=unique_key, trust=await self._trusted())

    async def _verify(self, verification_id: str) -> None:
        touching = asyncio.create_task(self._touch(verification_id))
        error = INTERRUPTED
        try:
            verified = await verify(
                self._database,
                unique_key=unique_key,
                trust=await self._trusted(),
                clock_tolerance=self._clock_tolerance,
            )
            await self._database.execute(FINISH, {"id": verification_id} | _found(verified))
        except Exception as exception:
            log.error("a verification stopped with an error", exc_info=exception)
            error = f"The verification stopped with an error: {type(exception).__name__}."
        finally:
            touching.cancel()
            # This changes nothing if the verification has finished. If the database is unreachable, the
            # verification counts as lost after `LOST_AFTER`.
            with contextlib.suppress(*DATABASE_ERRORS):
                await self._database.execute(FAIL, {"id": verification_id, "error": error})

    async def _touch(self, verification_id: str) -> None:
        while True:
            await asyncio.sleep(TOUCH_EVERY)
            with contextlib.suppress(*DATABASE_ERRORS):
                await self._database.execute(TOUCH, {"id": verification_id})


def _found(verified: Verified) -> dict[str, Any]:
    found = verified.findings[:MOST_DIFFERENCES]
    documents = orjson.dumps([finding.to_json() for finding in found]).decode()
    return {
        "jobs": verified.jobs,
        "events": verified.events,
        "last_position": verified.last_position,
        "differences": [f"{finding.job_id or 'the log'}: {finding.detail}" for finding in found],
        "findings": documents,
        "difference_count": verified.count,
        "unsealed": verified.unsealed,
        "covers": None if verified.covers is None else orjson.dumps(verified.covers.to_json()).decode(),
        "finding_counts": orjson.dumps({name.value: count for name, count in verified.counts.items()}).decode(),
    }
