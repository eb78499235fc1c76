"""Tests that only the breaks need, and a test that the list of breaks still fits the code."""

import ast
import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from structlog.testing import capture_logs

from events import group_commit
from events.bus import Bus
from events.database import Connection, Database, connect
from events.group_commit import WORTH_A_STATEMENT, GroupCommit
from events.job import JSON, Status
from events.store import Store
from tests.histories import new, starting
from tests.job_types import (
    QUICK,
    cancel,
    claim_of,
    ended,
    job_type,
    queue,
    row_locked,
    running,
    until,
    until_waiting_for_locks,
    words,
    working,
)
from tests.mutants.breaks import BREAKS, Break
from workers.attempt import attempt as run
from workers.delivery.wire import Hint, LocalWire
from workers.job_type import Context
from workers.liveness import heartbeat as rescue

ROOT = Path(__file__).parents[2]
NEVER = 1_000.0  # seconds; longer than any test takes


@pytest.fixture(autouse=True)
def _quick_reactions(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(run, "PATIENCE", 0.2)
    with capture_logs():
        yield


class Noting(LocalWire):
    """A wire that also records the hints that were pushed."""

    def __init__(self) -> None:
        super().__init__()
        self.pushed: list[Hint] = []

    def push(self, hints: Iterable[Hint], *, even_if_full: bool = False) -> None:
        self.pushed += (hints := list(hints))
        super().push(hints, even_if_full=even_if_full)


@asynccontextmanager
async def no_event_is_written(database: Database) -> AsyncIterator[None]:
    """Locks the log during the block, so that a write waits, and fails after five seconds."""
    connection = await asyncpg.connect(database.url)
    try:
        async with connection.transaction():
            await connection.execute("lock table job_events in share mode")
            yield
    finally:
        await connection.close()


async def test_a_hint_is_pushed_only_after_its_job_is_committed(database: Database, store: Store) -> None:
    await queue(store, None, QUICK)
    wire = Noting()

    async with no_event_is_written(database):
        queueing = asyncio.create_task(queue(store, wire, QUICK))
        await until_waiting_for_locks(database, 1)

        assert wire.pushed == []
        assert not queueing.done()

    job = await queueing
    assert wire.pushed == [Hint.of(job)]


async def test_a_new_job_is_returned_only_after_it_is_committed(database: Database, store: Store) -> None:
    job = await store.create(new(), actor="user:x")

    async with no_event_is_written(database):
        creating = asyncio.create_task(store.create(new(), actor="user:x"))
        await until_waiting_for_locks(database, 1)
        appending = asyncio.create_task(store.append(job, starting(), actor="worker:w1"))
        await until_waiting_for_locks(database, 2)

        assert not creating.done()
        assert not appending.done()

    assert (await creating).status is Status.QUEUED
    assert (await appending).status is Status.PROCESSING


@dataclass(eq=False)
class Note:
    key: int
    kind: str
    patient: bool = True
    reply: asyncio.Future[bool] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


async def batches_of(kinds: Sequence[str], database_url: str, **settings: Any) -> list[list[str]]:
    """Returns the batches that a group commit sends if a write of each kind comes at once."""
    batches: list[list[str]] = []

    async def send(connection: Connection, batch: Sequence[Note], again: bool) -> None:
        batches.append([note.kind for note in batch])
        for note in batch:
            note.reply.set_result(True)

    commits = GroupCommit[Note](lambda: connect(database_url), send, **settings)
    commits.start()
    notes = [Note(n, kind) for n, kind in enumerate(kinds)]
    for note in notes:
        commits.write(note)
    await asyncio.gather(*(note.reply for note in notes))
    await commits.stop()
    return batches


async def test_a_batch_holds_writes_of_one_kind(database_url: str) -> None:
    batches = await batches_of(["new", "new", "move", "new", "move", "move"], database_url)

    assert sorted(batches) == [["move"] * 3, ["new"] * 3]


async def test_no_kind_of_write_waits_for_the_backlog_of_another_kind(database_url: str) -> None:
    batches = await batches_of(["new"] * 8 + ["move"], database_url, lanes=1, most_in_a_batch=2)

    assert batches == [["new"] * 2, ["move"], *[["new"] * 2] * 3]


async def test_both_lanes_share_the_waiting_writes_of_a_shared_kind_if_there_are_enough_for_each(database_url: str) -> None:
    async def sizes(writes: int, **settings: Any) -> list[int]:
        return sorted(map(len, await batches_of(["new"] * writes, database_url, **settings)))

    assert await sizes(2 * WORTH_A_STATEMENT + 1, shared=("new",)) == [WORTH_A_STATEMENT, WORTH_A_STATEMENT + 1]
    assert await sizes(2 * WORTH_A_STATEMENT - 1, shared=("new",)) == [2 * WORTH_A_STATEMENT - 1]
    assert await sizes(2 * WORTH_A_STATEMENT + 1) == [2 * WORTH_A_STATEMENT + 1]


class Held:
    """A group commit that records its batches. Its first batch ends when `may_end` is set."""

    def __init__(self, database_url: str, **settings: Any) -> None:
        self.batches: list[list[int]] = []
        self.may_end = asyncio.Event()
        self.commits = GroupCommit[Note](lambda: connect(database_url), self._send, **settings)

    async def _send(self, connection: Connection, batch: Sequence[Note], again: bool) -> None:
        self.batches.append([note.key for note in batch])
        if len(self.batches) == 1:
            await self.may_end.wait()
        for note in batch:
            note.reply.set_result(True)

    @asynccontextmanager
    async def under_way(self, first: Note) -> AsyncIterator[None]:
        self.commits.start()
        self.commits.write(first)
        await until(lambda: self.batches)
        yield
        self.may_end.set()
        await first.reply
        await self.commits.stop()


async def test_a_few_writes_wait_for_a_statement_of_their_kind_and_then_go_out_together(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_commit, "LINGER", NEVER)
    held, notes = Held(database_url), [Note(n, "new") for n in range(2 * WORTH_A_STATEMENT)]
    async with held.under_way(notes[0]):
        for note in notes[1:]:
            held.commits.write(note)
            await asyncio.sleep(0)

        held.may_end.set()

        await asyncio.gather(*(note.reply for note in notes))
    assert held.batches == [[0], [note.key for note in notes[1:]]]


async def test_a_lane_takes_all_waiting_writes_of_a_shared_kind_while_the_other_lane_is_busy(database_url: str) -> None:
    held, notes = Held(database_url, shared=("new",)), [Note(n, "new") for n in range(1, 2 + 2 * WORTH_A_STATEMENT)]
    async with held.under_way(Note(0, "move")):
        for note in notes:
            held.commits.write(note)

        await asyncio.wait_for(asyncio.gather(*(note.reply for note in notes)), 10)
    assert held.batches == [[0], [note.key for note in notes]]


async def test_many_writes_of_a_shared_kind_do_not_wait_for_a_statement_of_their_kind(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_commit, "LINGER", NEVER)
    held, first = Held(database_url, shared=("new",)), Note(0, "new")
    notes = [Note(n, "new") for n in range(1, 1 + WORTH_A_STATEMENT)]
    async with held.under_way(first):
        for note in notes[:-1]:
            held.commits.write(note)
        await asyncio.sleep(0.05)
        assert held.batches == [[0]]

        held.commits.write(notes[-1])

        await asyncio.wait_for(asyncio.gather(*(note.reply for note in notes)), 10)
        assert not first.reply.done()
    assert held.batches == [[0], [note.key for note in notes]]


async def test_a_few_writes_wait_at_most_20_ms_for_a_slow_statement_of_their_kind(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_commit, "LINGER", 1.0)  # seconds: longer than a slow machine needs for the next lines
    held, first, second = Held(database_url), Note(0, "new"), Note(1, "new")
    async with held.under_way(first):
        held.commits.write(second)
        assert held.commits._waiting

        assert await asyncio.wait_for(second.reply, 10)
        assert not first.reply.done()


async def test_a_cancel_stops_the_handler_without_any_heartbeat(
    database: Database, store: Store, bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rescue, "HEARTBEAT", NEVER)
    stopped = asyncio.Event()

    async def wait(context: Context, payload: Any) -> JSON:
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    type = job_type("waits", wait)
    wire = LocalWire()
    async with working(database, store, bus, wire, [type]):
        job = await running(database, await queue(store, wire, type))

        await cancel(store, job)

        await asyncio.wait_for(stopped.wait(), 10)
    assert await words(store, job) == ["queued", "started", "canceled"]


async def test_a_hint_that_comes_twice_while_its_attempt_is_being_started_is_settled_and_starts_nothing(
    database: Database, store: Store, bus: Bus
) -> None:
    settled: list[str] = []

    async with working(database, store, bus, LocalWire(), [QUICK]) as worker:
        # The job is not due yet, so that only the hint can deliver it, not the tick.
        job = await queue(store, None, QUICK, {"n": 7}, delay=timedelta(hours=1))
        async with row_locked(database, job):
            worker.runner.run(claim_of(job), started=lambda: settled.append("first"))
            await until_waiting_for_locks(database, 1)

            worker.runner.run(claim_of(job), started=lambda: settled.append("again"))

            assert settled == ["again"]
        assert (await ended(database, job)).result == {"n": 7}

    assert settled == ["again", "first"]
    assert await words(store, job) == ["queued", "started", "completed"]


@pytest.mark.parametrize("each", BREAKS, ids=lambda each: each.name)
def test_the_text_that_a_break_edits_and_the_tests_that_it_names_exist(each: Break) -> None:
    for edit in each.edits:
        assert (ROOT / edit.file).read_text().count(edit.old) == 1, f"{edit.file}: {edit.old!r}"
        assert edit.old != edit.new

    for test in each.tests:
        file, _, name = test.partition("::")
        assert name in _tests_of(ROOT / file), test


def test_each_break_has_a_name_of_its_own() -> None:
    assert len({each.name for each in BREAKS}) == len(BREAKS) >= 20


def _tests_of(file: Path) -> set[str]:
    module = ast.parse(file.read_text())
    return {node.name for node in module.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
