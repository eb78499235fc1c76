"""Jobs: list, look, look back in time, cancel, retry."""

import re
from datetime import datetime
from itertools import takewhile
from typing import Annotated, Any

from pydantic import AfterValidator, AwareDatetime, BeforeValidator, Field
from pydantic_core import PydanticCustomError
from starlette.responses import Response
from typing_extensions import TypedDict

from events.job import Event, Job, Status, cancel, fold, retry
from events.store import AlreadyActive
from projections.jobs import JobFilter
from service.endpoint import Answer, Call, Endpoint, Who, json_answer
from service.live import event_stream
from service.problems import FieldError, Problem, bad_field, not_found
from service.queueing import first_job, held, idempotency_of
from service.requests import Fields, Nothing, read_id, wants
from service.views import EventDocument, JobDocument, event_json, job_json, may_see
from workers.deliver import Hint
from workers.registry import JOB_TYPES

_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,6})?([Zz]|[+ -]\d\d:\d\d)")


def _read_time(text: str) -> str:
    """A `+` that was not escaped arrives as a space."""
    if not _RFC3339.fullmatch(text):
        raise PydanticCustomError("time_parsing", "should be a time like 2026-11-23T09:00:00Z")
    return text.replace(" ", "+")


def _representable(time: datetime) -> datetime:
    if not 1 < time.year < 9999:
        raise ValueError("should be a time in the years 2 to 9998")
    return time


def _known_type(name: str) -> str:
    if name not in JOB_TYPES:
        raise ValueError(f"should be one of {', '.join(JOB_TYPES)}")
    return name


RequestTime = Annotated[AwareDatetime, BeforeValidator(_read_time), AfterValidator(_representable)]
JobTypeName = Annotated[str, AfterValidator(_known_type), Field(json_schema_extra={"enum": list(JOB_TYPES)})]


class JobsQuery(Fields):
    type: JobTypeName | None = None
    status: Status | None = None
    limit: int = Field(default=20, ge=1, le=100)
    cursor: str | None = Field(default=None, description="`nextCursor` of the page before.")
    created_after: RequestTime | None = None
    created_before: RequestTime | None = None


class JobQuery(Fields):
    seq: int | None = Field(default=None, description="The job as it was after this event. Not together with `at`.")
    at: RequestTime | None = Field(default=None, description="The job as it was at this time.")


class JobsPage(TypedDict):
    jobs: list[JobDocument]
    nextCursor: str | None


class OneJob(TypedDict):
    job: JobDocument


class History(TypedDict):
    events: list[EventDocument]


async def list_jobs(call: Call[JobsQuery, Nothing]) -> Response:
    query = call.query
    owner = None if call.user.is_admin else call.user.id
    wanted = JobFilter(query.type, query.status, owner, query.created_after, query.created_before)
    page = await call.parts.jobs.page(wanted, limit=query.limit, cursor=query.cursor)
    answer: JobsPage = {
        "jobs": [job_json(job, with_stack=call.user.is_admin) for job in page.jobs],
        "nextCursor": page.next_cursor,
    }
    return json_answer(answer)


async def get_job(call: Call[JobQuery, Nothing]) -> Response:
    if call.query.seq is not None and call.query.at is not None:
        errors: list[FieldError] = [{"path": name, "detail": "not both"} for name in ("seq", "at")]
        raise Problem(400, "Give `seq` or `at`, not both.", errors)
    if call.query.seq is not None and call.query.seq < 1:
        raise bad_field("seq", "begins at 1", 400)
    job = await visible_job(call)
    if call.query.seq is not None:
        job = await _job_after(call, job, call.query.seq)
    elif call.query.at is not None:
        job = await _job_at(call, job, call.query.at)
    return _job_answer(call, job)


