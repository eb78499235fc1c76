"""Queues or retries a job for a request. Every endpoint that does so calls this module.

First it checks the caller's role, because a demoted admin must not repeat an old request. Then it looks `Idempotency-Key` up:
a repeated request gets the job of the first request. Last, `Prefer: wait` delays the response until the job has ended.
"""

import asyncio
import contextlib
import hashlib
import time
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from typing_extensions import TypedDict

from events.job import ENDED, Job, NotAllowed, Status, retry
from events.writes import AlreadyActive, Idempotency, KeyTaken
from service.accounts.users import Role, User
from service.api.documents import Id
from service.http.endpoint import ANSWER_WITHIN, Call, json_answer
from service.http.problems import Problem, bad_field
from service.http.request import LONGEST_KEY, header, preferred_wait
from service.limits.over_limit import OverLimit
from workers.delivery.enqueue import enqueue
from workers.delivery.wire import Hint
from workers.job_type import Payload
from workers.registry import JOB_TYPES


class Queued(TypedDict):
    jobId: Id
    status: Status


PayloadOrAnswer = Callable[[], Awaitable[Payload | Response]]
"""Returns the payload of a new job, or the response to send without queueing one.

Raises `Problem` to refuse the request.
"""


def about_the_job(pointer: str) -> dict[str, dict[str, str]]:
    """Returns OpenAPI links from a response to the endpoints that take a job id.

    The job's id is in the body of the response, at the JSON pointer `pointer`.
    """
    names = ("get_job", "get_events", "get_waiting", "cancel_job", "retry_job", "run_again", "force_fail_job", "verify_history")
    return {name: {"id": f"$response.body#{pointer}"} for name in names}


async def enqueue_for(
    call: Call[Any, Any], job_type: str, payload: Payload | PayloadOrAnswer, *, cause: str | None = None
) -> Response:
    """Queues a job of the caller and answers 202 `{jobId, status}`.

    If an earlier request with the same idempotency key has queued a job, or an active job has the same unique key, the
    answer is that job, and no new job is queued. `Prefer: wait` delays the response until the job has ended.

    If `payload` is a function, it is called only if no earlier request had the key. It may refuse the request, or return a
    response; then no job is queued. It must refuse a `job_type` that is not registered. `cause` is the cause of a new job.

    Raises:
        Problem: 403 if the caller may not queue this type, 400 for a bad key.
        KeyTaken: the key belongs to another request. The client gets 422.
        OverLimit: the caller has too many active jobs, or has queued too many paid jobs.
    """
    if job_type in JOB_TYPES:
        must_be_allowed(call.user, job_type)
    idempotency = _idempotency_of(call)
    job = await _first_job(call, idempotency)
    if job is None:
        made = payload if isinstance(payload, Payload) else await payload()
        if isinstance(made, Response):
            return made
        job = await _enqueued(call, job_type, made, idempotency, cause)
    job, headers = await _held(call, job)
    answer: Queued = {"jobId": job.id, "status": job.status}
    return json_answer(answer, 202, {"Location": f"/api/jobs/{job.id}", **headers})


async def retry_for(call: Call[Any, Any], job: Job) -> tuple[Job, dict[str, str]]:
    """Queues the job's next attempt. Returns the job and the headers for the response.

    A repeated request with the same key queues nothing. `Prefer: wait` delays the return until the job has ended.

    Raises:
        Problem: 403 if the caller may not queue this type, 400 for a bad key, 409 if an active
            job has the same unique key.
        KeyTaken: the key belongs to another request. The client gets 422.
        NotAllowed: the job is not failed or canceled.
        OverLimit: the job's owner has too many active jobs, or has queued too many paid ones.
    """
    must_be_allowed(call.user, job.type)
    idempotency = _idempotency_of(call)
    return await _held(call, await _first_job(call, idempotency) or await _retried(call, job, idempotency))


def must_be_allowed(user: User, job_type: str) -> None:
    """Checks that the user's present role may queue a job of this type.

    Raises:
        Problem: 403 if the role may not. Only an admin may queue a type that is not registered.
    """
    registered = JOB_TYPES.get(job_type)
    allowed = Role.ADMIN if registered is None else Role(registered.role)
    if not user.is_admin and user.role is not allowed:
        raise Problem(403, f"Only an admin may queue a job of type {job_type}.")


def room_for_job(call: Call[Any, Any], owner: str | None, job_type: str) -> contextlib.AbstractAsyncContextManager[None]:
    """Counts one more job of this owner. Queue or retry the job inside the block.

    Raises `OverLimit` when the block is entered.
    """
    registered = JOB_TYPES.get(job_type)
    return call.context.limits.room_for_job(owner, paid=registered is not None and registered.paid)


def _idempotency_of(call: Call[Any, Any]) -> Idempotency | None:
    """Returns the header `Idempotency-Key` with a hash of the request, or None without it.

    The hash covers the method, the path, the query and the body. Raises `Problem` 400 if it is
    given twice, is empty or is too long.
    """
    if header(call.request.scope, b"idempotency-key") is None:
        return None
    keys = call.request.headers.getlist("idempotency-key")
    if len(keys) > 1 or not 1 <= len(keys[0]) <= LONGEST_KEY:
        raise bad_field("Idempotency-Key", f"must be given once, with 1 to {LONGEST_KEY} characters", 400)
    request = call.request
    content = [call.query.model_dump(mode="json"), call.body.model_dump(mode="json")]
    whole = orjson.dumps([request.method, request.url.path, content], option=orjson.OPT_SORT_KEYS)
    return Idempotency(keys[0], hashlib.sha256(whole).hexdigest())


