"""The endpoints of both streams: one job's events, and the changes of all jobs.

Both send server-sent events.
"""

import contextlib
import time
from collections.abc import AsyncGenerator
from typing import Any, NamedTuple

import orjson
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from events.database import AWAY
from events.history import News
from events.job import ENDED, Canceled, Completed, Failed, Job, Recorded
from service.accounts.access_records import Action
from service.api.documents import event_json
from service.http.endpoint import Answer, Call, Endpoint, Who
from service.http.problems import Problem, bad_field
from service.http.request import Nothing
from service.live.job_watches import CHECK_EVERY, QUIET
from service.live.server_sent_events import RECONNECT, SIGN_OF_LIFE, server_sent_event

EVENT_STREAM = "text/event-stream"
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
NOTHING_NEW = b""
CHECKS = 3  # checks of the caller after which the events of a job are read again

Messages = AsyncGenerator[bytes, None]
"""Yields the bytes of a stream, piece by piece.

It yields `NOTHING_NEW` at least every `CHECK_EVERY` seconds.
"""


async def stream_job(call: Call[Any, Any], job: Job) -> Response:
    """Streams the job's events after `Last-Event-ID`, then each new event until the job ends.

    If the job has ended and no event is left to send, the response is 204: any other response would make a browser connect
    again for ever (HTML, 9.2.3). Raises `Problem` 400 if `Last-Event-ID` is not an id that this stream has sent.
    """
    after = _last_event_id(call.request, most_digits=10) or 0
    if after > job.seq:
        raise _never_sent()
    if job.status in ENDED and after >= job.seq:
        return Response(status_code=204)
    return await _stream(call, _events_of(call, job, after))


async def _events_of(call: Call[Any, Any], job: Job, after: int) -> Messages:
    watches, with_stack = call.context.job_watches, call.user.is_admin
    is_over = False
    with watches.watch(job.id) as watch:
        yield RECONNECT
        while not watches.closed:
            piece = _piece(await watches.news.get((job.id, after)), with_stack=with_stack)
            if piece is not None:
                yield piece.content
                after, is_over = piece.seq, piece.is_over
                if piece.more:
                    continue
            # `Failed` is the last event only if the job is not retried: otherwise `queued` is written in the same transaction.
            if is_over:
                return
            if piece is None and job.status in ENDED and after < job.seq:
                return  # The view says that the job has ended, but the log has no such event. So no further event will come.
            for _ in range(CHECKS):
                if await watch.changed(CHECK_EVERY):
                    break
                yield NOTHING_NEW


class _Piece(NamedTuple):
    """Some events of a job, as bytes.

    A client may read slowly, and the events themselves would take more memory meanwhile.
    """

    content: bytes
    seq: int
    """Of the last event."""
    is_over: bool
    """Whether the last event is the end of the job, if there is no further event."""
    more: bool


def _piece(news: News | None, *, with_stack: bool) -> _Piece | None:
    if news is None:
        return None
    last = news.events[-1]
    content = b"".join(_event_message(recorded, with_stack=with_stack) for recorded in news.events)
    return _Piece(content, last.seq, isinstance(last.event, Completed | Failed | Canceled), news.more)


def _event_message(recorded: Recorded, *, with_stack: bool) -> bytes:
    return server_sent_event(orjson.dumps(event_json(recorded, with_stack=with_stack)), event_id=recorded.seq)


async def stream_changes(call: Call[Nothing, Nothing]) -> Response:
    after = _last_event_id(call.request, most_digits=18)
    if call.user.reads_all:
        await call.record(Action.WATCH_JOBS, "jobs")
    return await _stream(call, _changes(call, after))


async def _changes(call: Call[Any, Any], after: int | None) -> Messages:
    feed = call.context.job_watches.feed
    with feed.watched(None if call.user.reads_all else call.user.id) as watcher:
        missed = await feed.beginning(watcher, after)
        yield RECONNECT
        async for piece in missed:
            yield piece
        while not watcher.ended:
            piece = await watcher.take(CHECK_EVERY)
            if piece or not watcher.ended:
                yield piece


async def _stream(call: Call[Any, Any], messages: Messages) -> Response:
    if call.request.method == "HEAD":
        return Response(headers=HEADERS, media_type=EVENT_STREAM)
    # The response starts after the first message, because from that message on the stream misses no change. So a client
    # that fetches a document after the start gets every later change from the stream.
    messages = _counted(call, messages)
    first = await anext(messages)
    return StreamingResponse(_while_allowed(call, first, messages), headers=HEADERS, media_type=EVENT_STREAM)


async def _counted(call: Call[Any, Any], messages: Messages) -> Messages:
    """Yields the messages, and counts the stream as open until it ends. Raises `OverLimit`."""
    async with call.context.limits.streams.held(call.user.id), contextlib.aclosing(messages):
        async for message in messages:
            yield message


async def _while_allowed(call: Call[Any, Any], first: bytes, messages: Messages) -> Messages:
    """Yields the messages until the session ends, the role changes, or the database is away.

    Then the stream ends. The client connects again and resumes, if the caller may still do so with the new role. Before
    each message, and every `CHECK_EVERY` seconds without a message, the caller's token is checked. After `QUIET`
    seconds without a message, a comment is sent to keep the connection open.
    """
    yield first
    sent_at = time.monotonic()
    async with contextlib.aclosing(messages):
        with contextlib.suppress(*AWAY):
            async for message in messages:
                if not await call.still_allowed():
                    return
                now = time.monotonic()
                if message or now - sent_at >= QUIET:
                    sent_at = now
                    yield message or SIGN_OF_LIFE


def _last_event_id(request: Request, *, most_digits: int) -> int | None:
    """Returns the header `Last-Event-ID` as a number, or None if it is missing or empty.

    Raises `Problem` 400 if it is not a number of at most `most_digits` digits.
    """
    text = request.headers.get("last-event-id", "").strip()
    if not text:
        return None
    if not text.isascii() or not text.isdecimal() or len(text) > most_digits:
        raise _never_sent()
    return int(text)


def _never_sent() -> Problem:
    return bad_field("Last-Event-ID", "must be an `id` that this stream has sent", 400)


ENDPOINTS = (
    Endpoint(
        "GET", "/api/jobs/stream", stream_changes, Who.SIGNED_IN,
        "Stream every change of each job that the caller may see: `event: change`, `data: {jobId, seq, attempt, status, type,"
        " userId}`. The same change may come twice. `event: position` has no data: its `id` says that every change up to this"
        " position was sent. `event: reset` answers a resume from too far back: fetch everything again.",
        {200: Answer(None, "The changes.", streams=(EVENT_STREAM,))},
        headers={"Last-Event-ID": "The last `id` that was received. The changes after it are sent first."},
    ),
)  # fmt: skip
