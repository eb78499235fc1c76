"""What every `POST` that queues a job has in common: `Idempotency-Key`, sharing of active unique jobs, `Prefer: wait`."""

import asyncio
import hashlib
import time
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from typing_extensions import TypedDict

from events.job import ENDED, Job, Status
from events.writes import AlreadyActive, Idempotency, KeyTaken
from service.accounts.users import Role, User
from service.api.documents import Id
from service.http.endpoint import ANSWER_WITHIN, Call, json_answer
from service.http.problems import Problem, bad_field
from service.http.request import LONGEST_KEY, header, preferred_wait
from workers.delivery.enqueue import enqueue
from workers.job_type import JobType, Payload
from workers.registry import JOB_TYPES


async def until_ended(call: Call[Any, Any], job: Job, seconds: float) -> Job:
    """The job once it has ended, or as it is after `seconds`, or when the client has gone away."""
    call.patience.reschedule(asyncio.get_running_loop().time() + seconds + ANSWER_WITHIN)
    gone = asyncio.create_task(_client_gone(call.request))
    ended = asyncio.create_task(_until_ended(call, job, seconds))
    try:
        await asyncio.wait((gone, ended), return_when=asyncio.FIRST_COMPLETED)
        return await ended if ended.done() else job
    finally:
        for task in (gone, ended):
            task.cancel()
        await asyncio.gather(gone, ended, return_exceptions=True)


async def _until_ended(call: Call[Any, Any], job: Job, seconds: float) -> Job:
    live, until = call.context.live, time.monotonic() + seconds
    with live.watch(job.id) as watch:
        while True:
            job = await call.context.jobs.get(job.id) or job
            left = until - time.monotonic()
            if job.status in ENDED or left <= 0 or live.closed:
                return job
            await watch.changed(left)


async def _client_gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


class Queued(TypedDict):
    jobId: Id
    status: Status


def must_be_allowed(user: User, type: str) -> None:
    """Raises `Problem` 403 unless the job type lets this user queue it, now: an old job proves nothing about its owner's role."""
    job_type = JOB_TYPES.get(type)
    allowed = Role.ADMIN if job_type is None else Role(job_type.role)
    if not user.is_admin and user.role is not allowed:
        raise Problem(403, f"Only an admin may queue a job of type {type}.")


def idempotency_of(call: Call[Any, Any]) -> Idempotency | None:
    """The request's `Idempotency-Key`, with a hash of all that makes the request what it is. Raises `Problem` 400."""
    if header(call.request.scope, b"idempotency-key") is None:
        return None
    keys = call.request.headers.getlist("idempotency-key")
    if len(keys) > 1 or not 1 <= len(keys[0]) <= LONGEST_KEY:
        raise bad_field("Idempotency-Key", f"must be one text of 1 to {LONGEST_KEY} characters", 400)
    request = call.request
    content = [call.query.model_dump(mode="json"), call.body.model_dump(mode="json")]
    whole = orjson.dumps([request.method, request.url.path, content], option=orjson.OPT_SORT_KEYS)
    return Idempotency(keys[0], hashlib.sha256(whole).hexdigest())


async def first_job(call: Call[Any, Any], idempotency: Idempotency | None) -> Job | None:
    """The job that an earlier request with this key was answered with. Raises `Problem` 422 if that was another request."""
    if idempotency is None:
        return None
    found = await call.context.store.job_of_key(call.user.id, idempotency.key)
    return None if found is None else await _job_of(call, idempotency, *found)


async def queue_job(call: Call[Any, Any], job_type: JobType[Any], payload: Payload, idempotency: Idempotency | None) -> Job:
    """A new job of the caller's; or the active one, where only one may be active; or the one that the key belongs to.
    Raises `Problem` 403 where the job type does not let the caller queue it."""
    must_be_allowed(call.user, job_type.name)
    store = call.context.store
    try:
        return await enqueue(
            store, call.context.wire, job_type, payload.to_json(), user_id=call.user.id, actor=call.actor,
            request_id=call.request_id, idempotency=idempotency,
        )  # fmt: skip
    except KeyTaken as taken:
        assert idempotency is not None
        return await _job_of(call, idempotency, taken.job_id, taken.request_hash)
    except AlreadyActive as active:
        job_id = active.job_id
    if idempotency is not None:
        try:
            await store.bind_key(call.user.id, idempotency, job_id)
        except KeyTaken as taken:
            return await _job_of(call, idempotency, taken.job_id, taken.request_hash)
    return await _the_job(call, job_id)


async def queued_answer(call: Call[Any, Any], job: Job) -> Response:
    """202 `{jobId, status}`, held back as long as the client asked for."""
    job, headers = await held(call, job)
    answer: Queued = {"jobId": job.id, "status": job.status}
    return json_answer(answer, 202, {"Location": f"/api/jobs/{job.id}", **headers})


async def held(call: Call[Any, Any], job: Job) -> tuple[Job, dict[str, str]]:
    """The job when the client's `Prefer: wait` is over, and the header that says so. A preference that can't be read is
    passed over, as RFC 7240 wants it."""
    seconds = preferred_wait(call.request)
    if seconds is None:
        return job, {}
    return await until_ended(call, job, seconds), {"Preference-Applied": f"wait={seconds}"}


async def _job_of(call: Call[Any, Any], idempotency: Idempotency, job_id: str, request_hash: str) -> Job:
    if request_hash != idempotency.request_hash:
        raise KeyTaken(job_id, request_hash)
    return await _the_job(call, job_id)


async def _the_job(call: Call[Any, Any], job_id: str) -> Job:
    job = await call.context.jobs.get(job_id)
    if job is None:
        raise Problem(409, f"Job {job_id} is not in the view. An audit will tell more.")
    return job
