"""The tables of Chatwork rooms, messages and marks."""

import asyncio
import base64
from datetime import UTC, datetime

import pytest

from events.database import Database
from tests.job_types import until
from tests.stored_messages import answer_of
from workers.chatwork.answers import ChatworkMessage, ChatworkRoom
from workers.chatwork.messages import BadCursor, Mark, Message, assign_company, page_of_messages, store_messages
from workers.chatwork.rooms import (
    Upserted,
    get_room,
    list_rooms,
    room_exists,
    rooms_to_sync,
    set_active,
    upsert_rooms,
)

ANSWERED = Mark(id=0, over=(), needs_force=False)
START = 1_793_000_000
EARLY = base64.urlsafe_b64encode(b"0001-01-01T00:00:00+23:59 1").decode()


def room(room_id: int, name: str = "部屋", description: str | None = None) -> ChatworkRoom:
    return ChatworkRoom(str(room_id), name, description)


def message(number: int, body: str = "了解です", *, at: int | None = None, edited: int = 0) -> ChatworkMessage:
    sent_at = datetime.fromtimestamp(START + number if at is None else at, UTC)
    return ChatworkMessage(str(number), "佐藤", body, sent_at, datetime.fromtimestamp(edited, UTC) if edited else None)


async def rooms_of(database: Database, *room_ids: int) -> None:
    await upsert_rooms(database, [room(room_id) for room_id in room_ids], new_rooms_active=True)


async def store(database: Database, room_id: str, *messages: ChatworkMessage) -> None:
    async with database.transaction():
        await store_messages(database, room_id, answer_of(messages), ANSWERED)


async def stored(database: Database, room_id: str) -> list[Message]:
    return (await page_of_messages(database, room_id, limit=100)).messages


async def company_of(database: Database, *room_ids: str) -> str:
    id: str = await database.fetch_val("insert into companies (name) values (gen_random_uuid()::text) returning id")
    for room_id in room_ids:
        await link(database, id, room_id)
    return id


async def link(database: Database, company_id: str, room_id: str) -> None:
    values = {"company_id": company_id, "room_id": room_id}
    await database.execute("insert into company_chatwork_rooms (company_id, room_id) values (:company_id, :room_id)", values)


async def test_only_rooms_that_changed_count_as_updated(database: Database) -> None:
    first = await upsert_rooms(database, [room(1), room(2), room(3, description="旧")], new_rooms_active=True)
    again = await upsert_rooms(database, [room(1), room(2), room(3, description="旧")], new_rooms_active=True)
    third = await upsert_rooms(database, [room(1, "改名"), room(2), room(3, description="新"), room(4)], new_rooms_active=True)

    assert first == Upserted(created=3, updated=0, total=3)
    assert again == Upserted(created=0, updated=0, total=3)
    assert third == Upserted(created=1, updated=2, total=4)
    assert [(kept.room_id, kept.name, kept.description) for kept in await list_rooms(database)] == [
        ("1", "改名", None),
        ("2", "部屋", None),
        ("3", "部屋", "新"),
        ("4", "部屋", None),
    ]


async def test_an_empty_list_of_rooms_changes_nothing(database: Database) -> None:
    assert await upsert_rooms(database, [], new_rooms_active=True) == Upserted(0, 0, 0)


async def test_a_sync_never_changes_whether_a_known_room_takes_part(database: Database) -> None:
    await upsert_rooms(database, [room(1)], new_rooms_active=False)
    await upsert_rooms(database, [room(1, "改名"), room(2)], new_rooms_active=True)

    assert [(kept.room_id, kept.is_active) for kept in await list_rooms(database)] == [("1", False), ("2", True)]


async def test_two_upserts_of_the_same_rooms_at_once_do_not_collide(database: Database) -> None:
    rooms = [room(number, str(number)) for number in range(500)]

    results = await asyncio.gather(
        upsert_rooms(database, rooms, new_rooms_active=True), upsert_rooms(database, rooms[::-1], new_rooms_active=True)
    )

    assert (sum(result.created for result in results), sum(result.updated for result in results)) == (500, 0)
    assert len(await list_rooms(database)) == 500


async def test_rooms_that_did_not_change_are_not_locked(database: Database) -> None:
    await rooms_of(database, 1, 2)

    async with database.transaction():
        await store_messages(database, "1", answer_of([message(10)]), ANSWERED)
        upserting = asyncio.create_task(upsert_rooms(database, [room(1), room(2, "改名")], new_rooms_active=True))

        assert (await asyncio.wait_for(upserting, 4)).updated == 1


async def test_rooms_are_activated_and_deactivated(database: Database) -> None:
    await rooms_of(database, 1)
    [kept] = await list_rooms(database)

    changed = await set_active(database, kept.id, False)

    assert changed is not None
    assert not changed.is_active
    assert await get_room(database, kept.id) == changed
    assert await rooms_to_sync(database) == []
    assert await set_active(database, "00000000-0000-0000-0000-000000000000", True) is None


async def test_rooms_never_read_come_first_then_those_read_longest_ago(database: Database) -> None:
    for room_id in (30, 4, 200, 1, 9):
        await rooms_of(database, room_id)
    await store(database, "1")
    await store(database, "30")
    await rooms_of(database, 1000, 7)

    assert await rooms_to_sync(database) == ["4", "200", "9", "7", "1000", "1", "30"]
    assert await rooms_to_sync(database, limit=2) == ["4", "200"]
    assert await room_exists(database, "4")
    assert not await room_exists(database, "5")


async def test_a_message_is_stored_once_and_counted(database: Database) -> None:
    await rooms_of(database, 1, 2)

    await store(database, "1", message(10), message(11))
    await store(database, "1", message(11), message(12), message(12))

    assert [kept.message_id for kept in await stored(database, "1")] == ["12", "11", "10"]
    assert [kept.message_count for kept in await list_rooms(database)] == [3, 0]


