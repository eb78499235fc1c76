"""`GET /api/jobs/stream`: every change of a job that the caller may see, as server-sent events."""

import contextlib
import time
from collections.abc import AsyncIterator
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from events.database import AWAY
from events.job import ENDED, Canceled, Completed, Failed, Job, Recorded
from service.api.documents import event_json, may_see
from service.http.endpoint import Answer, Call, Endpoint, Who
from service.http.problems import bad_field
from service.http.request import Nothing
from service.live.job_watches import QUIET
from service.live.server_sent_events import RECONNECT, SIGN_OF_LIFE, server_sent_event

# Server-sent events -----------------------------------------------------------------------------------------------------------


def event_stream(call: Call[Any, Any], job: Job) -> Response:
    """The job's events after `Last-Event-ID`, then live until it ends. 204 where nothing is left to send, or a browser would
    reconnect for ever (HTML, 9.2.3)."""
    after = _seq_to_resume_from(call.request, job)
    if job.status in ENDED and after >= job.seq:
        return Response(status_code=204)
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(_events_of(call, job, after), headers=headers, media_type="text/event-stream")


async def _events_of(call: Call[Any, Any], job: Job, after: int) -> AsyncIterator[bytes]:
    context = call.context
    yield RECONNECT
    with context.live.watch(job.id) as watch, contextlib.suppress(*AWAY):
        while not context.live.closed:
            # What a caller may see is asked again each time: a stream outlives a logout.
            caller = await context.users.of_token(call.token or "")
            if caller is None or not may_see(caller, job):
                return
            history = await context.live.news.get((job.id, after)) or []
            for recorded in history:
                yield _event_message(recorded, with_stack=caller.is_admin)
                after = recorded.seq
            # A failure that is being retried is never the last: its `queued` came with it.
            if history and isinstance(history[-1].event, Completed | Failed | Canceled):
                return
            if not history:
                if job.status in ENDED and after < job.seq:
                    return  # the log lacks the end that the view has seen
                yield SIGN_OF_LIFE
            await watch.changed(QUIET)


def _event_message(recorded: Recorded, *, with_stack: bool) -> bytes:
    return server_sent_event(orjson.dumps(event_json(recorded, with_stack=with_stack)), id=recorded.seq)


def _seq_to_resume_from(request: Request, job: Job) -> int:
    text = request.headers.get("last-event-id", "").strip()
    if not text:
        return 0
    if not text.isascii() or not text.isdecimal() or len(text) > 10 or int(text) > job.seq:
        raise bad_field("Last-Event-ID", "is not the id of an event that was sent here", 400)
    return int(text)


EVENT_STREAM = "text/event-stream"
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
ASK_AGAIN = 5.0  # seconds after which a stream asks again what its caller may see


async def stream_changes(call: Call[Nothing, Nothing]) -> Response:
    after = _position_to_resume_from(call.request)
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
    live, was_admin = call.context.live, call.user.is_admin
    with live.feed.watched(None if was_admin else call.user.id) as watcher:
        yield RECONNECT + await live.feed.beginning(watcher, after)
        asked = time.monotonic()
        with contextlib.suppress(*AWAY):
            while not watcher.ended:
                piece = await watcher.take(QUIET)
                # A stream outlives a logout and a change of role; whoever may still see something comes again.
                if time.monotonic() - asked > ASK_AGAIN:
                    caller = await call.context.users.of_token(call.token or "")
                    if caller is None or caller.is_admin != was_admin:
                        return
                    asked = time.monotonic()
                if not watcher.ended:
                    yield piece or SIGN_OF_LIFE


def _position_to_resume_from(request: Request) -> int | None:
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
