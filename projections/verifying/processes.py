"""The processes that verify parts of the log at the same time, all in one snapshot of the database.

The transaction of the caller exports its snapshot. Each process imports it on a connection of its own, so all parts are of the
same moment. A short log is verified without further processes.
"""

import asyncio
import contextlib
import multiprocessing
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, field
from typing import Protocol
from uuid import UUID

from events.database import Connection, Database
from projections.rebuild import UniqueKey
from projections.verifying.findings import Finding, Verified
from projections.verifying.histories import compare, side_by_side
from projections.verifying.order import Checked, Order, Rules, check_tiles
from projections.verifying.ranges import Jobs, hold_raw
from projections.verifying.ranges import side_by_side as read_beside
from projections.verifying.stored_bytes import Histories

MOST_PROCESSES = 8
SHORT = 30_000  # events of a log for which starting a process would take longer than the verification
PAUSE_EVERY = 50  # jobs after which other tasks of the process may run
FOLD_AT_ONCE = 200  # jobs

Erased = Mapping[str, Sequence[int]]
"""The events with a valid note about their erasure: job id to numbers."""


class Snapshot:
    """A snapshot of the database that connections of any process can read."""

    def __init__(self, database: Database, name: str) -> None:
        self._database = database
        self.url = database.url
        self.name = name

    @contextlib.asynccontextmanager
    async def plain(self) -> AsyncIterator[Connection]:
        """Yields a connection with the usual codecs."""
        connection = await self._database.hold(statement_timeout="0", idle_in_transaction_session_timeout="0")
        async with self._reading(connection):
            yield connection

    @contextlib.asynccontextmanager
    async def raw(self) -> AsyncIterator[Connection]:
        """Yields a connection that returns values as they are stored (`ranges.hold_raw`)."""
        connection = await hold_raw(self._database)
        async with self._reading(connection):
            yield connection

    @contextlib.asynccontextmanager
    async def _reading(self, connection: Connection) -> AsyncIterator[None]:
        try:
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                await connection.execute(f"set transaction snapshot '{self.name}'")
                yield
        finally:
            await connection.close()


@dataclass(frozen=True, slots=True)
class JobsPart:
    """Jobs whose histories are folded and compared with the view."""

    jobs: Jobs


@dataclass(frozen=True, slots=True)
class TilesPart:
    """The tiles with these numbers, which are in order. `after` is the last position before them.

    `checked_to` is the last position that an earlier verification has checked. `greatest` is the greatest time before the
    tiles.
    """

    numbers: Sequence[int]
    after: int
    rules: Rules
    checked_to: int = 0
    greatest: int | None = None


Part = JobsPart | TilesPart
Result = Verified | Checked


@dataclass(frozen=True, slots=True)
class Folding:
    """The arguments for folding jobs."""

    unique_key: UniqueKey
    erased: Erased = field(default_factory=dict)


class Runner(Protocol):
    """Runs parts, here or in other processes."""

    async def run(self, parts: Sequence[Part]) -> list[Result]:
        """Returns the results in the order of the parts."""


@contextlib.asynccontextmanager
async def runner(snapshot: Snapshot, folding: Folding, *, events: int, processes: int | None = None) -> AsyncIterator[Runner]:
    """Yields a runner for a log of `events` events. `processes` is None for the number that fits the machine."""
    count = processes or (1 if events < SHORT else min(MOST_PROCESSES, len(os.sched_getaffinity(0))))
    if processes is None and events < SHORT:
        async with snapshot.raw() as raw:
            yield _Here(snapshot, raw, folding)
        return
    pool = ProcessPoolExecutor(
        count, multiprocessing.get_context("spawn"), initializer=_open, initargs=(snapshot.url, snapshot.name, folding)
    )
    try:
        yield _Beside(pool)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


class _Here:
    """Runs parts in this process, and lets its other tasks run meanwhile."""

    def __init__(self, snapshot: Snapshot, raw: Connection, folding: Folding) -> None:
        self._snapshot = snapshot
        self._raw = raw
        self._folding = folding

    async def run(self, parts: Sequence[Part]) -> list[Result]:
        return [await _verify_part(self._snapshot, self._raw, self._folding, part) for part in parts]


class _Beside:
    """Runs parts in other processes."""

    def __init__(self, pool: ProcessPoolExecutor) -> None:
        self._pool = pool

    async def run(self, parts: Sequence[Part]) -> list[Result]:
        futures: list[Future[Result]] = [self._pool.submit(_run_part, part) for part in parts]
        try:
            return list(await asyncio.gather(*map(asyncio.wrap_future, futures)))
        finally:
            for future in futures:
                future.cancel()


async def _verify_part(snapshot: Snapshot, raw: Connection, folding: Folding, part: Part) -> Result:
    match part:
        case JobsPart(jobs):
            return await _verify_jobs(snapshot, raw, folding, jobs)
        case TilesPart():
            order = Order(part.after, part.rules, greatest=part.greatest)
            await check_tiles(raw, order, part.numbers, after=part.checked_to)
            return order.checked


async def _verify_jobs(snapshot: Snapshot, raw: Connection, folding: Folding, jobs: Jobs) -> Verified:
    """Checks the stored bytes of each job, and folds only the jobs that this check does not accept."""
    verified, to_fold = Verified(), list[str]()
    histories = Histories(folding.unique_key)
    async for job_id, history, shown in read_beside(raw, jobs):
        verified.jobs += 1
        verified.events += len(history)
        if shown is None or not history or not histories.accepts(shown, history):
            to_fold.append(str(UUID(bytes=job_id)))
        if verified.jobs % PAUSE_EVERY == 0:
            await asyncio.sleep(0)
    if to_fold:
        async with snapshot.plain() as plain:
            for first in range(0, len(to_fold), FOLD_AT_ONCE):
                verified.add(await fold(plain, to_fold[first : first + FOLD_AT_ONCE], folding))
    return verified


async def fold(plain: Connection, job_ids: Sequence[str], folding: Folding) -> list[Finding]:
    """Folds these jobs, compares them with the view, and returns the findings."""
    found: list[Finding] = []
    async for job_id, history, shown in side_by_side(plain, list(job_ids)):
        found += compare(job_id, history, shown, folding.unique_key, folding.erased.get(job_id, ()))
        await asyncio.sleep(0)
    return found


# In the other processes -------------------------------------------------------------------------------------------------------


class _Worker:
    """The event loop and the connection that a process keeps between its parts.

    The first part opens the connection, so the caller gets an error of the connection as the error of a part.
    """

    def __init__(self, snapshot: Snapshot, folding: Folding) -> None:
        self._snapshot = snapshot
        self._folding = folding
        self._loop = asyncio.new_event_loop()
        self._stack = contextlib.AsyncExitStack()
        self._raw: Connection | None = None

    def run(self, part: Part) -> Result:
        return self._loop.run_until_complete(self._run(part))

    async def _run(self, part: Part) -> Result:
        if self._raw is None:
            self._raw = await self._stack.enter_async_context(self._snapshot.raw())
        return await _verify_part(self._snapshot, self._raw, self._folding, part)


_workers: list[_Worker] = []


def _open(url: str, name: str, folding: Folding) -> None:
    _workers.append(_Worker(Snapshot(Database(url), name), folding))


def _run_part(part: Part) -> Result:
    return _workers[0].run(part)
