"""`GET /api/audit/state`: all jobs as they stood at a past moment, as NDJSON."""

from collections.abc import AsyncIterator

import orjson
from pydantic import Field
from starlette.responses import Response, StreamingResponse
from typing_extensions import TypedDict

from events.job import BrokenHistory, Job, Status, rfc3339
from projections.past_jobs import JobCounts, jobs_at
from service.accounts.access_records import Action
from service.api.access import target_of
from service.api.documents import FindingDocument, JobDocument, Time, job_json
from service.api.log import NDJSON, ExportBroken
from service.http.endpoint import Answer, Call, Endpoint, Who
from service.http.problems import bad_field
from service.http.query_fields import RequestTime
from service.http.request import Fields, Nothing

PIECE = 16 * 1024  # bytes that are joined and sent at once, because a client may read slowly

AGE = "select extract(epoch from clock_timestamp() - cast(:at as timestamptz))"


class StateQuery(Fields):
    at: RequestTime = Field(description="The past moment. Events with this very time count.")
    counts: bool = Field(default=False, description="Only the numbers of jobs by type and status.")


class BrokenJob(TypedDict):
    """A job whose history cannot be folded up to the moment."""

    broken: FindingDocument


class CountOfJobs(TypedDict):
    type: str
    status: Status
    jobs: int


class AllCounted(TypedDict):
    """The last line of the counts. `jobs` leaves out those whose history is `broken`."""

    at: Time
    jobs: int
    broken: int


async def get_state(call: Call[StateQuery, Nothing]) -> Response:
    if await call.context.database.fetch_val(AGE, {"at": call.query.at}) < 0:
        raise bad_field("at", "must not be in the future: what happens until then is not known")
    target = target_of("state", call.query, leave_out=None if call.query.counts else {"counts"})
    await call.record(Action.READ_STATE, target)
    return StreamingResponse(_counts(call) if call.query.counts else _jobs(call), media_type=NDJSON)


def broken_json(broken: BrokenHistory) -> BrokenJob:
    finding: FindingDocument = {
        "name": broken.name, "jobId": broken.job_id, "seq": broken.seq, "position": None, "detail": str(broken),
    }  # fmt: skip
    return {"broken": finding}


def count_lines(counts: JobCounts) -> list[CountOfJobs]:
    return [{"type": job_type, "status": status, "jobs": count} for (job_type, status), count in sorted(counts.by_type.items())]


async def _jobs(call: Call[StateQuery, Nothing]) -> AsyncIterator[bytes]:
    async for found in _pages(call):
        piece = b""
        for each in found:
            piece += orjson.dumps(_line(each, with_stack=call.user.is_admin)) + b"\n"
            if len(piece) >= PIECE:
                yield piece
                piece = b""
        yield piece


async def _counts(call: Call[StateQuery, Nothing]) -> AsyncIterator[bytes]:
    counts = JobCounts()
    async for found in _pages(call):
        for each in found:
            counts.add(each)
        yield b""  # The server notices here that the client has gone.
    last: AllCounted = {"at": rfc3339(call.query.at), "jobs": counts.jobs, "broken": counts.broken}
    yield b"".join(orjson.dumps(line) + b"\n" for line in (*count_lines(counts), last))


async def _pages(call: Call[StateQuery, Nothing]) -> AsyncIterator[list[Job | BrokenHistory]]:
    """Yields the jobs page by page.

    Raises `ExportBroken` if the caller may no longer read the jobs, or if the process stops.
    """
    async for found in jobs_at(call.context.database, call.query.at):
        if call.context.job_watches.closed:
            raise ExportBroken("the process stops")
        if not await call.still_allowed():
            raise ExportBroken("the session has ended")
        yield found


def _line(found: Job | BrokenHistory, *, with_stack: bool) -> JobDocument | BrokenJob:
    return job_json(found, with_stack=with_stack) if isinstance(found, Job) else broken_json(found)


ENDPOINTS = (
    Endpoint(
        "GET", "/api/audit/state", get_state, Who.READERS_OF_ALL,
        "All jobs as they stood at a past moment, folded from the log. Each line is a job, or `{broken}` if its history cannot be"
        " folded. With `counts` each line is `{type, status, jobs}`, and the last one `{at, jobs, broken}`.",
        {200: Answer(None, "NDJSON, in order of job id.", streams=(NDJSON,))}, query=StateQuery,
    ),
)  # fmt: skip