async def _first_job(call: Call[Any, Any], idempotency: Idempotency | None) -> Job | None:
    """Returns the job of an earlier request with this key, or None if there is none.

    Raises `KeyTaken` if the earlier request differs from this one.
    """
    if idempotency is None:
        return None
    found = await call.context.store.job_of_key(call.user.id, idempotency.key)
    return None if found is None else await _job_of_key(call, idempotency, *found)


async def _job_of_key(call: Call[Any, Any], idempotency: Idempotency, job_id: str, request_hash: str) -> Job:
    if request_hash != idempotency.request_hash:
        raise KeyTaken(job_id, request_hash)
    return await _the_job(call, job_id)


async def _the_job(call: Call[Any, Any], job_id: str) -> Job:
    job = await call.context.jobs.get(job_id)
    if job is None:
        raise Problem(409, f"Job {job_id} is in the log but not in the view. `rireki audit verify` says more.")
    return job


async def _enqueued(
    call: Call[Any, Any], job_type: str, payload: Payload, idempotency: Idempotency | None, cause: str | None
) -> Job:
    """Queues a new job and returns it.

    If an active job has the same unique key, returns that job. If another request has used the same idempotency key meanwhile,
    returns the job of that request. Raises `KeyTaken` if that request had other contents.
    """
    store = call.context.store
    content = payload.to_json()
    try:
        async with room_for_job(call, call.user.id, job_type):
            return await enqueue(
                store, call.context.wire, JOB_TYPES[job_type], content, user_id=call.user.id, actor=call.actor,
                request_id=call.request_id, idempotency=idempotency, cause=cause,
            )  # fmt: skip
    except KeyTaken as taken:
        assert idempotency is not None
        return await _job_of_key(call, idempotency, taken.job_id, taken.request_hash)
    except AlreadyActive as active:
        job_id = active.job_id
    except OverLimit:
        # No new job is needed if the same request has queued the job meanwhile, or if a job of this kind is active.
        if (first := await _first_job(call, idempotency)) is not None:
            return first
        active_job = await store.active_job(JOB_TYPES[job_type].unique_key(content, call.user.id))
        if active_job is None:
            raise
        job_id = active_job
    if idempotency is not None:
        try:
            await store.bind_key(call.user.id, idempotency, job_id)
        except KeyTaken as taken:
            return await _job_of_key(call, idempotency, taken.job_id, taken.request_hash)
    return await _the_job(call, job_id)


async def _retried(call: Call[Any, Any], job: Job, idempotency: Idempotency | None) -> Job:
    user_key = None if idempotency is None else (call.user.id, idempotency)
    try:
        retry(job)  # A job that cannot be retried is refused for that reason, and not by a limit.
        async with room_for_job(call, job.user_id, job.type):
            job = await call.context.store.append(job, retry, actor=call.actor, request_id=call.request_id, user_key=user_key)
    except AlreadyActive as active:
        raise Problem(409, f"Cannot retry this job: job {active.job_id} does the same and is active.") from active
    except (NotAllowed, KeyTaken, OverLimit):
        # The client may have sent the same request twice at the same time. Then the other request has queued the attempt.
        first = await _first_job(call, idempotency)
        if first is None:
            raise
        return first
    call.context.wire.push([Hint.of(job)])
    return job


async def _held(call: Call[Any, Any], job: Job) -> tuple[Job, dict[str, str]]:
    """Waits as long as the client asked (`Prefer: wait=…`), at most until the job has ended.

    Returns the job and a `Preference-Applied` header. If `Prefer` is missing or cannot be read, or if too many responses of the
    caller are held already, returns at once without the header, as RFC 7240 asks.
    """
    seconds = preferred_wait(call.request)
    if seconds is None:
        return job, {}
    async with contextlib.AsyncExitStack() as stack:
        try:
            await stack.enter_async_context(call.context.limits.held_answers.held(call.user.id))
        except OverLimit as error:
            call.context.metrics.refused(error.setting)
            return job, {}
        return await _until_ended(call, job, seconds), {"Preference-Applied": f"wait={seconds}"}


async def _until_ended(call: Call[Any, Any], job: Job, seconds: float) -> Job:
    """Waits until the job has ended, `seconds` have passed, or the client has disconnected.

    Returns the newest state of the job, or `job` itself if the client has disconnected.
    """
    call.patience.reschedule(asyncio.get_running_loop().time() + seconds + ANSWER_WITHIN)
    gone = asyncio.create_task(_disconnected(call.request))
    ended = asyncio.create_task(_watched(call, job, seconds))
    try:
        await asyncio.wait((gone, ended), return_when=asyncio.FIRST_COMPLETED)
        return await ended if ended.done() else job
    finally:
        for task in (gone, ended):
            task.cancel()
        await asyncio.gather(gone, ended, return_exceptions=True)


async def _watched(call: Call[Any, Any], job: Job, seconds: float) -> Job:
    watches, until = call.context.job_watches, time.monotonic() + seconds
    with watches.watch(job.id) as watch:
        while True:
            job = await call.context.jobs.get(job.id) or job
            left = until - time.monotonic()
            if job.status in ENDED or left <= 0 or watches.closed:
                return job
            await watch.changed(left)


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