async def get_events(call: Call[Nothing, Nothing]) -> Response:
    job = await visible_job(call)
    # A HEAD would wait for the end of a stream that it does not get.
    if call.request.method == "GET" and wants(call.request, "application/json", "text/event-stream") == "text/event-stream":
        return event_stream(call, job)
    history = await call.parts.store.history(job.id)
    answer: History = {"events": [event_json(recorded, with_stack=call.user.is_admin) for recorded in history]}
    return json_answer(answer)


async def cancel_job(call: Call[Nothing, Nothing]) -> Response:
    job = await visible_job(call)
    reason = "canceled by its owner" if job.user_id == call.user.id else "canceled by an admin"

    def decide(job: Job) -> list[Event]:
        return cancel(job, reason=reason)

    job = await call.parts.store.append(job, decide, actor=call.actor, request_id=call.request_id)
    return _job_answer(call, job)


async def retry_job(call: Call[Nothing, Nothing]) -> Response:
    job = await visible_job(call)
    idempotency = idempotency_of(call)
    if await first_job(call, idempotency) is None:
        try:
            job = await call.parts.store.append(job, retry, actor=call.actor, request_id=call.request_id)
        except AlreadyActive as active:
            raise Problem(409, f"Cannot retry this job: job {active.job_id} does the same and is active.") from active
        call.parts.wire.push([Hint.of(job)])
        if idempotency is not None:
            await call.parts.store.bind_key(call.user.id, idempotency, job.id)
    job, headers = await held(call, job)
    return _job_answer(call, job, headers)


async def visible_job(call: Call[Any, Any]) -> Job:
    """The job of the address. Somebody else's is not there, for who is not an admin."""
    job = await call.parts.jobs.get(read_id(call.path("id")))
    if job is None or not may_see(call.user, job):
        raise not_found("job")
    return job


async def _job_after(call: Call[Any, Any], job: Job, seq: int) -> Job:
    history = await call.parts.store.history(job.id, limit=seq) if seq <= job.seq else []
    past = fold(history)
    if past is None:
        raise Problem(404, f"This job has no event {seq} yet: its last is {job.seq}.")
    return past


async def _job_at(call: Call[Any, Any], job: Job, at: datetime) -> Job:
    history = await call.parts.store.history(job.id)
    past = fold(takewhile(lambda recorded: recorded.at <= at, history))
    if past is None:
        raise Problem(404, "This job had not been created yet at that time.")
    return past


def _job_answer(call: Call[Any, Any], job: Job, headers: dict[str, str] | None = None) -> Response:
    answer: OneJob = {"job": job_json(job, with_stack=call.user.is_admin)}
    return json_answer(answer, headers=headers)


ONE_JOB = {200: Answer(OneJob, "The job.")}

ENDPOINTS = (
    Endpoint(
        "GET", "/api/jobs", list_jobs, Who.SIGNED_IN, "Jobs, newest first; an employee's own only.",
        {200: Answer(JobsPage, "A page of jobs.")}, query=JobsQuery,
    ),
    Endpoint(
        "GET", "/api/jobs/{id}", get_job, Who.SIGNED_IN, "One job, as it is or as it was.", ONE_JOB,
        query=JobQuery, problems=(404,),
    ),
    Endpoint(
        "GET", "/api/jobs/{id}/events", get_events, Who.SIGNED_IN,
        "All that happened to a job; as server-sent events from `Last-Event-ID` on, live until the job ends.",
        {
            200: Answer(History, "The events in order.", streams=("text/event-stream",)),
            204: Answer(None, "Nothing is left to stream: the job has ended."),
        },
        problems=(404,), headers={"Last-Event-ID": "The last `id` that was received."},
    ),
    Endpoint(
        "POST", "/api/jobs/{id}/cancel", cancel_job, Who.SIGNED_IN, "Cancel a job that is queued or processing.", ONE_JOB,
        problems=(404, 409),
    ),
    Endpoint(
        "POST", "/api/jobs/{id}/retry", retry_job, Who.SIGNED_IN, "Queue a failed or canceled job once more.", ONE_JOB,
        problems=(404, 409), queues=True,
    ),
)  # fmt: skip
