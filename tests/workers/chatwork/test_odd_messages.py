"""Malformed items among good ones in Chatwork's answers.

The good items are stored. The room's error names the malformed ones until a person confirms it.
"""

from datetime import timedelta
from typing import Any

import pytest

from events.database import Database
from events.store import Store
from tests.chatwork_server import client_of, resources_of, sandbox_of
from tests.handler_context import running
from tests.workers.chatwork.syncs import World, world_of
from workers.chatwork.client import Unreadable
from workers.chatwork.messages import page_of_messages
from workers.chatwork.rooms import Room, list_rooms, see_error
from workers.chatwork.rooms_sync import CHATWORK_ROOMS_SYNC
from workers.chatwork.sandbox import Sandbox


async def room_of(world: World) -> Room:
    return (await world.rooms())["10"]


async def seen(world: World, *, before: bool = False) -> Room:
    room = await room_of(world)
    assert room.last_error_at is not None
    until = room.last_error_at - timedelta(microseconds=1) if before else room.last_error_at
    await see_error(world.database, room.id, until=until)
    return await room_of(world)


async def test_a_message_without_a_sender_is_stored_beside_the_others(store: Store, database: Database) -> None:
    async with world_of(store, database, sandbox_of({"10": ["一"]})) as world:
        world.sandbox.say_oddly("10", {"account": None})
        world.sandbox.say_oddly("10", {"account": {"account_id": 1}})
        world.sandbox.say("10", "二")
        result = await world.sync()
        page = await page_of_messages(database, "10", limit=10)

    assert result["errors"] == []
    assert [message.sender for message in page.messages] == ["Sandbox", None, None, "Sandbox"]


@pytest.mark.parametrize("odd", [{"body": None}, {"send_time": "soon"}, {"send_time": None}, {"body": ["極秘"]}])
async def test_an_unreadable_message_is_reported_and_the_others_are_stored(
    store: Store, database: Database, odd: dict[str, Any]
) -> None:
    async with world_of(store, database, sandbox_of({"10": ["一"], "11": ["三"]})) as world:
        bad = world.sandbox.say_oddly("10", odd)
        world.sandbox.say("10", "二")
        result = await world.sync()
        room, bodies, marks = await room_of(world), await world.bodies("10"), await world.marks()

    assert bodies == ["一", "二"]
    assert marks == []
    assert result["rooms"] == [{"roomId": "10", "fetched": 2}, {"roomId": "11", "fetched": 1}]
    assert [error["roomId"] for error in result["errors"]] == ["10"]
    assert f"message {bad} (" in result["errors"][0]["message"]
    assert room.last_error_message == result["errors"][0]["message"]
    assert "極秘" not in str(room.last_error_message)
    assert (room.last_error_status, room.error_needs_review) == (None, True)
    assert room.last_sync_at is not None


async def test_the_error_of_a_room_stays_after_good_syncs_until_a_person_confirms_it(store: Store, database: Database) -> None:
    async with world_of(store, database, sandbox_of({"10": ["一"]})) as world:
        bad = world.sandbox.say_oddly("10", {"body": None})
        await world.sync()
        for number in range(120):
            world.sandbox.say("10", str(number))
        await world.sync()
        await world.sync()
        kept = await room_of(world)
        not_yet = await seen(world, before=True)
        gone = await seen(world)
        await world.sync()
        later = await room_of(world)

    assert f"message {bad} (" in (kept.last_error_message or "")
    assert not_yet == kept
    assert (gone.last_error_at, gone.last_error_message, gone.error_needs_review) == (None, None, False)
    assert later.last_error_at is None


async def test_a_failure_of_the_room_is_shown_first_and_the_unreadable_messages_after_it(
    store: Store, database: Database
) -> None:
    async with world_of(store, database, sandbox_of({"10": ["一"]})) as world:
        bad = world.sandbox.say_oddly("10", {"body": None})
        await world.sync()
        world.sandbox.fail(status=403, room_id="10")
        await world.sync()
        failed = await room_of(world)
        await world.sync()
        again = await room_of(world)

    assert (failed.last_error_message, failed.last_error_status) == ("Chatwork API error: 403", 403)
    assert not failed.error_needs_review
    assert f"message {bad} (" in (again.last_error_message or "")
    assert again.error_needs_review


