"""Endpoints that queue Chatwork's syncs, and list rooms and messages."""

from typing import Annotated, Any

from pydantic import Field, WithJsonSchema
from starlette.responses import Response
from typing_extensions import TypedDict

from events.job import rfc3339
from service.accounts.access_records import Action
from service.api.documents import Id, RoomId, Time, optional_time
from service.api.queue_request import Queued, about_the_job, enqueue_for
from service.http.endpoint import Answer, Call, Endpoint, Who, json_answer
from service.http.problems import Problem, not_found
from service.http.query_fields import RequestTime
from service.http.request import Fields, Nothing, read_id
from workers.chatwork import messages, rooms
from workers.chatwork.gaps import Gap
from workers.chatwork.messages_sync import CHATWORK_MESSAGES_SYNC, MessagesSync
from workers.chatwork.rate_limit import Budget
from workers.chatwork.rooms import Room
from workers.chatwork.rooms_sync import CHATWORK_ROOMS_SYNC, RoomsSync


class MessagesSyncQuery(Fields):
    room_id: RoomId | None = Field(default=None, description="Sync only this room. Default: all active rooms.")
    room_limit: int | None = Field(
        default=None,
        ge=1,
        le=2**31 - 1,
        description="The most rooms to sync: rooms without a sync first, then the oldest sync first.",
    )


class PageQuery(Fields):
    limit: int = Field(default=20, ge=1, le=100)
    cursor: str | None = Field(default=None, description="`nextCursor` of the previous page.")


class RoomPatch(Fields):
    is_active: bool = Field(description="Whether the room takes part in the sync of all rooms.")


class SeenError(Fields):
    last_error_at: RequestTime = Field(description="`lastErrorAt` of the error that was seen. A later error stays.")


class BudgetDocument(TypedDict):
    """`used` of `limit` requests in any `window` seconds, over all processes."""

    limit: int
    window: float
    used: int
    nextFreeAt: Time | None
    """The time from which the oldest of the used requests counts no longer."""
    blockedUntil: Time | None
    """The end of a pause that Chatwork asked for."""


class OneBudget(TypedDict):
    budget: BudgetDocument | None


class GapDocument(TypedDict):
    """A place where messages may be missing: after one stored message and before another.

    `after…` is null if no older message is stored, `before…` if no newer one is.
    """

    afterMessageId: str | None
    beforeMessageId: str | None
    reason: Annotated[str, WithJsonSchema({"type": "string", "enum": ["over_100", "plan"]})]
    afterAt: Time | None
    beforeAt: Time | None


class RoomDocument(TypedDict):
    id: Id
    roomId: RoomId
    name: str
    description: str | None
    isActive: bool
    messageCount: int
    lastSyncAt: Time | None
    lastMessageId: str | None
    lastErrorAt: Time | None
    lastErrorStatus: int | None
    lastErrorMessage: str | None
    errorNeedsReview: bool
    gaps: list[GapDocument]


class Rooms(TypedDict):
    rooms: list[RoomDocument]


class OneRoom(TypedDict):
    room: RoomDocument


class MessageDocument(TypedDict):
    messageId: str
    sender: str | None
    body: str
    sentAt: Time
    companyId: Id | None


class MessagesPage(TypedDict):
    messages: list[MessageDocument]
    nextCursor: str | None


async def sync_rooms(call: Call[Nothing, Nothing]) -> Response:
    must_be_set_up(call)
    return await enqueue_for(call, CHATWORK_ROOMS_SYNC.name, RoomsSync())


async def sync_messages(call: Call[MessagesSyncQuery, Nothing]) -> Response:
    must_be_set_up(call)
    payload = MessagesSync(room_id=call.query.room_id, room_limit=call.query.room_limit)
    return await enqueue_for(call, CHATWORK_MESSAGES_SYNC.name, payload)


async def list_rooms(call: Call[Nothing, Nothing]) -> Response:
    answer: Rooms = {"rooms": [_room_json(room) for room in await rooms.list_rooms(call.context.database)]}
    return json_answer(answer)


async def change_room(call: Call[Nothing, RoomPatch]) -> Response:
    room = await rooms.set_active(call.context.database, read_id(call.path("id")), call.body.is_active)
    if room is None:
        raise not_found("room")
    await call.record(Action.SWITCH_ROOM, f"room:{room.room_id} active={'true' if call.body.is_active else 'false'}")
    answer: OneRoom = {"room": _room_json(room)}
    return json_answer(answer)


async def see_error(call: Call[Nothing, SeenError]) -> Response:
    room = await rooms.see_error(call.context.database, read_id(call.path("id")), until=call.body.last_error_at)
    if room is None:
        raise not_found("room")
    await call.record(Action.CONFIRM_ROOM_ERROR, f"room:{room.room_id} until={rfc3339(call.body.last_error_at)}")
    answer: OneRoom = {"room": _room_json(room)}
    return json_answer(answer)


