"""`POST /api/jobs/bulk`: cancel or retry many jobs.

Each job goes through the same decision as in a request for one job. A repeated request skips the jobs that were changed before.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field
from starlette.responses import Response
from typing_extensions import TypedDict

from events.job import Event, Job, NotAllowed, Status, cancel, retry
from events.writes import AlreadyActive
from projections.jobs import JobFilter
from service.accounts.access_records import Action
from service.api.access import target_of
from service.api.documents import Id, may_see
from service.api.jobs import cancel_reason, owner_wanted
from service.api.queue_request import must_be_allowed, room_for_job
from service.http.endpoint import Answer, Call, Endpoint, Who, json_answer
from service.http.problems import FieldError, Problem, problem_of
from service.http.query_fields import JobTypeName, RequestId, RequestTime
from service.http.request import Fields, Nothing
from service.limits.over_limit import OverLimit
from workers.delivery.wire import Hint

MOST = 1000  # jobs in one call
MOST_OF_A_BODY = 64 * 1024  # bytes; `MOST` ids need fewer

ALLOWED_ON = {"cancel": (Status.QUEUED, Status.PROCESSING), "retry": (Status.FAILED, Status.CANCELED)}


DOES_THE_SAME = "Cannot retry this job: another job does the same and is active."
CHOSEN_TWICE = "Cannot retry this job: another of the chosen jobs does the same, and only one may be active."


class BulkFilter(Fields):
    type: JobTypeName | None = None
    status: Status | None = None
    user_id: RequestId | None = Field(default=None, description="Only jobs of this owner. For admins only.")
    created_after: RequestTime | None = None
    created_before: RequestTime | None = None


class Bulk(Fields):
    action: Literal["cancel", "retry"]
    ids: Annotated[list[RequestId], Field(min_length=1, max_length=MOST)] | None = Field(
        default=None, description="These jobs. Give either this or `filter`."
    )
    filter: BulkFilter | None = Field(
        default=None, description="All jobs that fit this filter. `{}` means all that the caller may see."
    )
    dry_run: bool = Field(default=False, description="Only count the jobs and those that would be refused, and change none.")


class Refused(TypedDict):
    jobId: Id
    detail: str


class BulkDone(TypedDict):
    matched: int
    done: int
    refused: list[Refused]
    more: bool


async def change_many_jobs(call: Call[Nothing, Bulk]) -> Response:
    jobs, more = await _matched(call)
    changed = await _expected(call, jobs) if call.body.dry_run else await _change_all(call, jobs)
    refused: list[Refused] = [change for change in changed if not isinstance(change, Job)]
    done = [change for change in changed if isinstance(change, Job)]
    if call.body.action == "retry":
        call.context.wire.push([Hint.of(job) for job in done])
    if call.user.reads_all and not call.body.dry_run:
        await call.record(Action.CHANGE_JOBS, _target(call.body, len(done)))
    answer: BulkDone = {"matched": len(jobs), "done": len(done), "refused": refused, "more": more}
    return json_answer(answer)


def _target(body: Bulk, done: int) -> str:
    """Returns what was asked for and the number of changed jobs. Their events name the jobs."""
    chosen = target_of("jobs", body.filter) if body.filter is not None else f"{len(body.ids or ())} jobs"
    return f"{chosen} action={body.action} done={done}"


async def _matched(call: Call[Nothing, Bulk]) -> tuple[list[Job], bool]:
    """Returns the jobs to change, and whether there are more than can be changed in one call.

    They are jobs that the caller may see and that the action is allowed on. Raises `Problem` 422
    unless the body has exactly one of `ids` and `filter`.
    """
    if (call.body.ids is None) == (call.body.filter is None):
        errors: list[FieldError] = [
            {"path": name, "detail": "give exactly one of `ids` and `filter`"} for name in ("ids", "filter")
        ]
        raise Problem(422, "Give exactly one of `ids` and `filter`.", errors)
    allowed = ALLOWED_ON[call.body.action]
    if call.body.ids is not None:
        jobs = await call.context.jobs.get_many(list(dict.fromkeys(call.body.ids)))
        return [job for job in jobs if job.status in allowed and may_see(call.user, job)], False
    assert call.body.filter is not None
    return await _filtered(call, call.body.filter, allowed)


async def _filtered(call: Call[Nothing, Bulk], wanted: BulkFilter, allowed: Sequence[Status]) -> tuple[list[Job], bool]:
    """Returns at most `MOST` jobs that fit the filter, and whether more jobs fit.

    The jobs are grouped by status, the newest first in each group.
    """
    owner = owner_wanted(call, wanted.user_id)
    found: list[Job] = []
    more = False
    for status in allowed:
        if wanted.status in (None, status):
            wanted_jobs = JobFilter(wanted.type, status, owner, wanted.created_after, wanted.created_before)
            page = await call.context.jobs.page(wanted_jobs, limit=MOST)
            found += page.jobs
            more = more or page.next_cursor is not None
    return found[:MOST], more or len(found) > MOST


async def _expected(call: Call[Nothing, Bulk], jobs: Sequence[Job]) -> list[Job | Refused]:
    """Returns the refusals that the change of these jobs would meet now, without changing any.

    The limits of the owners are not among them, because they change with every request.
    """
    if call.body.action == "cancel":
        return []
    keys = await call.context.jobs.unique_keys([job.id for job in jobs])
    refused: list[Job | Refused] = []
    first: set[str] = set()
    for job in jobs:
        key, active = keys.get(job.id, (None, None))
        try:
            must_be_allowed(call.user, job.type)
        except Problem as problem:
            refused.append({"jobId": job.id, "detail": problem.detail})
            continue
        if active is not None:
            refused.append({"jobId": job.id, "detail": DOES_THE_SAME})
        elif key is not None and key in first:
            refused.append({"jobId": job.id, "detail": CHOSEN_TWICE})
        elif key is not None:
            first.add(key)
    return refused


async def _change_all(call: Call[Nothing, Bulk], jobs: Sequence[Job]) -> list[Job | Refused]:
    """Changes the jobs. Returns each job after its change, or why the change was refused.

    All changes run concurrently, so that the store can commit several with one statement.
    """
    changes = await asyncio.gather(*(_change(call, job) for job in jobs), return_exceptions=True)
    for change in changes:
        # The other changes are committed already. The client can repeat the request to change the rest.
        if isinstance(change, BaseException):
            raise change
    return [change for change in changes if not isinstance(change, BaseException)]


async def _change(call: Call[Nothing, Bulk], job: Job) -> Job | Refused:
    def decide(job: Job) -> list[Event]:
        return cancel(job, reason=cancel_reason(call, job)) if call.body.action == "cancel" else retry(job)

    room: contextlib.AbstractAsyncContextManager[None] = contextlib.nullcontext()
    try:
        if call.body.action == "retry":
            must_be_allowed(call.user, job.type)
            room = room_for_job(call, job.user_id, job.type)
        async with room:
            return await call.context.store.append(job, decide, actor=call.actor, request_id=call.request_id)
    except OverLimit as error:
        call.context.metrics.refused(error.setting)
        return {"jobId": job.id, "detail": error.detail}
    except (NotAllowed, Problem) as error:
        return {"jobId": job.id, "detail": problem_of(error).detail}
    except AlreadyActive:
        return {"jobId": job.id, "detail": DOES_THE_SAME}


ENDPOINTS = (
    Endpoint(
        "POST", "/api/jobs/bulk", change_many_jobs, Who.CHANGERS,
        f"Cancel or retry up to {MOST} jobs: those that the caller may see and that the action is allowed on. `dryRun` only"
        " counts them, and names those that would be refused.",
        {200: Answer(BulkDone, "How many jobs were `matched` and `done`, which were refused, and whether there are more.")},
        body=Bulk, most_of_body=MOST_OF_A_BODY,
    ),
)  # fmt: skip
