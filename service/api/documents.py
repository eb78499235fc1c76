"""Makes the JSON of jobs and events, and checks who may see a job.

Only admins get stack traces.
"""

import re
from datetime import datetime
from typing import Annotated, Any, NotRequired

from pydantic import StringConstraints, WithJsonSchema
from typing_extensions import TypedDict

from events.audit_findings import FindingName
from events.job import EVENT_TYPES, JSON, Job, JobError, Recorded, Status, Unreadable, rfc3339, word
from events.stored import event_data
from service.accounts.users import User

Time = Annotated[str, WithJsonSchema({"type": "string", "format": "date-time"})]
Id = Annotated[str, WithJsonSchema({"type": "string", "format": "uuid"})]
ROOM_ID = re.compile(r"0|[1-9][0-9]{0,37}")
ROOM_ID_SCHEMA = {"type": "string", "pattern": f"^({ROOM_ID.pattern})$"}
RoomId = Annotated[str, StringConstraints(pattern=f"^({ROOM_ID.pattern})$")]
"""Chatwork's id of a room: a string of digits."""

EventType = Annotated[str, WithJsonSchema({"type": "string", "enum": list(EVENT_TYPES)})]


class ErrorDocument(TypedDict):
    name: str
    message: str
    stack: NotRequired[str | None]


class JobDocument(TypedDict):
    id: Id
    type: str
    status: Status
    payload: JSON
    result: JSON
    error: ErrorDocument | None
    userId: Id | None
    attempt: int
    maxAttempts: int
    worker: str | None
    seq: int
    runAt: Time
    startedAt: Time | None
    finishedAt: Time | None
    createdAt: Time
    updatedAt: Time


class EventDocument(TypedDict):
    jobId: Id
    seq: int
    position: int | None
    type: EventType
    attempt: int
    actor: str
    requestId: str | None
    cause: str | None
    data: dict[str, Any]
    at: Time


class FindingDocument(TypedDict):
    name: Annotated[str, WithJsonSchema({"type": "string", "enum": [name.value for name in FindingName]})]
    jobId: Id | None
    seq: int | None
    position: int | None
    detail: str


def may_see(user: User, job: Job) -> bool:
    return user.reads_all or job.user_id == user.id


def job_json(job: Job, *, with_stack: bool) -> JobDocument:
    return {
        "id": job.id,
        "type": job.type,
        "status": job.status,
        "payload": job.payload,
        "result": job.result,
        "error": None if job.error is None else _error_json(job.error, with_stack=with_stack),
        "userId": job.user_id,
        "attempt": job.attempt,
        "maxAttempts": job.max_attempts,
        "worker": job.worker,
        "seq": job.seq,
        "runAt": rfc3339(job.run_at),
        "startedAt": optional_time(job.started_at),
        "finishedAt": optional_time(job.finished_at),
        "createdAt": rfc3339(job.created_at),
        "updatedAt": rfc3339(job.updated_at),
    }


def event_json(recorded: Recorded, *, with_stack: bool) -> EventDocument:
    data = event_data(recorded.event, recorded.at)
    if not with_stack and isinstance(recorded.event, Unreadable):
        data = {"unreadable": None}  # Any part of unreadable data may be a stack trace.
    elif not with_stack and "error" in data:
        data["error"].pop("stack", None)
    return {
        "jobId": recorded.job_id,
        "seq": recorded.seq,
        "position": recorded.position,
        "type": word(recorded.event),
        "attempt": recorded.attempt,
        "actor": recorded.actor,
        "requestId": recorded.request_id,
        "cause": recorded.cause,
        "data": data,
        "at": rfc3339(recorded.at),
    }


def optional_time(time: datetime | None) -> str | None:
    return None if time is None else rfc3339(time)


def _error_json(error: JobError, *, with_stack: bool) -> ErrorDocument:
    document: ErrorDocument = {"name": error.name, "message": error.message}
    if with_stack:
        document["stack"] = error.stack
    return document
