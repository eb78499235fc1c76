"""`GET /api/audit/access`: who read, exported, verified, operated or changed what.

The functions at the end of this file decide which reads of jobs are recorded.
"""

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

from pydantic import Field
from starlette.responses import Response
from typing_extensions import TypedDict

from events.job import Job, rfc3339
from service.accounts.access_records import AccessFilter, AccessRecord, Action
from service.api.documents import Time
from service.http.endpoint import Answer, Call, Endpoint, Who, json_answer
from service.http.query_fields import RequestTime
from service.http.request import Fields, Nothing


class AccessQuery(Fields):
    actor: str | None = Field(default=None, max_length=300, description="Only what this actor did, such as `user:<id>`.")
    action: Action | None = None
    start: RequestTime | None = Field(default=None, alias="from", description="Only records of this time or later.")
    end: RequestTime | None = Field(default=None, alias="to", description="Only records before this time.")
    limit: int = Field(default=20, ge=1, le=100)
    cursor: str | None = Field(default=None, description="`nextCursor` of the previous page.")


class AccessDocument(TypedDict):
    id: int
    at: Time
    actor: str
    action: str
    target: str | None
    requestId: str | None
    address: str | None


class AccessPage(TypedDict):
    records: list[AccessDocument]
    nextCursor: str | None


async def list_access(call: Call[AccessQuery, Nothing]) -> Response:
    query = call.query
    wanted = AccessFilter(query.actor, query.action, query.start, query.end)
    records, next_cursor = await call.context.access_records.page(wanted, limit=query.limit, cursor=query.cursor)
    answer: AccessPage = {"records": [_json(record) for record in records], "nextCursor": next_cursor}
    return json_answer(answer)


def _json(record: AccessRecord) -> AccessDocument:
    access = record.access
    return {
        "id": record.id,
        "at": rfc3339(record.at),
        "actor": access.actor,
        "action": access.action,
        "target": access.target,
        "requestId": access.request_id,
        "address": access.address,
    }


# The reads that are recorded --------------------------------------------------------------------------------------------------


async def record_read(call: Call[Any, Any], job: Job) -> None:
    """Records that the caller reads this job, if it is another person's."""
    if _is_anothers(call, job):
        await call.record(Action.READ_JOB, f"job:{job.id}")


async def record_list(call: Call[Any, Any], *, user_id: str | None) -> None:
    """Records that the caller lists jobs, if the list may hold other people's.

    The record has the filters and not the rows: the page of a list that somebody scrolls through is
    the same read. `user_id` is the owner that the caller chose.
    """
    if call.user.reads_all and user_id != call.user.id:
        await call.record(Action.READ_JOBS, target_of("jobs", call.query, leave_out={"limit", "cursor"}))


async def record_chosen(call: Call[Any, Any], jobs: Sequence[Job]) -> None:
    """Records that the caller reads these jobs, which were chosen by their ids."""
    if others := sorted(job.id for job in jobs if _is_anothers(call, job)):
        await call.record(Action.READ_JOBS, f"jobs?ids={','.join(others)}")


async def record_proof(call: Call[Any, Any], job: Job, seq: int) -> None:
    """Records that the caller takes the proof of an event away, if the job is another person's."""
    if _is_anothers(call, job):
        await call.record(Action.EXPORT_JOB, f"proof:{job.id}/{seq}")


def target_of(name: str, fields: Fields, *, leave_out: set[str] | None = None) -> str:
    """Returns what a request asked for, such as `jobs?status=failed`.

    Fields without a value are left out.
    """
    given = fields.model_dump(mode="json", by_alias=True, exclude=leave_out, exclude_none=True)
    query = urlencode(sorted(given.items()), safe=":,")
    return f"{name}?{query}" if query else name


def _is_anothers(call: Call[Any, Any], job: Job) -> bool:
    return job.user_id is not None and job.user_id != call.user.id


ENDPOINTS = (
    Endpoint(
        "GET", "/api/audit/access", list_access, Who.READERS_OF_ALL,
        "Who read other people's jobs, exported, verified, operated or changed accounts.",
        {200: Answer(AccessPage, "A page of records, newest first.")}, query=AccessQuery,
    ),
)  # fmt: skip