async def test_the_last_message_id_is_the_greatest_number_and_only_rises(database: Database) -> None:
    await rooms_of(database, 1)

    await store(database, "1", message(999), message(1000), message(5))
    [kept] = await list_rooms(database)
    await store(database, "1", message(998))
    [later] = await list_rooms(database)

    assert kept.last_message_id == later.last_message_id == "1000"
    assert kept.last_sync_at is not None
    assert later.last_sync_at is not None
    assert later.last_sync_at > kept.last_sync_at


async def test_an_id_may_be_longer_than_any_integer(database: Database) -> None:
    await rooms_of(database, 1)

    await store(database, "1", message(10**37, at=START), message(10**37 - 1, at=START))

    assert [kept.message_id for kept in await stored(database, "1")] == [str(10**37), str(10**37 - 1)]


async def test_an_edit_is_stored_and_an_older_answer_does_not_undo_it(database: Database) -> None:
    await rooms_of(database, 1)

    await store(database, "1", message(10, "初稿"))
    await store(database, "1", message(10, "訂正", edited=START + 60))
    await store(database, "1", message(10, "初稿"))

    assert [kept.body for kept in await stored(database, "1")] == ["訂正"]


async def test_pages_are_newest_first_without_gaps_or_repetitions(database: Database) -> None:
    await rooms_of(database, 1, 2)
    await store(database, "1", *(message(number, at=START + number // 4) for number in range(95, 118)))
    await store(database, "2", message(1))

    seen, cursor, sizes = [], None, []
    while True:
        page = await page_of_messages(database, "1", limit=5, cursor=cursor)
        seen += [kept.message_id for kept in page.messages]
        sizes.append(len(page.messages))
        if (cursor := page.next_cursor) is None:
            break

    assert seen == [str(number) for number in range(117, 94, -1)]
    assert sizes == [5, 5, 5, 5, 3]
    assert (await stored(database, "1"))[0].sent_at == datetime.fromtimestamp(START + 29, UTC)


async def test_a_page_that_ends_with_the_last_message_has_no_next(database: Database) -> None:
    await rooms_of(database, 1)
    await store(database, "1", message(1), message(2))

    assert (await page_of_messages(database, "1", limit=2)).next_cursor is None
    assert (await page_of_messages(database, "1", limit=1)).next_cursor is not None
    assert await page_of_messages(database, "99", limit=2) == await page_of_messages(database, "98", limit=2)


@pytest.mark.parametrize(
    "cursor", ["", "x", "あ", "MjAyNg", "MjAyNi0xMS0yNCA1", "MjAyNi0xMS0yNFQwOTowMDowMCswMDowMCB4", "a" * 10_000, "\0", EARLY]
)
async def test_a_foreign_cursor_is_refused(database: Database, cursor: str) -> None:
    with pytest.raises(BadCursor):
        await page_of_messages(database, "1", limit=5, cursor=cursor)


async def test_a_message_gets_the_company_of_its_room_if_there_is_exactly_one(database: Database) -> None:
    await rooms_of(database, 1, 2, 3)
    company = await company_of(database, "1", "2")
    await company_of(database, "2")

    for room_id in ("1", "2", "3"):
        await store(database, room_id, message(10))

    assert [[kept.company_id for kept in await stored(database, room_id)] for room_id in ("1", "2", "3")] == [
        [company],
        [None],
        [None],
    ]


async def test_a_company_linked_while_messages_are_being_stored_gets_all_of_them(database: Database) -> None:
    await rooms_of(database, 1)
    company = await company_of(database)
    linked, go_on = asyncio.Event(), asyncio.Event()

    async def link_slowly() -> None:
        async with database.transaction():
            await link(database, company, "1")
            linked.set()
            await go_on.wait()
            await assign_company(database, "1")

    async def store_and_wait() -> None:
        async with database.transaction():
            await store_messages(database, "1", answer_of([message(10)]), ANSWERED)
            go_on.set()
            await somebody_waits_for_a_lock(database)

    await store(database, "1", message(9))
    linking = asyncio.create_task(link_slowly())
    await linked.wait()
    await asyncio.gather(linking, asyncio.create_task(store_and_wait()))

    assert [kept.company_id for kept in await stored(database, "1")] == [company, company]


async def test_messages_that_are_stored_while_their_room_is_linked_get_the_company(database: Database) -> None:
    await rooms_of(database, 1)
    company = await company_of(database)
    assigned = asyncio.Event()

    async def link_and_wait() -> None:
        async with database.transaction():
            await link(database, company, "1")
            await assign_company(database, "1")
            assigned.set()
            await somebody_waits_for_a_lock(database)

    linking = asyncio.create_task(link_and_wait())
    await assigned.wait()
    await asyncio.gather(linking, asyncio.create_task(store(database, "1", message(10))))

    assert [kept.company_id for kept in await stored(database, "1")] == [company]


async def test_two_tasks_that_store_the_same_messages_at_once_do_not_deadlock(database: Database) -> None:
    await rooms_of(database, 1)
    messages = [message(number) for number in range(100)]

    await asyncio.gather(*(store(database, "1", *messages[::step]) for step in (1, -1) * 5))

    assert len(await stored(database, "1")) == 100


async def somebody_waits_for_a_lock(database: Database) -> None:
    waits = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"

    async def somebody_waits() -> bool:
        # Within a transaction, PostgreSQL reads statistics only once, so the snapshot is cleared.
        await database.execute("select pg_stat_clear_snapshot()")
        return bool(await database.fetch_val(waits))

    await until(somebody_waits, within=4)
