"""The job type `chatwork_messages_sync` against the sandbox: no message is lost.

To act out a crash, a test records that the worker is lost, and then cancels the handler.
"""

import asyncio
import hashlib
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest
from pydantic import ValidationError

from events.bus import Bus
from events.database import Database
from events.job import Job, Progress, Status
from events.store import Store
from projections.jobs import JobsView
from tests.chatwork_server import client_of, resources_of, sandbox_of, until
from tests.handler_context import RunningAttempt, next_attempt, running
from tests.job_types import claim_of
from workers.attempt.runner import Runner
from workers.chatwork.client import Chatwork, NoToken, Unauthorized
from workers.chatwork.messages_sync import AT_ONCE, CHATWORK_MESSAGES_SYNC, MessagesSync, UnknownRoom
from workers.chatwork.rate_limit import RateLimit
from workers.chatwork.rooms import Room, list_rooms, set_active, upsert_rooms
from workers.chatwork.sandbox import Sandbox
from workers.job_type import Unique
from workers.outcomes import AttemptOver, Final
from workers.resources import Resources


class World:
    """A sandbox whose rooms are in the database, and methods that sync them."""

    def __init__(self, sandbox: Sandbox, chatwork: Chatwork, database: Database, store: Store) -> None:
        self.sandbox = sandbox
        self.chatwork = chatwork
        self.database = database
        self.store = store
        self.resources: Resources = resources_of(database, chatwork)

    @asynccontextmanager
    async def attempt(self, **payload: Any) -> AsyncIterator[RunningAttempt]:
        async with running(self.store, self.resources, CHATWORK_MESSAGES_SYNC, payload) as attempt:
            yield attempt

    async def sync(self, **payload: Any) -> Any:
        """Runs one whole job and returns its result."""
        async with self.attempt(**payload) as attempt:
            result = await attempt.handle()
            await attempt.complete(result)
            return result

    async def crash(self, attempt: RunningAttempt, handling: asyncio.Task[Any]) -> Job:
        """Acts out a crash of the attempt. Returns its job, which waits for the next attempt."""
        job = await attempt.lose(self.store)
        await cut_off(handling)
        return job

    async def rooms(self) -> dict[str, Room]:
        return {room.room_id: room for room in await list_rooms(self.database)}

    async def bodies(self, room_id: str) -> list[str]:
        query = "select body from chatwork_messages where room_id = :room_id order by number"
        return [row["body"] for row in await self.database.fetch_all(query, {"room_id": room_id})]

    async def marks(self) -> list[tuple[str, str]]:
        """Returns the marks as pairs `(room_id, job_id)`, the oldest first."""
        rows = await self.database.fetch_all("select room_id, job_id from chatwork_reads order by id")
        return [(row["room_id"], row["job_id"]) for row in rows]

    def forces(self, room_id: str) -> list[bool]:
        return [request.force for request in self.sandbox.requests if request.room_id == room_id]


@asynccontextmanager
async def world_of(store: Store, database: Database, sandbox: Sandbox) -> AsyncIterator[World]:
    async with sandbox, client_of(sandbox, database) as chatwork:
        await upsert_rooms(database, (await chatwork.rooms()).items, new_rooms_active=True)
        sandbox.requests.clear()
        yield World(sandbox, chatwork, database, store)


@pytest.fixture
async def world(store: Store, database: Database) -> AsyncIterator[World]:
    """A sandbox with one room, whose messages are all stored."""
    async with world_of(store, database, sandbox_of({"10": ["一"]})) as world:
        await world.sync()
        world.sandbox.requests.clear()
        yield world


async def cut_off(handling: asyncio.Task[Any]) -> None:
    handling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await handling


async def test_a_sync_stores_every_message_of_every_active_room_once(store: Store, database: Database) -> None:
    async with world_of(store, database, Sandbox(limit=1000)) as world:
        first = await world.sync()
        second = await world.sync()
        said = [orjson.loads(message) for room in world.sandbox.rooms.values() for message in room.messages]

    assert first["totalRooms"] == first["processedRooms"] == 40
    assert sum(room["fetched"] for room in first["rooms"]) == len(said)
    assert first["errors"] == []
    assert [room["fetched"] for room in second["rooms"]] == [0] * 40
    rows = await database.fetch_all("select message_id, sender, body, sent_at from chatwork_messages order by number")
    assert checksum(
        (row["message_id"], row["sender"], row["body"], int(row["sent_at"].timestamp())) for row in rows
    ) == checksum(
        (message["message_id"], message["account"]["name"], message["body"], message["send_time"])
        for message in sorted(said, key=lambda message: int(message["message_id"]))
    )


