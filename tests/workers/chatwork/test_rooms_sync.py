"""The job type `chatwork_rooms_sync` stores the sandbox's rooms in the table."""

import pytest

from events.database import Database
from events.job import JSON
from events.store import Store
from tests.chatwork_server import client_of, resources_of, sandbox_of
from tests.handler_context import running
from workers.chatwork.client import NoToken, Refused, Unauthorized
from workers.chatwork.rooms import list_rooms
from workers.chatwork.rooms_sync import CHATWORK_ROOMS_SYNC
from workers.chatwork.sandbox import Sandbox
from workers.job_type import Unique
from workers.outcomes import AttemptOver


async def sync(store: Store, database: Database, sandbox: Sandbox, *, new_rooms_active: bool = True) -> JSON:
    async with (
        client_of(sandbox, database, new_rooms_active=new_rooms_active) as chatwork,
        running(store, resources_of(database, chatwork), CHATWORK_ROOMS_SYNC) as attempt,
    ):
        return await attempt.handle()


async def test_a_sync_creates_rooms_and_the_next_one_reports_what_changed(store: Store, database: Database) -> None:
    async with sandbox_of({"10": [], "11": [], "12": []}) as sandbox:
        first = await sync(store, database, sandbox)
        sandbox.add_room("11", "改名した部屋", "説明")
        sandbox.add_room("13", "新しい部屋")
        second = await sync(store, database, sandbox)
        third = await sync(store, database, sandbox)

    assert first == {"created": 3, "updated": 0, "total": 3}
    assert second == {"created": 1, "updated": 1, "total": 4}
    assert third == {"created": 0, "updated": 0, "total": 4}
    assert [(room.room_id, room.name, room.description) for room in await list_rooms(database)] == [
        ("10", "Room 10", None),
        ("12", "Room 12", None),
        ("11", "改名した部屋", "説明"),
        ("13", "新しい部屋", None),
    ]


async def test_new_rooms_take_part_in_the_messages_sync_only_if_the_setting_says_so(store: Store, database: Database) -> None:
    async with sandbox_of({"10": []}) as sandbox:
        await sync(store, database, sandbox, new_rooms_active=False)
        sandbox.add_room("11", "Room 11")
        await sync(store, database, sandbox, new_rooms_active=True)

    assert [(room.room_id, room.is_active) for room in await list_rooms(database)] == [("10", False), ("11", True)]


async def test_a_sync_without_rooms_completes(store: Store, database: Database) -> None:
    async with sandbox_of({}) as sandbox:
        assert await sync(store, database, sandbox) == {"created": 0, "updated": 0, "total": 0}


async def test_a_refusal_fails_the_attempt_and_a_bad_token_fails_the_job(store: Store, database: Database) -> None:
    async with sandbox_of({"10": []}) as sandbox:
        sandbox.fail(status=500, times=3)
        with pytest.raises(Refused, match=r"^Chatwork API error: 500$"):
            await sync(store, database, sandbox)
        sandbox.fail(status=401)
        with pytest.raises(Unauthorized, match=r"^Chatwork API error: 401$"):
            await sync(store, database, sandbox)

    assert await list_rooms(database) == []


async def test_an_attempt_that_is_over_stores_nothing(store: Store, database: Database) -> None:
    async with (
        sandbox_of({"10": []}) as sandbox,
        client_of(sandbox, database) as chatwork,
        running(store, resources_of(database, chatwork), CHATWORK_ROOMS_SYNC) as attempt,
    ):
        held = sandbox.hold()
        handling = attempt.start_handling()
        await held.arrived.wait()
        await attempt.cancel(store)
        held.release()

        with pytest.raises(AttemptOver):
            await handling

    assert await list_rooms(database) == []


async def test_without_a_token_the_job_fails_at_once(store: Store, database: Database) -> None:
    async with running(store, resources_of(database, None), CHATWORK_ROOMS_SYNC) as attempt:
        with pytest.raises(NoToken, match="CHATWORK_API_TOKEN is not set"):
            await attempt.handle()


def test_only_one_rooms_sync_is_active_at_a_time() -> None:
    assert CHATWORK_ROOMS_SYNC.unique is Unique.PER_TYPE
    assert (CHATWORK_ROOMS_SYNC.max_attempts, CHATWORK_ROOMS_SYNC.deadline) == (5, 600)
