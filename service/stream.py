"""`GET /api/jobs/stream`: every change of a job that the caller may see, as server-sent events."""

import contextlib
import time
from collections.abc import AsyncIterator
from typing import Any

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from events.database import AWAY
from service.endpoint import Answer, Call, Endpoint, Who
from service.live import QUIET
from service.problems import bad_field
from service.requests import Nothing
from service.server_sent_events import RECONNECT, SIGN_OF_LIFE

EVENT_STREAM = "text/event-stream"
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
ASK_AGAIN = 5.0  # seconds after which a stream asks again what its caller may see


async def stream_changes(call: Call[Nothing, Nothing]) -> Response:
    after = _last_event_id(call.request)
    # A HEAD would wait for the end of a stream that it does not get.
    if call.request.method == "HEAD":
        return Response(headers=HEADERS, media_type=EVENT_STREAM)
    messages = _messages(call, after)
    # The answer begins when nothing can be missed any more: what a client fetches after that is never older than the stream.
    beginning = await anext(messages)
    return StreamingResponse(_after(beginning, messages), headers=HEADERS, media_type=EVENT_STREAM)


async def _after(beginning: bytes, messages: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield beginning
    async for message in messages:
        yield message


async def _messages(call: Call[Any, Any], after: int | None) -> AsyncIterator[bytes]:
    live, was_admin = call.parts.live, call.user.is_admin
    with live.feed.watched(None if was_admin else call.user.id) as watcher:
        yield RECONNECT + await live.feed.beginning(watcher, after)
        asked = time.monotonic()
        with contextlib.suppress(*AWAY):
            while not watcher.ended:
                piece = await watcher.take(QUIET)
                # A stream outlives a logout and a change of role; whoever may still see something comes again.
                if time.monotonic() - asked > ASK_AGAIN:
                    caller = await call.parts.users.of_token(call.token or "")
                    if caller is None or caller.is_admin != was_admin:
                        return
                    asked = time.monotonic()
                if not watcher.ended:
                    yield piece or SIGN_OF_LIFE


def _last_event_id(request: Request) -> int | None:
    text = request.headers.get("last-event-id", "").strip()
    if not text:
        return None
    if not text.isascii() or not text.isdecimal() or len(text) > 18:
        raise bad_field("Last-Event-ID", "is not the id of an event that was sent here", 400)
    return int(text)


ENDPOINTS = (
    Endpoint(
        "GET", "/api/jobs/stream", stream_changes, Who.SIGNED_IN,
        "Every change of a job that the caller may see, as it happens: `event: change`, `data: {jobId, seq, attempt, status, type,"
        " userId}`. A change may come twice. Now and then `event: position` says by its `id` that all up to it was sent, and is"
        " otherwise to be ignored. `event: reset` after a resume from too far back says: fetch all anew.",
        {200: Answer(None, "The changes.", streams=(EVENT_STREAM,))},
        headers={"Last-Event-ID": "The last `id` that was received: what came after it is sent first."},
    ),
)  # fmt: skip