async def test_inactive_rooms_are_synced_only_if_the_request_names_them(store: Store, database: Database) -> None:
    async with world_of(store, database, sandbox_of({"10": ["一"], "11": ["二"]})) as world:
        await set_active(database, (await world.rooms())["11"].id, False)
        everything = await world.sync()
        one = await world.sync(roomId="11")

    assert everything["rooms"] == [{"roomId": "10", "fetched": 1}]
    assert one == {"totalRooms": 1, "processedRooms": 1, "rooms": [{"roomId": "11", "fetched": 1}], "errors": [], "gaps": []}


async def test_with_a_room_limit_rooms_that_were_never_read_come_first(store: Store, database: Database) -> None:
    async with world_of(store, database, sandbox_of({"10": ["一"], "11": ["二"], "12": ["三"]})) as world:
        asked = [[room["roomId"] for room in (await world.sync(roomLimit=2))["rooms"]] for _ in range(3)]

    assert asked[0] == ["10", "11"]
    assert asked[1][0] == "12"
    assert asked[1][1] in asked[0]
    assert asked[2][0] in asked[0]


async def test_an_unknown_room_ends_the_job_without_a_retry_without_a_retry(world: World) -> None:
    with pytest.raises(UnknownRoom, match="no Chatwork room 99 is known") as refusal:
        await world.sync(roomId="99")

    assert isinstance(refusal.value, Final)
    assert not world.sandbox.requests


async def test_progress_begins_with_no_rooms_and_ends_with_all_rooms(store: Store, database: Database) -> None:
    sandbox = sandbox_of({str(number): [] for number in range(10, 30)})
    async with world_of(store, database, sandbox) as world, world.attempt() as attempt:
        await attempt.handle()
        events = [recorded.event for recorded in await store.history.events(attempt.job.id)]
    reports = [event.result for event in events if isinstance(event, Progress)]

    assert reports[0] == {"totalRooms": 20, "processedRooms": 0}
    assert reports[1]["processedRooms"] >= 1
    assert reports[-1] == {"totalRooms": 20, "processedRooms": 20}
    assert [report["processedRooms"] for report in reports] == sorted({report["processedRooms"] for report in reports})


async def test_a_sync_without_rooms_completes(store: Store, database: Database) -> None:
    async with world_of(store, database, sandbox_of({})) as world:
        assert await world.sync() == {"totalRooms": 0, "processedRooms": 0, "rooms": [], "errors": [], "gaps": []}


async def test_at_most_eight_rooms_are_read_at_once(store: Store, database: Database) -> None:
    async with world_of(store, database, sandbox_of({str(number): [] for number in range(10, 40)})) as world:
        held = world.sandbox.hold(times=30)

        async def all_hands_are_full() -> bool:
            return held.waiting == AT_ONCE

        async with world.attempt() as attempt:
            handling = attempt.start_handling()
            await until(all_hands_are_full)
            marks = await world.marks()
            held.release()
            result = await handling

    assert len(marks) == AT_ONCE
    assert result["processedRooms"] == 30


async def test_a_failed_room_keeps_its_error_and_the_other_rooms_go_on(store: Store, database: Database) -> None:
    async with world_of(store, database, sandbox_of({"10": ["一"], "11": ["二"], "12": ["三"], "13": ["四"]})) as world:
        world.sandbox.fail(status=403, room_id="11")
        world.sandbox.answer(b"<html>", room_id="12")
        world.sandbox.fail(status=503, times=3, room_id="13")
        result = await world.sync()
        failed = await world.rooms()
        again = await world.sync()
        recovered = await world.rooms()

    assert result["processedRooms"] == 4
    assert result["rooms"] == [{"roomId": "10", "fetched": 1}]
    assert [(error["roomId"], error["message"][:50]) for error in result["errors"]] == [
        ("11", "Chatwork API error: 403"),
        ("12", "Chatwork's answer cannot be read: it is not JSON"),
        ("13", "Chatwork API error: 503"),
    ]
    assert [failed[id].last_error_status for id in ("10", "11", "12", "13")] == [None, 403, None, 503]
    assert failed["11"].last_error_message == "Chatwork API error: 403"
    assert failed["11"].last_error_at is not None
    assert failed["11"].last_sync_at is None
    assert again["errors"] == []
    assert recovered["11"].last_error_at is None
    assert recovered["11"].last_error_message is None
    assert recovered["11"].last_error_status is None


