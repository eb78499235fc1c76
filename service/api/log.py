"""`GET /api/events`: the whole log in order, for admins and auditors, as JSON or NDJSON."""

from collections.abc import AsyncIterator
from typing import Annotated, Any

import orjson
from pydantic import AfterValidator, Field
from starlette.responses import Response, StreamingResponse
from typing_extensions import TypedDict

from events.job import EVENT_TYPES, Recorded
from projections.changes import last_position
from projections.jobs import SHORT_ID
from projections.seal import seal_everything
from projections.search import EventFilter, first_events, last_events
from service.accounts.access_records import Action
from service.api.access import target_of
from service.api.documents import EventDocument, EventType, event_json
from service.http.endpoint import Answer, Call, Endpoint, Who, json_answer
from service.http.problems import bad_field
from service.http.query_fields import RequestIdOrShortId
from service.http.request import Fields, Nothing, wants

NDJSON = "application/x-ndjson"
AT_ONCE = 1000  # events in one query; one JSON response has no more than this either
DEFAULT_LIMIT = 100


def _known_event(name: str) -> str:
    if name not in EVENT_TYPES:
        raise ValueError(f"must be one of {', '.join(EVENT_TYPES)}")
    return name


class LogQuery(Fields):
    after: int = Field(default=0, ge=0, le=2**53, description="Only events after this position.")
    until: int | None = Field(default=None, ge=0, le=2**53, description="Only events up to this position. Default: the newest.")
    limit: int | None = Field(
        default=None,
        ge=1,
        le=2**53,
        description=f"The most events. As JSON at most {AT_ONCE}, default {DEFAULT_LIMIT}. As NDJSON any number, default all.",
    )
    latest: bool = Field(default=False, description="The newest `limit` events instead of the oldest. JSON only.")
    actor: str | None = Field(default=None, max_length=300, description="Only events of this actor.")
    type: Annotated[EventType, AfterValidator(_known_event)] | None = None
    job_id: RequestIdOrShortId | None = None


class ExportBroken(Exception):
    """The export ends before its last event: the session has ended, or the process stops.

    The connection is broken off, so that nobody takes a cut export for a whole export.
    """


class Searched(TypedDict):
    after: int
    until: int


class Log(TypedDict):
    events: list[EventDocument]
    searched: Searched


async def get_log(call: Call[LogQuery, Nothing]) -> Response:
    if call.context.sealer is not None:
        await seal_everything(call.context.sealer)
    query, until = await _with_whole_id(call), await last_position(call.context.database)
    until = until if query.until is None else min(query.until, until)
    if wants(call.request, "application/json", NDJSON) == NDJSON:
        if query.latest:
            raise bad_field("latest", f"must not come together with {NDJSON}")
        await call.record(Action.EXPORT_LOG, target_of("events", query))
        return StreamingResponse(_lines(call, query, until), media_type=NDJSON)
    limit = query.limit or DEFAULT_LIMIT
    if limit > AT_ONCE:
        raise bad_field("limit", f"must be at most {AT_ONCE}: for more, accept {NDJSON}")
    await call.record(Action.READ_LOG, target_of("events", query, leave_out={"after", "until", "limit", "latest"}))
    look = last_events if query.latest else first_events
    found = await look(call.context.database, _wanted(query), after=query.after, until=until, limit=limit)
    answer: Log = {
        "events": [event_json(recorded, with_stack=call.user.is_admin) for recorded in found.events],
        "searched": {"after": found.after, "until": found.until},
    }
    return json_answer(answer)


async def _with_whole_id(call: Call[LogQuery, Nothing]) -> LogQuery:
    """Returns the query with the whole id of the job, if it has a short one.

    Raises `Problem` 400 if no job or more than one has the short id.
    """
    short_id = call.query.job_id
    if short_id is None or not SHORT_ID.fullmatch(short_id):
        return call.query
    ids = await call.context.jobs.of_short_id(short_id)
    if len(ids) != 1:
        found = f"{len(ids)} ids end" if ids else "no job has an id that ends"
        raise bad_field("jobId", f"must be the whole id of a job: {found} in these digits", 400)
    return call.query.model_copy(update={"job_id": ids[0]})


async def _lines(call: Call[LogQuery, Any], query: LogQuery, until: int) -> AsyncIterator[bytes]:
    after, left = query.after, query.limit
    while after < until and left != 0:
        limit = AT_ONCE if left is None else min(AT_ONCE, left)
        if call.context.job_watches.closed:
            raise ExportBroken("the process stops")
        if not await call.still_allowed():
            raise ExportBroken("the session has ended")
        found = await first_events(call.context.database, _wanted(query), after=after, until=until, limit=limit)
        yield b"".join(_line(recorded, with_stack=call.user.is_admin) for recorded in found.events)
        left = None if left is None else left - len(found.events)
        after = found.until


def _wanted(query: LogQuery) -> EventFilter:
    return EventFilter(query.actor, query.type, query.job_id)


def _line(recorded: Recorded, *, with_stack: bool) -> bytes:
    return orjson.dumps(event_json(recorded, with_stack=with_stack)) + b"\n"


ENDPOINTS = (
    Endpoint(
        "GET", "/api/events", get_log, Who.READERS_OF_ALL,
        "The log in order. No event is skipped, even if it commits late. `searched` names the positions that were searched, from"
        " `after` (exclusive) to `until`. A search for rare events takes several calls: each starts where the last one ended.",
        {200: Answer(Log, "The events that fit.", streams=(NDJSON,))}, query=LogQuery,
    ),
)  # fmt: skip
