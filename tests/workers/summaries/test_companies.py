"""Companies, the rooms linked to them, and the company of each message."""

import asyncio
from collections.abc import Awaitable, Callable
from uuid import uuid4

import pytest

from events.database import Database
from tests.stored_messages import ANSWERED, a_room, as_chatwork_says, companies_of_messages, store, two_messages
from workers.chatwork.messages import store_messages
from workers.summaries.companies import (
    NameNotValid,
    NameTaken,
    RoomNotLinked,
    UnknownCompany,
    UnknownRoom,
    create_company,
    get_company,
    link_room,
    linked_rooms,
    list_companies,
    unlink_room,
)

WAITING = """
select count(*) from pg_stat_activity
where datname = current_database() and wait_event_type = 'Lock' and pid <> pg_backend_pid()
"""


async def somebody_waits_for_a_lock(database: Database) -> None:
    async with asyncio.timeout(4):
        while not await database.fetch_val(WAITING):  # noqa: ASYNC110 - the lock is in the database
            await asyncio.sleep(0.005)


async def test_companies_are_listed_by_name(database: Database) -> None:
    await create_company(database, "  Yamada Trading ")
    await create_company(database, "ABC商事")

    assert [company.name for company in await list_companies(database)] == ["ABC商事", "Yamada Trading"]


async def test_a_company_is_found_by_its_id(database: Database) -> None:
    created = await create_company(database, "ABC商事")

    assert await get_company(database, created.id) == created
    assert created.to_json()["name"] == "ABC商事"


async def test_a_company_that_does_not_exist_is_not_found(database: Database) -> None:
    unknown = str(uuid4())

    with pytest.raises(UnknownCompany, match=unknown):
        await get_company(database, unknown)
    with pytest.raises(UnknownCompany, match=unknown):
        await linked_rooms(database, unknown)


async def test_two_companies_may_not_have_the_same_name(database: Database) -> None:
    await create_company(database, "ABC商事")

    with pytest.raises(NameTaken, match="ABC商事"):
        await create_company(database, " ABC商事")


@pytest.mark.parametrize(
    ("one", "other"), [("ABC商事", "ＡＢＣ商事"), ("ガーデン", "ｶﾞｰﾃﾞﾝ"), ("Café", "Cafe\u0301"), ("A　B", "A B")]
)
async def test_names_that_differ_only_in_width_or_composition_are_the_same_name(
    database: Database, one: str, other: str
) -> None:
    made = await asyncio.gather(*(create_company(database, name) for name in (one, other)), return_exceptions=True)

    assert sorted(type(result).__name__ for result in made) == ["Company", "NameTaken"]


@pytest.mark.parametrize("name", ["", "   ", "\u200b\u2060", "\ufeff\u0301", "x" * 201])
async def test_an_invisible_or_too_long_name_is_refused(database: Database, name: str) -> None:
    with pytest.raises(NameNotValid):
        await create_company(database, name)


async def test_a_linked_room_is_listed_with_its_name(database: Database) -> None:
    company = await create_company(database, "ABC商事")
    await a_room(database, "2", "保守")
    await a_room(database, "1", "営業")

    linked = await link_room(database, company.id, "1")
    await link_room(database, company.id, "2")

    assert linked.to_json()["roomId"] == "1"
    assert [(room.room_id, room.name) for room in await linked_rooms(database, company.id)] == [("2", "保守"), ("1", "営業")]


async def test_the_messages_of_a_linked_room_belong_to_the_company(database: Database) -> None:
    company = await create_company(database, "ABC商事")
    await a_room(database, "1")
    await a_room(database, "2")
    await store(database, two_messages("1"))
    await store(database, two_messages("2"))

    await link_room(database, company.id, "1")

    assert await companies_of_messages(database, "1") == [company.id, company.id]
    assert await companies_of_messages(database, "2") == [None, None]


async def test_a_room_may_be_linked_twice_without_effect(database: Database) -> None:
    company = await create_company(database, "ABC商事")
    await a_room(database, "1")

    first = await link_room(database, company.id, "1")
    second = await link_room(database, company.id, "1")

    assert second == first
    assert len(await linked_rooms(database, company.id)) == 1


