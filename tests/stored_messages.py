"""Rooms and messages in the database, put there as a sync puts them."""

from collections.abc import Sequence

from events.database import Database
from tests.messages import conversation
from workers.chatwork.client import MESSAGES, ChatworkMessage, ChatworkRoom
from workers.chatwork.messages import Mark, store_messages
from workers.chatwork.rooms import upsert_rooms
from workers.summaries.summary import Message

ANSWERED = Mark(id=0, over=(), needs_force=True)
"""The mark of a request that nobody else made."""


async def a_room(database: Database, room_id: str, name: str = "営業") -> str:
    await upsert_rooms(database, [ChatworkRoom(room_id=int(room_id), name=name)], new_rooms_active=True)
    return room_id


async def store(database: Database, messages: Sequence[Message]) -> None:
    """As a sync stores the messages of one room."""
    async with database.transaction():
        await store_messages(database, messages[0].room_id, as_chatwork_says(messages), ANSWERED)


def as_chatwork_says(messages: Sequence[Message]) -> list[ChatworkMessage]:
    return MESSAGES.validate_python(
        [
            {
                "message_id": message.message_id,
                "account": {"name": message.sender},
                "body": message.body,
                "send_time": int(message.sent_at.timestamp()),
            }
            for message in messages
        ]
    )


async def companies_of_messages(database: Database, room_id: str) -> list[str | None]:
    query = "select company_id from chatwork_messages where room_id = :room_id order by number"
    return [row["company_id"] for row in await database.fetch_all(query, {"room_id": room_id})]


def two_messages(room_id: str, *, first_id: int = 1000) -> list[Message]:
    return conversation(("田中", "見積書を送ります"), ("佐藤", "承知しました"), room_id=room_id, first_id=first_id)
