"""The stream of all changes sends all visible changes, can be resumed, and ends in time."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import httpx2 as httpx
import orjson
import pytest

from events.bus import Bus, Change, RedisBus
from events.database import Database, connect
from events.job import NO_DELAY, Job, JobError, cancel, complete, fail, progress, start
from events.store import Store
from events.writes import NewJob
from projections.seal import seal_everything
from service.accounts import users
from service.accounts.people import AccountChange, accounts, change_account
from service.accounts.users import Role, User
from service.api import job_streams
from service.live import changes_feed as feed
from service.live import job_watches
from service.live.changes_feed import MOST_UNREAD, ChangesFeed, Watcher
from tests.http_client import http_client
from tests.job_types import until
from tests.service_fixture import Service, service

__all__ = ["service"]

ADDRESS = "/api/jobs/stream"
NOTHING = "data: {}"  # the data of `position` and `reset`


@pytest.fixture(autouse=True)
def looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "LOOK_EVERY", 0.1)
    monkeypatch.setattr(feed, "IDLE_LOOKS", 2)


class Changes:
    """Reads a stream as a browser's EventSource does, and remembers the last `id`."""

    def __init__(self, answer: httpx.Response) -> None:
        self.answer = answer
        self.id: str | None = None
        self._lines = answer.aiter_lines()

    async def next(self) -> Any:
        """Reads the next event. Returns the data of a change, or the name of another event.

        Returns None at the end of the stream.
        """
        name = ""
        async for line in self._lines:
            key, _, value = line.partition(": ")
            if key == "id":
                self.id = value
            elif key == "event":
                name = value
            elif key == "data" and name != "position":
                return orjson.loads(value) if name == "change" else name
        return None

    async def some(self, count: int) -> list[tuple[str, int]]:
        changes = [await asyncio.wait_for(self.next(), 10) for _ in range(count)]
        return [(change["jobId"], change["seq"]) for change in changes]

    async def until_position(self, position: int) -> list[tuple[str, int]]:
        """Reads until the event for this position or a later one. Returns the changes before it."""
        seen = []
        async with asyncio.timeout(10):
            async for line in self._lines:
                if line.startswith("data: ") and line != NOTHING:
                    change = orjson.loads(line[6:])
                    seen.append((change["jobId"], change["seq"]))
                if line.startswith("id: "):
                    self.id = line[4:]
                    if int(self.id) >= position:
                        return seen
        raise AssertionError("the stream has ended")

    async def ended(self) -> bool:
        async with asyncio.timeout(10):
            while await self.next() is not None:
                pass
        return True


@contextlib.asynccontextmanager
async def changes(client: httpx.AsyncClient, last: int | str | None = None) -> AsyncIterator[Changes]:
    headers = {"Accept": "text/event-stream"} | ({} if last is None else {"Last-Event-ID": str(last)})
    async with client.stream("GET", ADDRESS, headers=headers) as answer:
        assert answer.status_code == 200
        yield Changes(answer)


def started(job: Job) -> Any:
    return start(job, attempt=job.attempt, worker="w1")


def reported(job: Job) -> Any:
    return progress(job, attempt=job.attempt, worker="w1", result={"seq": job.seq})


def retried(job: Job) -> Any:
    return fail(job, attempt=job.attempt, worker="w1", error=JobError("E", "m"), retry_in=NO_DELAY)


def completed(job: Job) -> Any:
    return complete(job, attempt=job.attempt, worker="w1", result={})


async def test_a_change_goes_to_its_owner_and_to_admins_only(service: Service) -> None:
    async with (
        changes(service.as_employee) as own, changes(service.as_admin) as everything, changes(service.as_other) as others,
    ):  # fmt: skip
        mine = await service.run(await service.job_of(service.employee), started, completed)
        system = await service.job_of(None)
        theirs = await service.job_of(await user(service, "other@example.com"))

        assert await everything.some(5) == [*places(mine), *places(system), *places(theirs)]
        assert await own.some(3) == places(mine)
        assert await others.some(1) == places(theirs)


async def test_a_change_holds_the_new_state_of_the_job(service: Service) -> None:
    async with changes(service.as_employee) as own:
        job = await service.run(await service.job_of(service.employee), started)
        told = [await own.next(), await own.next()]

    assert own.answer.headers["content-type"].startswith("text/event-stream")
    assert own.answer.headers["cache-control"] == "no-store"
    common = {"jobId": job.id, "attempt": 1, "type": job.type, "userId": service.employee.id}
    assert told == [common | {"seq": 1, "status": "queued"}, common | {"seq": 2, "status": "processing"}]


async def test_a_failure_with_a_retry_is_sent_as_the_next_attempt_only(service: Service) -> None:
    job = await service.run(await service.job_of(service.employee), started)

    async with changes(service.as_employee, 0) as own:
        replayed = await own.some(2)
        job = await service.run(job, retried)
        live = await own.next()
        rest = await own.until_position(4)
    async with changes(service.as_employee, 0) as again:
        from_the_log = await again.some(3)

    assert (live["seq"], live["attempt"], live["status"]) == (4, 2, "queued")
    assert rest == []
    assert from_the_log == [*replayed, (job.id, 4)]


