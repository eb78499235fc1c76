"""The whole log in order, for admins: a page as JSON, or all of it as a stream of lines."""

from collections.abc import AsyncIterator
from typing import Any

import orjson
from pydantic import Field
from starlette.responses import Response, StreamingResponse
from typing_extensions import TypedDict

from events.job import Recorded
from projections.seal import seal_everything
from service.endpoint import Answer, Call, Endpoint, Who, json_answer
from service.problems import bad_field
from service.requests import Fields, Nothing, wants
from service.views import EventDocument, event_json

NDJSON = "application/x-ndjson"
AT_ONCE = 1000  # events read together; also the most in one JSON answer
DEFAULT_LIMIT = 100


class LogQuery(Fields):
    after: int = Field(default=0, ge=0, le=2**53, description="The position after which to begin.")
    limit: int | None = Field(
        default=None,
        ge=1,
        le=2**53,
        description=f"At most {AT_ONCE} as JSON (default {DEFAULT_LIMIT}); as NDJSON any, default all.",
    )


class Log(TypedDict):
    events: list[EventDocument]


async def get_log(call: Call[LogQuery, Nothing]) -> Response:
    await seal_everything(call.parts.database)
    if wants(call.request, "application/json", NDJSON) == NDJSON:
        return StreamingResponse(_lines(call), media_type=NDJSON)
    limit = call.query.limit or DEFAULT_LIMIT
    if limit > AT_ONCE:
        raise bad_field("limit", f"should be at most {AT_ONCE}; for more ask for {NDJSON}")
    log = await call.parts.store.log(after=call.query.after, limit=limit)
    answer: Log = {"events": [event_json(recorded, with_stack=True) for recorded in log]}
    return json_answer(answer)


async def _lines(call: Call[LogQuery, Any]) -> AsyncIterator[bytes]:
    after, left = call.query.after, call.query.limit
    while not call.parts.live.closed:
        log = await call.parts.store.log(after=after, limit=AT_ONCE if left is None else min(AT_ONCE, left))
        yield b"".join(_line(recorded) for recorded in log)
        left = None if left is None else left - len(log)
        if len(log) < AT_ONCE or left == 0:
            return
        after = log[-1].position or after


def _line(recorded: Recorded) -> bytes:
    return orjson.dumps(event_json(recorded, with_stack=True)) + b"\n"


ENDPOINTS = (
    Endpoint(
        "GET", "/api/events", get_log, Who.ADMIN, "The whole log in order. An event that commits late is never skipped.",
        {200: Answer(Log, "The events after `after`.", streams=(NDJSON,))}, query=LogQuery,
    ),
)  # fmt: skip
