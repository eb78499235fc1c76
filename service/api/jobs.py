"""Endpoints that list and count jobs, and that read, cancel, force-fail and retry one job."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import orjson
from pydantic import Field
from pydantic.alias_generators import to_camel
from starlette.responses import Response
from typing_extensions import TypedDict

from events.audit_findings import FindingName
from events.job import BrokenHistory, Event, Job, JobError, Status, cancel, force_fail
from events.writes import Decision, UnknownJob
from projections.jobs import JobFilter
from service.accounts.access_records import Action
from service.api.access import record_chosen, record_list, record_read
from service.api.descriptions import DescribedJobDocument, described_jobs
from service.api.documents import EventDocument, event_json, may_see
from service.api.job_streams import EVENT_STREAM, stream_job
from service.api.queue_request import about_the_job, retry_for
from service.http.endpoint import Answer, Call, Endpoint, Who, json_answer
from service.http.problems import FieldError, Problem, bad_field, not_found
from service.http.query_fields import JobTypeName, RequestId, RequestIds, RequestTime, ShortId
from service.http.request import Fields, Nothing, read_id, wants

MOST_COUNTED = 1000  # jobs of one status; more are not counted
NDJSON = "application/x-ndjson"


class JobsQuery(Fields):
    type: JobTypeName | None = None
    status: Status | None = None
    limit: int = Field(default=20, ge=1, le=100)
    cursor: str | None = Field(default=None, description="`nextCursor` of the previous page.")
    created_after: RequestTime | None = None
    created_before: RequestTime | None = None
    user_id: RequestId | None = Field(default=None, description="Only jobs of this owner. For admins and auditors only.")
    ids: RequestIds | None = Field(
        default=None, description="Only these jobs, at most 100. Unknown ids are left out. Not together with other parameters."
    )
    short_id: ShortId | None = Field(
        default=None, description="Only jobs whose ids end in these eight digits. Not together with other parameters."
    )


class CountsQuery(Fields):
    type: JobTypeName | None = None
    user_id: RequestId | None = Field(default=None, description="Only jobs of this owner. For admins and auditors only.")
    created_after: RequestTime | None = None
    created_before: RequestTime | None = None


class JobQuery(Fields):
    seq: int | None = Field(default=None, description="The job after this event. Not together with `at`.")
    at: RequestTime | None = Field(default=None, description="The job at this time. Not together with `seq`.")


class Reason(Fields):
    reason: str = Field(default="ended by an admin", min_length=1, max_length=1000)


class JobsPage(TypedDict):
    jobs: list[DescribedJobDocument]
    nextCursor: str | None


class CountsByStatus(TypedDict):
    queued: int
    processing: int
    completed: int
    failed: int
    canceled: int


class Counts(TypedDict):
    counts: CountsByStatus
    most: int


class OneJob(TypedDict):
    job: DescribedJobDocument


class History(TypedDict):
    events: list[EventDocument]


async def list_jobs(call: Call[JobsQuery, Nothing]) -> Response:
    query = call.query
    if query.ids is not None:
        chosen = await _jobs_of_ids(call, query.ids)
        await record_chosen(call, chosen)
        return await _page_answer(call, chosen, None)
    if query.short_id is not None:
        chosen = await _jobs_of_short_id(call, query.short_id)
        await record_chosen(call, chosen)
        return await _page_answer(call, chosen, None)
    wanted = JobFilter(query.type, query.status, owner_wanted(call, query.user_id), query.created_after, query.created_before)
    page = await call.context.jobs.page(wanted, limit=query.limit, cursor=query.cursor)
    await record_list(call, user_id=query.user_id)
    return await _page_answer(call, page.jobs, page.next_cursor)


async def count_jobs(call: Call[CountsQuery, Nothing]) -> Response:
    query = call.query
    wanted = JobFilter(query.type, None, owner_wanted(call, query.user_id), query.created_after, query.created_before)
    counts = await call.context.jobs.capped_counts(wanted, most=MOST_COUNTED)
    return json_answer({"counts": {status.value: count for status, count in counts.items()}, "most": MOST_COUNTED})


async def get_job(call: Call[JobQuery, Nothing]) -> Response:
    if call.query.seq is not None and call.query.at is not None:
        errors: list[FieldError] = [
            {"path": "seq", "detail": "must not come together with `at`"},
            {"path": "at", "detail": "must not come together with `seq`"},
        ]
        raise Problem(400, "`seq` and `at` must not come together: give one of them.", errors)
    if call.query.seq is not None and call.query.seq < 1:
        raise bad_field("seq", "must be at least 1", 400)
    job = await visible_job(call)
    if call.query.seq is not None:
        job = await _job_after(call, job, call.query.seq)
    elif call.query.at is not None:
        job = await _job_at(call, job, call.query.at)
    return await _job_answer(call, job)


async def get_events(call: Call[Nothing, Nothing]) -> Response:
    job = await visible_job(call)
    media = wants(call.request, "application/json", EVENT_STREAM, NDJSON)
    if media == EVENT_STREAM:
        return await stream_job(call, job)
    history = await call.context.store.history.events(job.id)
    events = [event_json(recorded, with_stack=call.user.is_admin) for recorded in history]
    if media == NDJSON:
        await call.record(Action.EXPORT_JOB, f"job:{job.id}")
        headers = {"Content-Disposition": f'attachment; filename="job-{job.id}.ndjson"'}
        return Response(b"".join(orjson.dumps(event) + b"\n" for event in events), headers=headers, media_type=NDJSON)
    answer: History = {"events": events}
    return json_answer(answer)


async def cancel_job(call: Call[Nothing, Nothing]) -> Response:
    def decide(job: Job) -> list[Event]:
        return cancel(job, reason=cancel_reason(call, job))

    return await _job_answer(call, await _changed(call, decide))


async def force_fail_job(call: Call[Nothing, Reason]) -> Response:
    """Fails the running attempt. The job gets no further attempt, unless somebody retries it.

    The worker then cancels the handler, as it does when a job is canceled. Even if the handler ignores this, it can write no
    further event of this attempt.
    """
    error = JobError("ForceFailed", call.body.reason)

    def decide(job: Job) -> list[Event]:
        return force_fail(job, error=error)

    job = await _changed(call, decide)
    await call.record(Action.FORCE_FAIL_JOB, f"job:{job.id}")
    return await _job_answer(call, job)


async def retry_job(call: Call[Nothing, Nothing]) -> Response:
    job, headers = await retry_for(call, await visible_job(call))
    return await _job_answer(call, job, headers)


async def _changed(call: Call[Any, Any], decide: Decision) -> Job:
    """Appends the events of `decide` to the job of the path. Returns the changed job.

    Raises `Problem` 404 if the job does not exist or the caller may not see it. The store reads the job anyway, so this check
    needs no query of its own.
    """

    def decide_if_visible(job: Job) -> list[Event]:
        if not may_see(call.user, job):
            raise not_found("job")
        return decide(job)

    job_id = read_id(call.path("id"))
    try:
        job = await call.context.store.append(job_id, decide_if_visible, actor=call.actor, request_id=call.request_id)
    except UnknownJob:
        raise not_found("job") from None
    await record_read(call, job)
    return job


def cancel_reason(call: Call[Any, Any], job: Job) -> str:
    return "canceled by its owner" if job.user_id == call.user.id else "canceled by an admin"


async def visible_job(call: Call[Any, Any]) -> Job:
    """Returns the job of the path, and records the read if the job is another person's.

    Raises `Problem` 404 if the job does not exist, or if the caller may not see it.
    """
    job = await call.context.jobs.get(read_id(call.path("id")))
    if job is None or not may_see(call.user, job):
        raise not_found("job")
    await record_read(call, job)
    return job


def owner_wanted(call: Call[Any, Any], user_id: str | None) -> str | None:
    """Returns the owner to filter by, or None for all owners.

    `user_id` is the owner that the request names. An employee gets their own id. Raises `Problem`
    403 if an employee's request names an owner.
    """
    if call.user.reads_all:
        return user_id
    if user_id is not None:
        raise Problem(403, "Only an admin or an auditor may choose whose jobs to see.")
    return call.user.id


async def _jobs_of_ids(call: Call[JobsQuery, Nothing], ids: Sequence[str]) -> list[Job]:
    """Returns the jobs with these ids that the caller may see, newest first.

    Raises `Problem` 400 if the query has other parameters too.
    """
    _must_come_alone(call, "ids")
    found = await call.context.jobs.get_many(ids)
    return sorted((job for job in found if may_see(call.user, job)), key=lambda job: (job.created_at, job.id), reverse=True)


async def _jobs_of_short_id(call: Call[JobsQuery, Nothing], short_id: str) -> list[Job]:
    """Returns the jobs with this short id that the caller may see, newest first.

    Raises `Problem` 400 if the query has other parameters too.
    """
    _must_come_alone(call, "short_id")
    ids = await call.context.jobs.of_short_id(short_id, None if call.user.reads_all else call.user.id)
    found = {job.id: job for job in await call.context.jobs.get_many(ids)}
    return [found[job_id] for job_id in ids if job_id in found and may_see(call.user, found[job_id])]


def _must_come_alone(call: Call[JobsQuery, Nothing], name: str) -> None:
    """Raises `Problem` 400 if the query has parameters beside this one."""
    if others := call.query.model_fields_set - {name}:
        detail = f"must not come together with `{to_camel(name)}`"
        errors: list[FieldError] = [{"path": to_camel(other), "detail": detail} for other in sorted(others)]
        raise Problem(400, f"`{to_camel(name)}` must not come together with other parameters.", errors)


async def _job_after(call: Call[Any, Any], job: Job, seq: int) -> Job:
    if seq > job.seq:
        raise Problem(404, f"This job has no event {seq} yet: its last event is {job.seq}.")
    return _reaching(seq, await call.context.store.history.past(job.id, seq=seq), job)


async def _job_at(call: Call[Any, Any], job: Job, at: datetime) -> Job:
    if at < job.created_at:
        raise Problem(404, "This job was created later than `at`.")
    return _reaching(job.seq if at >= job.updated_at else 1, await call.context.store.history.past(job.id, at=at), job)


def _reaching(seq: int, past: Job | None, job: Job) -> Job:
    """Returns the past state `past` of `job`.

    Raises `BrokenHistory` if `past` does not reach event `seq`: the view knows this event, so the log must hold it.
    """
    reached = 0 if past is None else past.seq
    if past is None or reached < seq:
        raise BrokenHistory(f"event {reached + 1} is not in the log", FindingName.MISSING, job.id, reached + 1)
    return past


async def _page_answer(call: Call[Any, Any], jobs: Sequence[Job], next_cursor: str | None) -> Response:
    documents = await described_jobs(call.context.database, jobs, with_stack=call.user.is_admin)
    answer: JobsPage = {"jobs": documents, "nextCursor": next_cursor}
    return json_answer(answer)


async def _job_answer(call: Call[Any, Any], job: Job, headers: dict[str, str] | None = None) -> Response:
    (document,) = await described_jobs(call.context.database, [job], with_stack=call.user.is_admin)
    answer: OneJob = {"job": document}
    return json_answer(answer, headers=headers)


NEXT_PAGE = {"list_jobs": {"cursor": "$response.body#/nextCursor"}}
PROOF_OF_THE_FIRST = {"get_proof": {"id": "$response.body#/events/0/jobId", "seq": "$response.body#/events/0/seq"}}
ONE_JOB = {200: Answer(OneJob, "The job.", links=about_the_job("/job/id"))}

ENDPOINTS = (
    Endpoint(
        "GET", "/api/jobs", list_jobs, Who.SIGNED_IN, "List jobs, newest first. An employee gets only their own.",
        {200: Answer(JobsPage, "A page of jobs.", links=about_the_job("/jobs/0/id") | NEXT_PAGE)}, query=JobsQuery,
        problems=(403,),
    ),
    Endpoint(
        "GET", "/api/jobs/counts", count_jobs, Who.SIGNED_IN,
        "Count the jobs of each status, up to `most` each. An employee gets only their own.",
        {200: Answer(Counts, "The counts by status.")}, query=CountsQuery, problems=(403,),
    ),
    Endpoint(
        "GET", "/api/jobs/{id}", get_job, Who.SIGNED_IN, "One job, now or in the past. A broken history gets 409.",
        ONE_JOB, query=JobQuery, problems=(404, 409),
    ),
    Endpoint(
        "GET", "/api/jobs/{id}/events", get_events, Who.SIGNED_IN,
        "The history of a job. A stream sends the events after `Last-Event-ID`, and new ones until the job ends.",
        {
            200: Answer(History, "The events in order.", streams=(EVENT_STREAM, NDJSON), links=PROOF_OF_THE_FIRST),
            204: Answer(None, "The job has ended, and no event is left to send."),
        },
        problems=(404,), headers={"Last-Event-ID": "The last `id` that was received."},
    ),
    Endpoint(
        "POST", "/api/jobs/{id}/cancel", cancel_job, Who.CHANGERS, "Cancel a job that is queued or processing.", ONE_JOB,
        problems=(404, 409),
    ),
    Endpoint(
        "POST", "/api/jobs/{id}/force-fail", force_fail_job, Who.ADMIN,
        "Fail the running attempt of a stuck job for good.", ONE_JOB, body=Reason, problems=(404, 409),
    ),
    Endpoint(
        "POST", "/api/jobs/{id}/retry", retry_job, Who.CHANGERS, "Queue the next attempt of a failed or canceled job.", ONE_JOB,
        problems=(404, 409), queues=True,
    ),
)  # fmt: skip