async def test_a_change_on_the_bus_and_in_the_log_is_sent_once(service: Service) -> None:
    async with changes(service.as_admin) as everything:
        jobs = [await service.run(await service.job_of(service.employee), started, reported, completed) for _ in range(5)]
        service.context.bus.announce([Change.of(job) for job in jobs])

        assert await everything.until_position(20) == [place for job in jobs for place in places(job)]


async def test_a_change_that_comes_back_over_redis_is_sent_once(database: Database, redis_url: str) -> None:
    bus = RedisBus(redis_url)
    await bus.start()
    store = Store(database, bus)
    await store.start()
    everything = ChangesFeed(bus, database, database)
    try:
        async with everything.running():
            with everything.watched(None) as watcher:
                await everything.beginning(watcher, None)
                job = await store.create(NewJob("chatwork_rooms_sync", {}, None, max_attempts=5), actor="system:test")
                await store.append(job, started, actor="worker:w1")

                text = ""
                async with asyncio.timeout(10):
                    while "id: 2" not in text:
                        text += (await watcher.take(1)).decode()
    finally:
        await store.stop()
        await bus.stop()

    assert seqs(text) == [1, 2]


async def test_a_change_that_the_bus_lost_arrives_late(service: Service) -> None:
    deaf = ChangesFeed(Bus(), service.context.database, service.context.database)
    async with deaf.running():
        with deaf.watched(service.employee.id) as watcher:
            assert [piece async for piece in await deaf.beginning(watcher, None)] == []
            job = await service.run(await service.job_of(service.employee), started)
            await service.job_of(service.admin)

            text = ""
            async with asyncio.timeout(10):
                while "id: 3" not in text:
                    text += (await watcher.take(1)).decode()

    assert seqs(text) == [1, 2]
    assert text.count(job.id) == 2


@pytest.mark.parametrize("told_by", ["the bus", "the log"])
async def test_a_forged_change_hides_no_real_change_of_the_same_seq(service: Service, told_by: str) -> None:
    bus = service.context.bus if told_by == "the bus" else Bus()
    feed_ = ChangesFeed(bus, service.context.database, service.context.database)
    async with feed_.running():
        with feed_.watched(None) as watcher:
            await feed_.beginning(watcher, None)
            job = await service.job_of(service.employee)
            bus.announce([Change(job.id, 2, 1, "completed", job.type, None)])
            await service.run(job, started)

            text = ""
            async with asyncio.timeout(10):
                while "id: 2" not in text:
                    text += (await watcher.take(1)).decode()

    said = [orjson.loads(line[6:]) for line in text.splitlines() if line.startswith("data: ")]
    assert [change["status"] for change in said if change.get("seq") == 2] == ["completed", "processing"]


async def test_a_resumed_stream_sends_every_change_after_the_position(service: Service) -> None:
    async with changes(service.as_employee) as own:
        job = await service.run(await service.job_of(service.employee), started)
        await own.until_position(2)
        assert own.id is not None
    job = await service.run(job, reported, completed)
    await service.job_of(service.admin)

    async with changes(service.as_employee, own.id) as resumed:
        assert await resumed.some(2) == places(job)[2:]


async def test_a_resumed_stream_sends_a_change_once_that_got_its_position_meanwhile(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "LOOK_EVERY", 60)
    bus = Bus()
    feed_ = ChangesFeed(bus, service.context.database, service.context.database)
    async with feed_.running():
        with feed_.watched(None), feed_.watched(service.employee.id) as resumed:
            job = await service.run(await service.job_of(service.employee), started)
            bus.announce([Change.of(job)])
            await seal_everything(service.context.database)

            text = b"".join([piece async for piece in await feed_.beginning(resumed, 0)]).decode()

    assert seqs(text) == [1, 2]


async def test_a_resumed_stream_sends_changes_that_have_no_position_yet(service: Service, database_url: str) -> None:
    """While an older transaction is open, later events get no position."""
    await seal_everything(service.context.database)
    blocker = await connect(database_url, idle_in_transaction_session_timeout="0")
    try:
        async with blocker.transaction():
            await blocker.execute("select pg_current_xact_id()")
            async with changes(service.as_admin) as everything:
                job = await service.run(await service.job_of(service.employee), started)
                assert await everything.some(2) == places(job)

                async with changes(service.as_employee, 0) as resumed:
                    assert await resumed.some(2) == places(job)
    finally:
        await blocker.close()


@pytest.mark.parametrize("last", [0, 10**17])
async def test_a_resume_from_a_position_too_far_back_or_ahead_gets_a_reset(
    service: Service, last: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "MOST_REPLAYED", 2)
    await service.run(await service.job_of(service.employee), started, completed)
    await seal_everything(service.context.database)

    async with changes(service.as_employee, last) as own:
        assert await own.next() == "reset"
        job = await service.job_of(service.employee)
        assert await own.some(1) == places(job)
        assert own.id is not None
        assert int(own.id) >= 3


