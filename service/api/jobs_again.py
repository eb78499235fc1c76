"""`POST /api/jobs/{id}/again`: a new job with the type and the payload of an old one."""

from typing import Any

from pydantic import ValidationError
from starlette.responses import Response

from events.job import Job
from service.api.chatwork import must_be_set_up
from service.api.jobs import visible_job
from service.api.queue_request import Queued, first_job, idempotency_of, must_be_allowed, queue_job, queued_answer
from service.http.endpoint import Answer, Call, Endpoint, Who
from service.http.problems import FieldError, Problem
from service.http.request import Nothing
from workers.job_type import JobType, Payload
from workers.registry import JOB_TYPES


async def run_again(call: Call[Nothing, Nothing]) -> Response:
    old = await visible_job(call)
    if old.type in JOB_TYPES:  # one that is gone is told so, to everybody
        must_be_allowed(call.user, old.type)
    idempotency = idempotency_of(call)
    job = await first_job(call, idempotency)
    if job is None:
        job_type, payload = _as_of_today(old)
        if job_type.calls == "Chatwork":
            must_be_set_up(call)
        job = await queue_job(call, job_type, payload, idempotency)
    return await queued_answer(call, job)


def _as_of_today(old: Job) -> tuple[JobType[Any], Payload]:
    """The type and the payload, if a job like this could still be queued. Raises `Problem` 422."""
    job_type = JOB_TYPES.get(old.type)
    if job_type is None:
        raise Problem(422, "There is no such job type any more.", [{"path": "type", "detail": "is not known any more"}])
    try:
        return job_type, job_type.payload.model_validate(old.payload)
    except ValidationError as error:
        errors: list[FieldError] = [
            {"path": ".".join(["payload", *map(str, complaint["loc"])]), "detail": "is not as this job type wants it today"}
            for complaint in error.errors(include_url=False, include_input=False, include_context=False)
        ]
        raise Problem(422, "The payload does not fit this job type any more.", errors) from None


ENDPOINTS = (
    Endpoint(
        "POST", "/api/jobs/{id}/again", run_again, Who.SIGNED_IN,
        "Queue a new job, of the caller's own, with the same type and payload.",
        {202: Answer(Queued, "Queued, or active already.")}, problems=(404,), queues=True,
    ),
)  # fmt: skip