async def test_messages_of_a_room_linked_to_two_companies_belong_to_none(database: Database) -> None:
    one, other = await create_company(database, "ABC商事"), await create_company(database, "XYZ")
    await a_room(database, "1")
    await store(database, two_messages("1"))
    await link_room(database, one.id, "1")

    await link_room(database, other.id, "1")
    shared = await companies_of_messages(database, "1")
    await unlink_room(database, one.id, "1")

    assert shared == [None, None]
    assert await companies_of_messages(database, "1") == [other.id, other.id]


async def test_the_messages_of_an_unlinked_room_belong_to_no_company(database: Database) -> None:
    company = await create_company(database, "ABC商事")
    await a_room(database, "1")
    await store(database, two_messages("1"))
    await link_room(database, company.id, "1")

    await unlink_room(database, company.id, "1")

    assert await companies_of_messages(database, "1") == [None, None]
    assert await linked_rooms(database, company.id) == []


async def test_an_unknown_room_or_company_cannot_be_linked(database: Database) -> None:
    company = await create_company(database, "ABC商事")
    await a_room(database, "1")

    with pytest.raises(UnknownRoom, match="999"):
        await link_room(database, company.id, "999")
    with pytest.raises(UnknownCompany):
        await link_room(database, str(uuid4()), "1")

    assert await linked_rooms(database, company.id) == []


async def test_a_room_that_is_not_linked_cannot_be_unlinked(database: Database) -> None:
    company = await create_company(database, "ABC商事")
    await a_room(database, "1")

    with pytest.raises(RoomNotLinked, match="1"):
        await unlink_room(database, company.id, "1")
    with pytest.raises(RoomNotLinked):
        await unlink_room(database, company.id, "999")
    with pytest.raises(UnknownCompany):
        await unlink_room(database, str(uuid4()), "1")


class Held:
    """A statement in a transaction of another task, which commits on request."""

    def __init__(self, database: Database, effect: Callable[[], Awaitable[object]]) -> None:
        self._database = database
        self._effect = effect
        self._done, self._may_commit = asyncio.Event(), asyncio.Event()
        self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        async with self._database.transaction():
            await self._effect()
            self._done.set()
            await self._may_commit.wait()

    async def is_done(self) -> None:
        async with asyncio.timeout(4):
            await self._done.wait()

    async def commit(self) -> None:
        self._may_commit.set()
        await self._task


async def test_a_link_made_while_a_sync_is_storing_waits_and_gets_the_new_messages_too(database: Database) -> None:
    company = await create_company(database, "ABC商事")
    await a_room(database, "1")
    found = as_chatwork_says(two_messages("1"))
    sync = Held(database, lambda: store_messages(database, "1", found, ANSWERED))
    await sync.is_done()

    linking = asyncio.create_task(link_room(database, company.id, "1"))
    await somebody_waits_for_a_lock(database)
    await sync.commit()
    await linking

    assert await companies_of_messages(database, "1") == [company.id, company.id]


async def test_a_sync_that_stores_while_a_room_is_being_linked_waits_and_sees_the_link(database: Database) -> None:
    company = await create_company(database, "ABC商事")
    await a_room(database, "1")
    link = Held(database, lambda: link_room(database, company.id, "1"))
    await link.is_done()

    storing = asyncio.create_task(store(database, two_messages("1")))
    await somebody_waits_for_a_lock(database)
    await link.commit()
    await storing

    assert await companies_of_messages(database, "1") == [company.id, company.id]


async def test_messages_of_a_room_linked_to_two_companies_at_once_belong_to_none(database: Database) -> None:
    one, other = await create_company(database, "ABC商事"), await create_company(database, "XYZ")
    await a_room(database, "1")
    await store(database, two_messages("1"))
    first = Held(database, lambda: link_room(database, one.id, "1"))
    await first.is_done()

    second = asyncio.create_task(link_room(database, other.id, "1"))
    await somebody_waits_for_a_lock(database)
    await first.commit()
    await second

    assert await companies_of_messages(database, "1") == [None, None]