async def list_messages(call: Call[PageQuery, Nothing]) -> Response:
    room = await rooms.get_room(call.context.database, read_id(call.path("id")))
    if room is None:
        raise not_found("room")
    query = call.query
    page = await messages.page_of_messages(call.context.database, room.room_id, limit=query.limit, cursor=query.cursor)
    answer: MessagesPage = {
        "messages": [
            {
                "messageId": message.message_id,
                "sender": message.sender,
                "body": message.body,
                "sentAt": rfc3339(message.sent_at),
                "companyId": message.company_id,
            }
            for message in page.messages
        ],
        "nextCursor": page.next_cursor,
    }
    return json_answer(answer)


async def get_budget(call: Call[Nothing, Nothing]) -> Response:
    chatwork = call.context.resources.chatwork
    answer: OneBudget = {"budget": None if chatwork is None else _budget_json(await chatwork.budget.state())}
    return json_answer(answer)


def must_be_set_up(call: Call[Any, Any]) -> None:
    """Raises `Problem` 400 if this service has no Chatwork token."""
    if call.context.resources.chatwork is None:
        raise Problem(
            400, "Chatwork is not set up: the variable CHATWORK_API_TOKEN is missing. Set it and restart the service."
        )


def _budget_json(budget: Budget) -> BudgetDocument:
    return {
        "limit": budget.limit,
        "window": budget.window,
        "used": budget.used,
        "nextFreeAt": optional_time(budget.next_free_at),
        "blockedUntil": optional_time(budget.blocked_until),
    }


def _room_json(room: Room) -> RoomDocument:
    return {
        "id": room.id,
        "roomId": room.room_id,
        "name": room.name,
        "description": room.description,
        "isActive": room.is_active,
        "messageCount": room.message_count,
        "lastSyncAt": optional_time(room.last_sync_at),
        "lastMessageId": room.last_message_id,
        "lastErrorAt": optional_time(room.last_error_at),
        "lastErrorStatus": room.last_error_status,
        "lastErrorMessage": room.last_error_message,
        "errorNeedsReview": room.error_needs_review,
        "gaps": [_gap_json(gap) for gap in room.gaps],
    }


def _gap_json(gap: Gap) -> GapDocument:
    return {
        "afterMessageId": gap.after_message_id,
        "beforeMessageId": gap.before_message_id,
        "reason": gap.reason,
        "afterAt": optional_time(gap.after_at),
        "beforeAt": optional_time(gap.before_at),
    }


NEXT_PAGE = {"list_messages": {"id": "$request.path.id", "cursor": "$response.body#/nextCursor"}}
ABOUT_THE_FIRST_ROOM = {name: {"id": "$response.body#/rooms/0/id"} for name in ("change_room", "see_error", "list_messages")}
QUEUED = {202: Answer(Queued, "The new job, or the active one of the same kind.", links=about_the_job("/jobId"))}

ENDPOINTS = (
    Endpoint(
        "GET", "/api/chatwork/budget", get_budget, Who.READERS_OF_ALL, "How many requests to Chatwork are left for now.",
        {200: Answer(OneBudget, "The budget of the token, or null without a token.")},
    ),
    Endpoint(
        "POST", "/api/chatwork/rooms/sync", sync_rooms, Who.ADMIN, "Queue a sync of Chatwork's list of rooms.", QUEUED, queues=True,
    ),
    Endpoint(
        "POST", "/api/chatwork/messages/sync", sync_messages, Who.ADMIN, "Queue a sync of Chatwork's messages.", QUEUED,
        query=MessagesSyncQuery, queues=True,
    ),
    Endpoint(
        "GET", "/api/chatwork/rooms", list_rooms, Who.READERS_OF_ALL, "The stored rooms.",
        {200: Answer(Rooms, "The rooms by name.", links=ABOUT_THE_FIRST_ROOM)},
    ),
    Endpoint(
        "PATCH", "/api/chatwork/rooms/{id}", change_room, Who.ADMIN, "Switch a room's part in the sync of all rooms on or off.",
        {200: Answer(OneRoom, "The room.")}, body=RoomPatch, problems=(404,),
    ),
    Endpoint(
        "POST", "/api/chatwork/rooms/{id}/error/seen", see_error, Who.ADMIN,
        "Confirm that a person has seen a room's unreadable items (`errorNeedsReview`). This clears the error.",
        {200: Answer(OneRoom, "The room.")}, body=SeenError, problems=(404,),
    ),
    Endpoint(
        "GET", "/api/chatwork/rooms/{id}/messages", list_messages, Who.READERS_OF_ALL, "A room's messages, newest first.",
        {200: Answer(MessagesPage, "A page of messages.", links=NEXT_PAGE)}, query=PageQuery, problems=(404,),
    ),
)  # fmt: skip
