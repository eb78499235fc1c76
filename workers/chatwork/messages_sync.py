"""The job type `chatwork_messages_sync`: reads new messages of one or all active rooms.

`AT_ONCE` rooms are read at a time. Each room's answer is stored in its own short transaction.
`messages.py` says how marks keep a message from being lost before it is stored.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from pydantic import Field

from events.job import JSON
from workers.chatwork.answers import MessagesAnswer, complaint
from workers.chatwork.client import Chatwork, ChatworkError, connected
from workers.chatwork.gaps import gaps_of_job
from workers.chatwork.messages import Mark, leave_mark, leave_mark_again, store_failure, store_messages
from workers.chatwork.rooms import room_exists, rooms_to_sync, shortened
from workers.chatwork.waiting import waiting, waits_told
from workers.description import Part, TheRoom
from workers.job_type import Context, JobType, Payload, Unique
from workers.outcomes import AttemptOver, Final

AT_ONCE = 8  # rooms that are read at the same time


class MessagesSync(Payload):
    """`{roomId?, roomLimit?}`: one room by Chatwork's id, or at most `roomLimit` active rooms."""

    room_id: Annotated[str, Field(strict=True, pattern=r"^(0|[1-9][0-9]{0,37})$")] | None = None
    room_limit: Annotated[int, Field(strict=True, ge=1, le=2**31 - 1)] | None = None


def described(payload: MessagesSync) -> list[Part]:
    """Returns the room, or the most rooms, of a sync. A sync of all rooms needs no words."""
    if payload.room_id is not None:
        return [TheRoom(payload.room_id)]
    return [] if payload.room_limit is None else [f"≤ {payload.room_limit}"]


class UnknownRoom(Final):
    """No `chatwork_rooms_sync` has found a room with this id."""


async def sync_messages(context: Context, payload: MessagesSync) -> JSON:
    """Reads the rooms of the payload and stores their messages.

    The result is `{totalRooms, processedRooms, rooms: [{roomId, fetched}], errors: [{roomId,
    message}], gaps: [{roomId, afterMessageId, beforeMessageId, reason}]}`. `fetched` counts the
    readable messages of Chatwork's answer. A room is in `rooms` and in `errors` if only some of its
    messages are readable.

    Raises:
        NoToken: `CHATWORK_API_TOKEN` is not set.
        UnknownRoom: no room with the payload's id is known.
        Unauthorized: Chatwork refuses the token.
    """
    chatwork = connected(context.resources.chatwork)
    room_ids = await _rooms_asked_for(context, payload)
    total, processed = len(room_ids), 0
    fetched: dict[str, int] = {}
    errors: dict[str, str] = {}
    unread = iter(room_ids)

    async def read_waiting_rooms() -> None:
        nonlocal processed
        for room_id in unread:
            try:
                answer = await _read_room(context, chatwork, room_id)
                fetched[room_id] = len(answer.items)
                if answer.unreadable:
                    errors[room_id] = complaint(answer.unreadable)
            except ChatworkError as error:
                errors[room_id] = shortened(str(error))
            processed += 1
            await context.progress(so_far() | waiting(chatwork))

    def so_far() -> dict[str, JSON]:
        return {"totalRooms": total, "processedRooms": processed}

    await context.progress(so_far() | waiting(chatwork))
    async with waits_told(context, chatwork, so_far):
        await _run_at_once(read_waiting_rooms, min(AT_ONCE, total))
    return {
        "totalRooms": total,
        "processedRooms": processed,
        "rooms": [{"roomId": room_id, "fetched": fetched[room_id]} for room_id in room_ids if room_id in fetched],
        "errors": [{"roomId": room_id, "message": errors[room_id]} for room_id in room_ids if room_id in errors],
        "gaps": await gaps_of_job(context.database, context.job_id),
    }


async def _run_at_once(read: Callable[[], Coroutine[Any, Any, None]], readers: int) -> None:
    """Runs `read` in `readers` tasks at once. If tasks fail, raises the first error."""
    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(readers):
                group.create_task(read())
    except ExceptionGroup as several:
        # One error is raised instead of the group, because its class decides how the attempt ends
        # (a 401 forbids a retry).
        raise several.exceptions[0] from None


async def _rooms_asked_for(context: Context, payload: MessagesSync) -> list[str]:
    if payload.room_id is None:
        return await rooms_to_sync(context.database, limit=payload.room_limit)
    if not await room_exists(context.database, payload.room_id):
        raise UnknownRoom(f"no Chatwork room {payload.room_id} is known: sync the rooms first")
    return [payload.room_id]


async def _read_room(context: Context, chatwork: Chatwork, room_id: str) -> MessagesAnswer:
    """Reads one room and stores the answer.

    Raises:
        ChatworkError: the room could not be read; the error is stored on the room.
        AttemptOver: the attempt is over; nothing was stored.
    """
    database, job_id, attempt = context.database, context.job_id, context.attempt
    mark: Mark | None = None

    async def leave_our_mark() -> bool:
        nonlocal mark
        mark = await leave_mark(database, room_id, job_id=job_id, attempt=attempt)
        if mark is None:
            raise AttemptOver(f"attempt {attempt} of job {job_id} is over: room {room_id} was not read")
        return mark.needs_force

    try:
        answer = await chatwork.messages(room_id, before_request=leave_our_mark)
    except ChatworkError as error:
        assert mark is not None
        message = shortened(str(error))
        async with context.store():
            await store_failure(database, room_id, status=error.status, message=message, mark=mark)
        raise
    assert mark is not None, "each request leaves its mark first"
    try:
        async with context.store():
            await store_messages(database, room_id, answer, mark, job_id=job_id)
    except AttemptOver:
        await leave_mark_again(database, room_id, job_id=job_id, attempt=attempt)
        raise
    return answer


CHATWORK_MESSAGES_SYNC = JobType(
    name="chatwork_messages_sync",
    title="Sync messages",
    payload=MessagesSync,
    describe=described,
    run=sync_messages,
    deadline=3 * 60 * 60,
    unique=Unique.PER_PAYLOAD,
    calls="Chatwork",
)
