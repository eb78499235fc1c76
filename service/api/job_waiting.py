"""`GET /api/jobs/{id}/waiting`: why a queued job does not run yet."""

from datetime import datetime
from typing import Literal

from starlette.responses import Response
from typing_extensions import TypedDict

from events.job import Status, rfc3339
from service.api.documents import Time, optional_time
from service.api.jobs import visible_job
from service.http.endpoint import Answer, Call, Endpoint, Who, json_answer
from service.http.request import Nothing
from workers.liveness.heartbeat import LEASE
from workers.liveness.worker_table import workers_present
from workers.pauses import Pauses

MOST_AHEAD = 1000  # jobs that come first; more are not counted

WaitingReason = Literal["retry_at", "paused", "no_worker", "in_line"]


class WaitingDocument(TypedDict):
    reason: WaitingReason
    runAt: Time
    pausedUntil: Time | None
    ahead: int
    workers: int


class Waiting(TypedDict):
    waiting: WaitingDocument | None


async def get_waiting(call: Call[Nothing, Nothing]) -> Response:
    job = await visible_job(call)
    if job.status is not Status.QUEUED:
        return json_answer({"waiting": None})
    database = call.context.database
    now: datetime = await database.fetch_val("select now()")
    pause = (await Pauses(database).in_force()).get(job.type)
    workers = await workers_present(database, job.type, lease=LEASE)
    # If several reasons apply, the response names the first of these: the job's time, a pause, no worker, other jobs.
    reason: WaitingReason = "retry_at" if job.run_at > now else "paused" if pause else "in_line" if workers else "no_worker"
    document: WaitingDocument = {
        "reason": reason,
        "runAt": rfc3339(job.run_at),
        "pausedUntil": None if pause is None else optional_time(pause.until),
        "ahead": await call.context.jobs.ahead_of(job, most=MOST_AHEAD),
        "workers": workers,
    }
    return json_answer({"waiting": document})


ENDPOINTS = (
    Endpoint(
        "GET", "/api/jobs/{id}/waiting", get_waiting, Who.SIGNED_IN,
        "Why a queued job does not run yet: its `runAt` is in the future, its type is paused, no living worker runs its type, or"
        f" other jobs come first (`ahead`, counted up to {MOST_AHEAD}).",
        {200: Answer(Waiting, "The reason, or null if the job is not queued.")}, problems=(404,),
    ),
)  # fmt: skip