async def test_an_invalid_last_event_id_is_refused(service: Service) -> None:
    for event_id in ("-1", "one", "9" * 30, "٣"):
        headers = [(b"Last-Event-ID", event_id.encode())]
        answer = await service.as_employee.get(ADDRESS, headers=headers)

        assert (answer.status_code, answer.json()["errors"][0]["path"]) == (400, "Last-Event-ID")


async def test_a_stream_without_a_token_gets_401(service: Service) -> None:
    assert (await service.as_nobody.get(ADDRESS)).status_code == 401


async def test_a_head_request_is_answered_without_waiting_for_changes(service: Service) -> None:
    answer = await asyncio.wait_for(service.as_employee.head(ADDRESS), 5)

    assert (answer.status_code, answer.content) == (200, b"")
    assert len(service.context.job_watches.feed) == 0


async def test_the_stream_of_a_slow_reader_ends_at_the_memory_limit() -> None:
    watcher = Watcher(None)
    piece = b"x" * (MOST_UNREAD // 4)

    for _ in range(4):
        watcher.put(piece)
    assert not watcher.ended
    watcher.put(piece)

    assert watcher.ended
    assert await asyncio.wait_for(watcher.take(60), 5) == b""


async def test_the_stream_of_a_fast_reader_has_no_limit() -> None:
    watcher = Watcher(None)

    for _ in range(10):
        watcher.put(b"x" * MOST_UNREAD)
        assert len(await watcher.take(1)) == MOST_UNREAD

    assert not watcher.ended


async def test_a_stream_that_gets_no_change_is_told_the_position_too(service: Service) -> None:
    async with changes(service.as_employee) as own:
        await service.job_of(service.admin)

        assert await own.until_position(1) == []


async def test_a_stream_that_gets_no_change_is_told_the_position_less_often(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "IDLE_LOOKS", 10**9)
    everything = ChangesFeed(service.context.bus, service.context.database, service.context.database)
    async with everything.running():
        with everything.watched(service.admin.id) as busy, everything.watched(service.employee.id) as quiet:
            await everything.beginning(busy, None)
            await service.job_of(service.admin)

            text = ""
            async with asyncio.timeout(10):
                while "id: 1" not in text:
                    text += (await busy.take(1)).decode()

            assert await quiet.take(0.01) == b""


async def test_a_disconnected_client_is_no_longer_a_watcher(service: Service) -> None:
    async with changes(service.as_employee), changes(service.as_admin):
        assert service.context.job_watches.watchers == 2

    await until(lambda: service.context.job_watches.watchers == 0)


async def test_a_stream_ends_when_the_process_stops(service: Service) -> None:
    async with changes(service.as_employee) as own:
        service.context.job_watches.close()

        assert await own.ended()


async def test_a_stream_ends_when_its_token_ends(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    bearer = {"Authorization": f"Bearer {service.context.users.new_token(service.employee)}"}

    async with http_client(service.url, headers=bearer) as client, changes(client) as own:
        await client.post("/api/auth/logout")
        await service.job_of(service.employee)

        assert await own.next() is None


async def test_a_stream_ends_when_its_reader_is_demoted(
    service: Service, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.accounts.users.FRESH", 0.0)

    async with changes(service.as_admin) as everything:
        await database.execute("update users set role = 'employee' where id = :id", {"id": service.admin.id})
        await service.run(await service.job_of(service.employee), lambda job: cancel(job, reason="x"))

        assert await everything.next() is None


@pytest.mark.parametrize("change", [{"disabled": True}, {"signs_out": True}, {"role": Role.EMPLOYEE}])
async def test_a_quiet_stream_ends_soon_after_its_reader_lost_the_right_to_it(
    service: Service, database: Database, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any]
) -> None:
    """No job changes, so the stream must check the right by itself, within ten seconds."""
    assert job_watches.CHECK_EVERY + users.FRESH <= 10
    monkeypatch.setattr(job_streams, "CHECK_EVERY", 0.1)

    async with changes(service.as_auditor) as everything:
        await change_account(database, service.auditor.id, AccountChange(**change))

        assert await everything.ended()


def seqs(text: str) -> list[int]:
    """Returns the `seq` of each change in a piece of a stream."""
    return [orjson.loads(line[6:])["seq"] for line in text.splitlines() if line.startswith("data: ") and line != NOTHING]


def places(job: Job) -> list[tuple[str, int]]:
    return [(job.id, seq) for seq in range(1, job.seq + 1)]


async def user(service: Service, email: str) -> User:
    return next(account.user for account in await accounts(service.context.database) if account.user.email == email)


async def test_a_stream_that_is_behind_copies_little_at_once_and_loses_nothing() -> None:
    watcher, pieces = Watcher(None), [bytes([number]) * 10_000 for number in range(80)]
    for piece in pieces:
        watcher.put(piece)

    taken = [await watcher.take(0.1) for _ in range(40)]

    assert b"".join(taken) == b"".join(pieces)
    assert max(map(len, taken)) < 2 * feed.MOST_AT_ONCE
    assert await watcher.take(0.01) == b""
    for piece in pieces:
        watcher.put(piece)
    assert not watcher.ended
