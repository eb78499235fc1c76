"""Stores Chatwork rooms and messages in the database as a sync stores them."""

from collections.abc import Iterable, Sequence

from events.database import Database
from tests.messages import conversation
from workers.chatwork.answers import ChatworkMessage, ChatworkRoom, MessagesAnswer
from workers.chatwork.messages import Mark, store_messages
from workers.chatwork.rooms import upsert_rooms
from workers.summaries.summary import Message

ANSWERED = Mark(id=0, over=(), needs_force=True)
"""A mark (note of a started request) that is not in the database, for answers made by a test."""


async def a_room(database: Database, room_id: str, name: str = "営業") -> str:
    await upsert_rooms(database, [ChatworkRoom(room_id, name)], new_rooms_active=True)
    return room_id


async def store(database: Database, messages: Sequence[Message]) -> None:
    """Stores the messages of one room, as a sync does."""
    async with database.transaction():
        await store_messages(database, messages[0].room_id, as_chatwork_says(messages), ANSWERED)


def as_chatwork_says(messages: Sequence[Message]) -> MessagesAnswer:
    """Returns an answer of Chatwork with these messages."""
    return answer_of(ChatworkMessage(each.message_id, each.sender, each.body, each.sent_at) for each in messages)


def answer_of(messages: Iterable[ChatworkMessage]) -> MessagesAnswer:
    """Returns an answer of Chatwork that is not full and not forced, so that it opens no gap."""
    items = tuple({message.message_id: message for message in messages}.values())
    return MessagesAnswer(items, given=1 if items else 0, message_ids=tuple(each.message_id for each in items), is_forced=False)


async def companies_of_messages(database: Database, room_id: str) -> list[str | None]:
    query = "select company_id from chatwork_messages where room_id = :room_id order by number"
    return [row["company_id"] for row in await database.fetch_all(query, {"room_id": room_id})]


def two_messages(room_id: str, *, first_id: int = 1000) -> list[Message]:
    return conversation(("田中", "見積書を送ります"), ("佐藤", "承知しました"), room_id=room_id, first_id=first_id)
