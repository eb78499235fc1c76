"""The job type `chatwork_messages_sync` against the sandbox: what it stores and reports."""

import asyncio
import hashlib
from typing import Any

import orjson
import pytest
from pydantic import ValidationError

from events.bus import Bus
from events.database import Database
from events.job import Progress, Status
from events.store import Store
from projections.jobs import JobsView
from tests.chatwork_server import client_of, resources_of, sandbox_of
from tests.handler_context import running
from tests.job_types import claim_of, until
from tests.workers.chatwork.syncs import World, world_of
from workers.attempt.runner import Runner
from workers.chatwork.client import NoToken, Unauthorized
from workers.chatwork.messages_sync import AT_ONCE, CHATWORK_MESSAGES_SYNC, MessagesSync, UnknownRoom
from workers.chatwork.rate_limit import RateLimit
from workers.chatwork.rooms import set_active, upsert_rooms
from workers.chatwork.sandbox import Sandbox
from workers.job_type import Unique
from workers.outcomes import Final


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


async def test_an_unknown_room_ends_the_job_without_a_retry(world: World) -> None:
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
    # `disconnect` waits for every connection in use, so this shows that every connection was
    # returned.
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


def checksum(rows: Any) -> str:
    digest = hashlib.sha256()
    for row in rows:
        digest.update(repr(row).encode())
    return digest.hexdigest()