async def test_a_confirmed_message_is_not_reported_again_but_another_one_is(store: Store, database: Database) -> None:
    async with world_of(store, database, sandbox_of({"10": ["一"]})) as world:
        first = world.sandbox.say_oddly("10", {"body": None})
        await world.sync()
        await seen(world)
        world.sandbox.say("10", "二")
        world.sandbox.drop(given=True)
        same = await world.sync()
        quiet = await room_of(world)
        second = world.sandbox.say_oddly("10", {"send_time": -1})
        await world.sync()
        told = await room_of(world)

    assert f"message {first} (" in same["errors"][0]["message"]
    assert quiet.last_error_at is None
    assert f"message {second} (" in (told.last_error_message or "")
    assert f"message {first} (" not in (told.last_error_message or "")


async def test_the_error_about_a_hundred_unreadable_messages_fits_in_the_room_s_column(
    store: Store, database: Database
) -> None:
    async with world_of(store, database, sandbox_of({"10": []})) as world:
        bad = [world.sandbox.say_oddly("10", {"body": None}) for _ in range(99)]
        result = await world.sync()
        room = await room_of(world)

    assert all(f"message {message_id} (" in result["errors"][0]["message"] for message_id in bad)
    assert result["rooms"] == [{"roomId": "10", "fetched": 0}]
    assert len(room.last_error_message or "") == 500


async def test_an_answer_that_is_not_a_list_is_an_error_and_the_mark_stays(store: Store, database: Database) -> None:
    async with world_of(store, database, sandbox_of({"10": ["一"]})) as world:
        await world.sync()
        world.sandbox.say("10", "二")
        world.sandbox.answer(b'{"messages": []}', room_id="10")
        result = await world.sync()
        marks = await world.marks()
        await world.sync()
        room, bodies = await room_of(world), await world.bodies("10")

    assert result["errors"] == [{"roomId": "10", "message": "Chatwork's answer cannot be read: it is not a JSON array"}]
    assert len(marks) == 1
    assert bodies == ["一", "二"]
    assert room.last_error_at is None


async def sync_rooms(store: Store, database: Database, sandbox: Sandbox) -> Any:
    async with (
        client_of(sandbox, database) as chatwork,
        running(store, resources_of(database, chatwork), CHATWORK_ROOMS_SYNC) as attempt,
    ):
        return await attempt.handle()


async def test_a_room_without_a_name_keeps_its_old_one_and_is_reported(store: Store, database: Database) -> None:
    async with sandbox_of({"10": [], "11": []}) as sandbox:
        await sync_rooms(store, database, sandbox)
        sandbox.distort_room("10", {"name": None})
        sandbox.add_room("11", "改名した部屋")
        sandbox.add_room("12", "新しい部屋")
        sandbox.distort_room("12", {"name": None})
        result = await sync_rooms(store, database, sandbox)
        again = await sync_rooms(store, database, sandbox)
        rooms = {room.room_id: room for room in await list_rooms(database)}

    assert result == {"created": 1, "updated": 1, "total": 3}
    assert again == {"created": 0, "updated": 0, "total": 3}
    assert {room_id: room.name for room_id, room in rooms.items()} == {"10": "Room 10", "11": "改名した部屋", "12": "#12"}
    assert {room_id for room_id, room in rooms.items() if room.error_needs_review} == {"10", "12"}
    assert "the room's name (`name` is missing" in (rooms["10"].last_error_message or "")


async def test_a_room_without_an_id_is_logged_and_the_others_are_stored(
    store: Store, database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    async with sandbox_of({"10": [], "11": [], "12": []}) as sandbox:
        sandbox.distort_room("10", {"room_id": None})
        sandbox.distort_room("11", {"room_id": "11"})
        result = await sync_rooms(store, database, sandbox)

    assert result == {"created": 2, "updated": 0, "total": 2}
    assert "rooms without an id were left out" in capsys.readouterr().out


async def test_an_answer_without_any_readable_room_fails_the_sync(store: Store, database: Database) -> None:
    async with sandbox_of({"10": []}) as sandbox:
        sandbox.distort_room("10", {"room_id": None})

        with pytest.raises(Unreadable, match="none of its 1 rooms can be read"):
            await sync_rooms(store, database, sandbox)