async def test_a_bad_token_ends_the_job_at_once(store: Store, database: Database) -> None:
    async with world_of(store, database, sandbox_of({str(number): [] for number in range(10, 60)})) as world:
        world.sandbox.fail(status=401, times=50)

        with pytest.raises(Unauthorized, match=r"^Chatwork API error: 401$"):
            await world.sync()

    assert len(world.sandbox.requests) <= AT_ONCE


async def test_without_a_token_the_job_fails_at_once(store: Store, database: Database) -> None:
    async with running(store, resources_of(database, None), CHATWORK_MESSAGES_SYNC) as attempt:
        with pytest.raises(NoToken):
            await attempt.handle()


@pytest.mark.parametrize(
    "payload",
    [
        {"roomId": 10}, {"roomId": ""}, {"roomId": "ten"}, {"roomId": "10\n"}, {"roomId": "１０"}, {"roomId": "1" * 39},
        {"roomLimit": 0}, {"roomLimit": "5"}, {"roomLimit": True}, {"roomLimit": 1.0}, {"roomLimit": 2**31}, {"room": "10"},
    ],
)  # fmt: skip
def test_a_payload_with_wrong_fields_is_refused(payload: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        MessagesSync.model_validate(payload)


def test_a_sync_of_one_room_and_one_of_all_may_run_together() -> None:
    key = CHATWORK_MESSAGES_SYNC.unique_key
    everything, one = MessagesSync().to_json(), MessagesSync(room_id="10").to_json()

    assert CHATWORK_MESSAGES_SYNC.unique is Unique.PER_PAYLOAD
    assert key(everything, "a") == key({}, "b") != key(one, "a")
    assert (CHATWORK_MESSAGES_SYNC.max_attempts, CHATWORK_MESSAGES_SYNC.deadline) == (5, 10_800)


async def test_a_sync_never_exceeds_chatworks_limit(store: Store, database: Database) -> None:
    rooms = {str(number): ["一"] for number in range(10, 35)}
    rate_limit = RateLimit(database, "test", 12, window=0.5, lapse=0.2, slack=0.1)
    async with (
        sandbox_of(rooms, limit=12, window=0.5) as sandbox,
        client_of(sandbox, database, rate_limit=rate_limit) as chatwork,
        running(store, resources_of(database, chatwork), CHATWORK_MESSAGES_SYNC) as attempt,
    ):
        await upsert_rooms(database, (await chatwork.rooms()).items, new_rooms_active=True)
        result = await attempt.handle()

    assert len(result["rooms"]) == 25
    assert {request.status for request in sandbox.requests} == {200}


async def test_a_room_is_read_with_force_at_first_and_then_without(store: Store, database: Database) -> None:
    async with world_of(store, database, sandbox_of({"10": ["一"]})) as world:
        await world.sync()
        await world.sync()

    assert world.forces("10") == [True, False]
    assert await world.marks() == []


async def test_a_mark_exists_from_the_request_until_its_answer_is_stored(world: World) -> None:
    held = world.sandbox.hold()
    async with world.attempt() as attempt:
        handling = attempt.start_handling()
        await held.arrived.wait()
        marks = await world.marks()
        held.release()
        await handling

    assert marks == [("10", attempt.job.id)]
    assert await world.marks() == []


async def test_messages_that_a_crashed_attempt_read_but_did_not_store_come_with_the_next_attempt(world: World) -> None:
    world.sandbox.say("10", "二")
    held = world.sandbox.hold(given=True)
    async with world.attempt() as attempt:
        handling = attempt.start_handling()
        await held.arrived.wait()
        job = await world.crash(attempt, handling)

    async with next_attempt(world.store, world.resources, CHATWORK_MESSAGES_SYNC, job) as second:
        await second.complete(await second.handle())

    assert world.forces("10") == [False, True]
    assert await world.bodies("10") == ["一", "二"]
    assert await world.marks() == []


async def test_another_syncs_store_does_not_remove_the_mark_of_a_running_attempt(world: World) -> None:
    """Two syncs overlap. The request of the first is answered last, then the first crashes.

    The second sync must not remove the mark of the first when it stores its own answer. Only that
    mark brings back the message "二", which was given only to the first sync.
    """
    of_first, of_second = world.sandbox.hold(), world.sandbox.hold(given=True)
    async with world.attempt() as first, world.attempt(roomId="10") as second:
        first_handling = first.start_handling()
        await of_first.arrived.wait()
        second_handling = second.start_handling()
        await of_second.arrived.wait()
        world.sandbox.say("10", "二")
        of_first.release(lost=True)
        await until(lambda: was_given(world, "10"))
        await world.crash(first, first_handling)
        of_second.release()
        await second_handling

    assert ("10", first.job.id) in await world.marks()
    await world.sync()
    assert await world.bodies("10") == ["一", "二"]
    assert await world.marks() == []


async def test_the_next_store_removes_the_mark_of_an_ended_attempt(world: World) -> None:
    held = world.sandbox.hold(given=True)
    async with world.attempt() as first:
        handling = first.start_handling()
        await held.arrived.wait()
        await first.cancel(world.store)
        await cut_off(handling)

    await world.sync()
    await world.sync()

    assert world.forces("10") == [False, True, False]
    assert await world.marks() == []


async def test_a_failed_request_leaves_one_mark_that_replaces_all_older_ones(world: World) -> None:
    world.sandbox.say("10", "二")
    world.sandbox.drop(times=1, given=True)
    world.sandbox.fail(status=500, times=2)
    world.sandbox.fail(status=403, times=2)
    for _ in range(3):
        await world.sync()
    marks = await world.marks()

    await world.sync()

    assert len(marks) == 1
    assert world.forces("10") == [False, True, True, True, True, True]
    assert await world.bodies("10") == ["一", "二"]
    assert await world.marks() == []


async def test_two_syncs_at_once_store_every_message_once(world: World) -> None:
    world.sandbox.say("10", "二")
    held = world.sandbox.hold(times=2, given=True)
    async with world.attempt() as first, world.attempt(roomId="10") as second:
        handlings = [first.start_handling(), second.start_handling()]

        async def both_are_out() -> bool:
            return held.waiting == 2

        await until(both_are_out)
        held.release()
        await asyncio.gather(*handlings)

    assert await world.bodies("10") == ["一", "二"]
    assert await world.marks() == []


async def test_an_answer_that_comes_too_late_to_be_stored_leaves_a_mark_again(world: World) -> None:
    """An attempt ends while its request is unanswered, so the next sync removes its mark.

    Only then is the request answered, with a message that no other sync gets.
    """
    held = world.sandbox.hold()
    async with world.attempt() as first:
        handling = first.start_handling()
        await held.arrived.wait()
        await first.cancel(world.store)
        await world.sync()
        assert await world.marks() == []

        world.sandbox.say("10", "二")
        held.release()
        with pytest.raises(AttemptOver):
            await handling

    await world.sync()
    assert await world.bodies("10") == ["一", "二"]
    assert await world.marks() == []


async def test_a_sync_does_not_remove_a_mark_that_was_written_after_it_looked(world: World) -> None:
    """A sync sees the mark of an attempt that is over. Then the attempt writes its mark again.

    When the sync stores its answer, it must not remove the new mark, because it saw only the old
    one.
    """
    of_first, of_second = world.sandbox.hold(), world.sandbox.hold(given=True)
    async with world.attempt() as first, world.attempt(roomId="10") as second:
        first_handling = first.start_handling()
        await of_first.arrived.wait()
        await first.cancel(world.store)
        second_handling = second.start_handling()
        await of_second.arrived.wait()
        world.sandbox.say("10", "二")
        of_first.release()
        with pytest.raises(AttemptOver):
            await first_handling
        of_second.release()
        await second_handling

    assert await world.marks() == [("10", first.job.id)]
    await world.sync()
    assert await world.bodies("10") == ["一", "二"]
    assert await world.marks() == []


async def test_an_attempt_that_is_over_sends_no_further_request(world: World) -> None:
    async with world.attempt() as attempt:
        await attempt.cancel(world.store)

        with pytest.raises(AttemptOver):
            await attempt.handle()

    assert not world.sandbox.requests
    assert await world.marks() == []


async def test_an_attempt_that_is_over_stores_nothing(world: World) -> None:
    world.sandbox.say("10", "二")
    held = world.sandbox.hold()
    async with world.attempt() as attempt:
        handling = attempt.start_handling()
        await held.arrived.wait()
        await attempt.cancel(world.store)
        held.release()
        with pytest.raises(AttemptOver):
            await handling

    assert await world.bodies("10") == ["一"]
    assert len(await world.marks()) == 1


@pytest.mark.parametrize("seed", range(6))
async def test_no_message_is_lost_whatever_breaks_in_whatever_order(store: Store, database: Database, seed: int) -> None:
    chance = random.Random(seed)
    async with world_of(store, database, sandbox_of({"10": [], "11": [], "12": []})) as world:
        said: dict[str, list[str]] = {"10": [], "11": [], "12": []}

        def somebody_says() -> None:
            room_id = chance.choice(list(said))
            said[room_id].append(f"{len(said[room_id])}")
            world.sandbox.say(room_id, said[room_id][-1])

        async def a_sync_that_may_break() -> None:
            async with world.attempt(**chance.choice([{}, {"roomId": "10"}, {"roomId": "11"}])) as attempt:
                handling = attempt.start_handling()
                await asyncio.wait({handling}, timeout=chance.choice([0.002, 0.01, 0.03, 1]))
                if handling.done():
                    await attempt.complete(handling.result())
                    return
                await (attempt.lose(store) if chance.random() < 0.5 else attempt.cancel(store))
                handling.cancel()
                await asyncio.wait({handling})

        for _ in range(12):
            for _ in range(chance.randrange(4)):
                somebody_says()
            match chance.randrange(4):
                case 0:
                    world.sandbox.drop(given=True, times=chance.randrange(1, 4))
                case 1:
                    world.sandbox.fail(status=chance.choice([403, 500]), times=chance.randrange(1, 4))
                case 2:
                    world.sandbox.slow(chance.choice([0, 0.005]))
            syncs = [asyncio.create_task(a_sync_that_may_break()) for _ in range(chance.randrange(1, 4))]
            somebody_says()
            await asyncio.gather(*syncs)

        world.sandbox.slow(0)
        world.sandbox.calm()
        await world.sync()

        assert {room_id: await world.bodies(room_id) for room_id in said} == said
        assert await world.marks() == []


async def test_a_canceled_sync_returns_every_connection(store: Store, database_url: str) -> None:
    database = Database(database_url)
    await database.connect()
    async with world_of(store, database, sandbox_of({str(number): ["一"] for number in range(10, 60)})) as world:
        for number in range(40):
            async with world.attempt() as attempt:
                handling = attempt.start_handling()
                await asyncio.wait({handling}, timeout=number / 1000)
                await attempt.cancel(store)
                handling.cancel()
                await asyncio.wait({handling})
        async with asyncio.timeout(10):
            result = await world.sync()

        assert result["errors"] == []
        assert await world.marks() == []
    # `disconnect` waits for every connection in use, so this shows that every one was returned.
    async with asyncio.timeout(5):
        await database.disconnect()


async def test_a_worker_runs_the_sync_and_its_end_is_in_the_log(store: Store, database: Database, bus: Bus) -> None:
    async with world_of(store, database, sandbox_of({"10": ["一"]})) as world:
        async with world.attempt() as attempt:
            job = await attempt.lose(store)
        types = {CHATWORK_MESSAGES_SYNC.name: CHATWORK_MESSAGES_SYNC}
        runner = Runner(
            store=store,
            bus=bus,
            resources=world.resources,
            job_types=types,
            worker_id="w9",
            slots=1,
            handed_back=lambda job: None,
        )

        runner.run(claim_of(job), started=lambda: None)
        await runner.stop(grace=10)

    ended = await JobsView(database).get(job.id)
    assert ended is not None
    assert ended.status is Status.COMPLETED
    assert ended.result["rooms"] == [{"roomId": "10", "fetched": 1}]


async def was_given(world: World, room_id: str) -> bool:
    """Returns whether Chatwork has given every message of the room."""
    return world.sandbox.given(room_id) == len(world.sandbox.rooms[room_id].messages)


def checksum(rows: Any) -> str:
    digest = hashlib.sha256()
    for row in rows:
        digest.update(repr(row).encode())
    return digest.hexdigest()
