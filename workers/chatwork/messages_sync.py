"""The job type `chatwork_messages_sync`: what is new in one room, or in all active rooms.

Rooms are read several at a time, each stored in a short transaction of its own. What keeps messages from being lost between
Chatwork's answer and our store stands in `messages.py`.
"""

import asyncio
from typing import Annotated

from pydantic import Field

from events.job import JSON
from workers.chatwork.answers import MessagesAnswer, complaint
from workers.chatwork.client import Chatwork, ChatworkError, connected
from workers.chatwork.gaps import gaps_of_job
from workers.chatwork.messages import Mark, leave_mark, leave_mark_again, store_failure, store_messages
from workers.chatwork.rooms import room_exists, rooms_to_sync, shortened
from workers.job_type import Context, JobType, Payload, Unique
from workers.outcomes import AttemptOver, Final

AT_ONCE = 8


class MessagesSync(Payload):
    """`{roomId?, roomLimit?}`: one room (Chatwork's id), or at most so many of the active ones."""

    room_id: Annotated[str, Field(strict=True, pattern=r"^(0|[1-9][0-9]{0,37})$")] | None = None
    room_limit: Annotated[int, Field(strict=True, ge=1, le=2**31 - 1)] | None = None


class UnknownRoom(Final):
    """No room of this id has been found by a rooms sync."""


async def sync_messages(context: Context, payload: MessagesSync) -> JSON:
    """The result: `{totalRooms, processedRooms, rooms: [{roomId, fetched}], errors: [{roomId, message}], gaps: [{roomId,
    afterMessageId, beforeMessageId, reason}]}`. `fetched` counts the messages that Chatwork gave and that can be read; a room
    stands in `rooms` and in `errors` where others of its messages cannot."""
    chatwork = connected(context.resources.chatwork)
    room_ids = await _rooms_asked_for(context, payload)
    total, processed = len(room_ids), 0
    fetched: dict[str, int] = {}
    errors: dict[str, str] = {}
    waiting = iter(room_ids)

    async def read_waiting_rooms() -> None:
        nonlocal processed
        for room_id in waiting:
            try:
                answer = await _read_room(context, chatwork, room_id)
                fetched[room_id] = len(answer.items)
                if answer.unreadable:
                    errors[room_id] = complaint(answer.unreadable)
            except ChatworkError as error:
                errors[room_id] = shortened(str(error))
            processed += 1
            await context.progress({"totalRooms": total, "processedRooms": processed})

    await context.progress({"totalRooms": total, "processedRooms": 0})
    try:
        async with asyncio.TaskGroup() as readers:
            for _ in range(min(AT_ONCE, total)):
                readers.create_task(read_waiting_rooms())
    except ExceptionGroup as several:
        # One is enough to say how the attempt ended, and a 401 must be seen as what it is.
        raise several.exceptions[0] from None
    return {
        "totalRooms": total,
        "processedRooms": processed,
        "rooms": [{"roomId": room_id, "fetched": fetched[room_id]} for room_id in room_ids if room_id in fetched],
        "errors": [{"roomId": room_id, "message": errors[room_id]} for room_id in room_ids if room_id in errors],
        "gaps": await gaps_of_job(context.database, context.job_id),
    }


async def _rooms_asked_for(context: Context, payload: MessagesSync) -> list[str]:
    if payload.room_id is None:
        return await rooms_to_sync(context.database, limit=payload.room_limit)
    if not await room_exists(context.database, payload.room_id):
        raise UnknownRoom(f"no Chatwork room {payload.room_id} is known: sync the rooms first")
    return [payload.room_id]


async def _read_room(context: Context, chatwork: Chatwork, room_id: str) -> MessagesAnswer:
    """Reads one room and stores what came. Raises `ChatworkError` once that is kept on the room."""
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
    assert mark is not None, "no request goes out without its mark"
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
    run=sync_messages,
    deadline=3 * 60 * 60,
    unique=Unique.PER_PAYLOAD,
    calls="Chatwork",
)
