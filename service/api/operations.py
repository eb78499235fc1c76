"""Endpoints that list workers and job types, and that pause and resume a job type."""

from datetime import timedelta
from typing import Any, Literal

from pydantic import Field
from starlette.responses import Response
from typing_extensions import TypedDict

from events.job import rfc3339
from service.accounts.access_records import Action
from service.api.access import target_of
from service.api.documents import Id, Time, optional_time
from service.http.endpoint import Answer, Call, Endpoint, Who, json_answer
from service.http.problems import bad_field, not_found
from service.http.query_fields import RequestTime, job_type_names
from service.http.request import Fields, Nothing
from workers.job_type import JobType
from workers.liveness.heartbeat import LEASE
from workers.liveness.worker_table import Presence, Running, StuckHandler, WorkerSeen, workers_seen
from workers.pauses import OverAlready, Pause, Pauses
from workers.registry import JOB_TYPES

REMEMBERED = timedelta(days=1)  # the list keeps a worker for this time after it has gone


class PauseDocument(TypedDict):
    since: Time
    until: Time | None
    reason: str
    actor: str


class JobTypeDocument(TypedDict):
    name: str
    title: str
    """The name for people. Without a title of its own, the same as `name`."""
    schema: dict[str, Any]
    """The JSON Schema (2020-12) of the payload. It refers to nothing outside of itself."""
    maxAttempts: int
    deadline: float
    """Seconds that one attempt may take."""
    role: Literal["admin", "employee"]
    """The role that may queue it. Admins may queue every type."""
    paused: PauseDocument | None
    schedule: None
    """Always null: a job type has no schedule yet."""
    limits: None
    """Always null: any number of jobs of a type may run at once."""


class RunningDocument(TypedDict):
    id: Id
    type: str
    attempt: int
    startedAt: Time


class StuckDocument(TypedDict):
    jobId: Id
    type: str
    attempt: int
    since: Time


class WorkerDocument(TypedDict):
    id: str
    host: str
    pid: int
    state: Presence
    startedAt: Time
    lastSeen: Time
    goneAt: Time | None
    jobTypes: list[str]
    slots: int
    jobs: list[RunningDocument]
    stuck: list[StuckDocument]


class JobTypes(TypedDict):
    jobTypes: list[JobTypeDocument]


class OneJobType(TypedDict):
    jobType: JobTypeDocument


class WorkersDocument(TypedDict):
    workers: list[WorkerDocument]


class PauseBody(Fields):
    until: RequestTime | None = Field(
        default=None, description="The end of the pause. Default: until an admin resumes the type."
    )
    reason: str = Field(default="paused by an admin", min_length=1, max_length=1000)


async def list_workers(call: Call[Nothing, Nothing]) -> Response:
    seen = await workers_seen(call.context.database, lease=LEASE, remembered=REMEMBERED)
    answer: WorkersDocument = {"workers": [worker_json(worker) for worker in seen]}
    return json_answer(answer)


async def list_job_types(call: Call[Nothing, Nothing]) -> Response:
    paused = await Pauses(call.context.database).in_force()
    answer: JobTypes = {"jobTypes": [_job_type_json(job_type, paused.get(job_type.name)) for job_type in JOB_TYPES.values()]}
    return json_answer(answer)


async def pause_job_type(call: Call[Nothing, PauseBody]) -> Response:
    job_type, pauses = _job_type(call), Pauses(call.context.database)
    try:
        await pauses.pause(job_type.name, until=call.body.until, reason=call.body.reason, actor=call.actor)
    except OverAlready as error:
        raise bad_field("until", "must be a time in the future") from error
    await call.record(Action.PAUSE_TYPE, target_of(f"job-type:{job_type.name}", call.body))
    return await _job_type_answer(call, job_type)


async def resume_job_type(call: Call[Nothing, Nothing]) -> Response:
    job_type = _job_type(call)
    await Pauses(call.context.database).resume(job_type.name)
    await call.record(Action.RESUME_TYPE, f"job-type:{job_type.name}")
    return await _job_type_answer(call, job_type)


def worker_json(worker: WorkerSeen) -> WorkerDocument:
    return {
        "id": worker.id,
        "host": worker.host,
        "pid": worker.pid,
        "state": worker.presence,
        "startedAt": rfc3339(worker.started_at),
        "lastSeen": rfc3339(worker.last_seen),
        "goneAt": optional_time(worker.gone_at),
        "jobTypes": worker.job_types,
        "slots": worker.slots,
        "jobs": [_running_json(job) for job in worker.running],
        "stuck": [_stuck_json(handler) for handler in worker.stuck],
    }


def _running_json(job: Running) -> RunningDocument:
    return {"id": job.job_id, "type": job.type, "attempt": job.attempt, "startedAt": rfc3339(job.started_at)}


def _stuck_json(handler: StuckHandler) -> StuckDocument:
    return {"jobId": handler.job_id, "type": handler.type, "attempt": handler.attempt, "since": rfc3339(handler.since)}


def _job_type(call: Call[Any, Any]) -> JobType[Any]:
    job_type = JOB_TYPES.get(call.path("name"))
    if job_type is None:
        raise not_found("job type")
    return job_type


async def _job_type_answer(call: Call[Any, Any], job_type: JobType[Any]) -> Response:
    paused = await Pauses(call.context.database).in_force()
    answer: OneJobType = {"jobType": _job_type_json(job_type, paused.get(job_type.name))}
    return json_answer(answer)


def _job_type_json(job_type: JobType[Any], pause: Pause | None) -> JobTypeDocument:
    return {
        "name": job_type.name,
        "title": job_type.title or job_type.name,
        "schema": job_type.payload.model_json_schema(),
        "maxAttempts": job_type.max_attempts,
        "deadline": job_type.deadline,
        "role": job_type.role,
        "paused": None if pause is None else _pause_json(pause),
        "schedule": None,
        "limits": None,
    }


def _pause_json(pause: Pause) -> PauseDocument:
    return {
        "since": rfc3339(pause.since),
        "until": optional_time(pause.until),
        "reason": pause.reason,
        "actor": pause.actor,
    }


NAME_IN_PATH = {"name": job_type_names}
ABOUT_THE_TYPE = {name: {"name": "$response.body#/jobType/name"} for name in ("pause_job_type", "resume_job_type")}
ONE_JOB_TYPE = {200: Answer(OneJobType, "The job type.", links=ABOUT_THE_TYPE)}

ENDPOINTS = (
    Endpoint(
        "GET", "/api/workers", list_workers, Who.READERS_OF_ALL,
        "The workers and their running jobs, with workers gone in the last day.",
        {200: Answer(WorkersDocument, "The workers.")},
    ),
    Endpoint(
        "GET", "/api/job-types", list_job_types, Who.SIGNED_IN,
        "The job types: all that a form needs to queue a job, and the pauses.",
        {200: Answer(JobTypes, "The job types.")},
    ),
    Endpoint(
        "POST", "/api/job-types/{name}/pause", pause_job_type, Who.ADMIN,
        "Pause a job type. Running jobs go on, and queued jobs wait.", ONE_JOB_TYPE, body=PauseBody,
        problems=(404,), path_schemas=NAME_IN_PATH,
    ),
    Endpoint(
        "POST", "/api/job-types/{name}/resume", resume_job_type, Who.ADMIN, "End the pause of a job type, if it is paused.",
        ONE_JOB_TYPE, problems=(404,), path_schemas=NAME_IN_PATH,
    ),
)  # fmt: skip
