"""`POST /api/jobs/{id}/again`: a new job with the type and payload of an old one."""

from pydantic import ValidationError
from starlette.responses import Response

from events.job import Job, event_name
from service.api.chatwork import must_be_set_up
from service.api.jobs import visible_job
from service.api.queue_request import Queued, about_the_job, enqueue_for
from service.http.endpoint import Answer, Call, Endpoint, Who
from service.http.problems import FieldError, Problem
from service.http.request import Nothing
from workers.job_type import Payload
from workers.registry import JOB_TYPES


async def run_again(call: Call[Nothing, Nothing]) -> Response:
    old = await visible_job(call)

    async def payload_of_today() -> Payload:
        payload = _payload_of_today(old)
        if JOB_TYPES[old.type].calls == "Chatwork":
            must_be_set_up(call)
        return payload

    return await enqueue_for(call, old.type, payload_of_today, cause=event_name(old.id, old.seq))


def _payload_of_today(old: Job) -> Payload:
    """Returns the old job's payload, checked by the present model of its type.

    Raises `Problem` 422 if the type is not registered at present, or if the payload does not fit its present model.
    """
    job_type = JOB_TYPES.get(old.type)
    if job_type is None:
        raise Problem(422, "There is no such job type any more.", [{"path": "type", "detail": "must be a registered job type"}])
    try:
        payload: Payload = job_type.payload.model_validate(old.payload)
    except ValidationError as error:
        errors: list[FieldError] = [
            {
                "path": ".".join(["payload", *map(str, complaint["loc"])]),
                "detail": "must fit the present payload of this job type",
            }
            for complaint in error.errors(include_url=False, include_input=False, include_context=False)
        ]
        raise Problem(422, "The payload does not fit this job type any more.", errors) from None
    return payload


ENDPOINTS = (
    Endpoint(
        "POST", "/api/jobs/{id}/again", run_again, Who.CHANGERS,
        "Queue a new job with the same type and payload. The caller owns it.",
        {202: Answer(Queued, "The new job, or the active one of the same kind.", links=about_the_job("/jobId"))},
        problems=(404,), queues=True,
    ),
)  # fmt: skip
