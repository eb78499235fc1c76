"""Translates every exception to the problem document that the client gets (RFC 9457).

A problem document never holds SQL, a stack trace, or another internal of the service.
"""

from collections.abc import Sequence
from http import HTTPStatus
from typing import NotRequired

import orjson
import structlog
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from typing_extensions import TypedDict

from events.database import LockNotAvailable, is_away
from events.database_faults import fault
from events.job import BrokenHistory, NotAllowed
from events.writes import BrokenView, KeyTaken
from projections import jobs
from service.accounts import access_records
from service.accounts.people import LastAdmin, UnknownUser
from service.accounts.sign_in_limit import TooManyTries
from service.limits.over_limit import OverLimit
from workers.chatwork import messages
from workers.summaries.companies import (
    MAX_NAME,
    CompanyArchived,
    NameNotValid,
    NameTaken,
    RoomNotLinked,
    UnknownCompany,
    UnknownRoom,
)
from workers.summaries.drafts import UnknownDraft

log = structlog.get_logger("rireki.http")


class FieldError(TypedDict):
    path: str
    detail: str


class ProblemDocument(TypedDict):
    type: str
    title: str
    status: int
    detail: str
    errors: NotRequired[list[FieldError]]


# Limits for the errors of one response. The names of fields come from the client, so that without these limits a client could
# cause a very large response.
MOST_ERRORS = 100
LONGEST_PATH, LONGEST_DETAIL = 100, 500  # characters


class Problem(Exception):
    """Ends the request: the client gets this status and a problem document.

    `errors` lists the fields that are wrong; only the first `MOST_ERRORS` are kept. The `detail` of a field error begins with a
    verb ("must be a UUID"), so that the field's `path` and the `detail` together are a sentence.
    """

    def __init__(
        self, status: int, detail: str, errors: Sequence[FieldError] = (), headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.errors = list(errors[:MOST_ERRORS])
        self.headers = headers or {}


def bad_field(path: str, detail: str, status: int = 422) -> Problem:
    """Returns a problem with one field.

    `detail` begins with a verb and has no full stop: "must be a UUID".
    """
    return Problem(status, f"`{path}` {detail}.", [{"path": path, "detail": detail}])


def not_found(what: str) -> Problem:
    return Problem(404, f"There is no such {what}.")


def not_signed_in(detail: str) -> Problem:
    return Problem(401, detail, headers={"WWW-Authenticate": "Bearer"})


def too_many(what: str, retry_after: int) -> Problem:
    """Returns a 429: "Too many {what}." `what` is a plural, `retry_after` is in seconds."""
    return Problem(429, f"Too many {what}. Try again in {retry_after} seconds.", headers={"Retry-After": str(retry_after)})


def problem_of(error: Exception) -> Problem:
    """Returns the problem that tells the client about `error`.

    An error that is not in this table becomes a 500 without details.
    """
    match error:
        case Problem():
            return error
        case HTTPException():
            return Problem(error.status_code, _DETAILS.get(error.status_code, error.detail), headers=dict(error.headers or {}))
        case NotAllowed():
            return Problem(409, f"Cannot {error.action} this job: it is {error.job.status}.")
        case BrokenHistory():
            place = "" if error.seq is None else f" at event {error.seq}"
            return Problem(409, f"This job has a broken history: {error.name}{place}. Run `rireki audit verify` for details.")
        case BrokenView():
            return Problem(
                409, f"Job {error.job_id} cannot be read from the view. Run `rireki projections rebuild` to repair it."
            )
        case UnknownCompany():
            return not_found("company")
        case UnknownRoom():
            return not_found("room")
        case RoomNotLinked():
            return Problem(404, "This room is not linked to this company.")
        case UnknownDraft():
            return not_found("draft")
        case CompanyArchived():
            return Problem(409, "This company is archived. Restore it first.")
        case NameTaken():
            return bad_field("name", "belongs to another company: choose another name", 409)
        case NameNotValid():
            return bad_field("name", f"must have 1 to {MAX_NAME} characters, at least one of them visible")
        case jobs.BadCursor() | messages.BadCursor() | access_records.BadCursor():
            return bad_field("cursor", "must be the `nextCursor` of a page of this list", 400)
        case KeyTaken():
            return bad_field("Idempotency-Key", "was used with another request: send a new key")
        case UnknownUser():
            return not_found("user")
        case LastAdmin():
            return Problem(409, "This is the last enabled admin. Make somebody else an admin first.")
        case TooManyTries():
            return too_many("tries to sign in", error.retry_after)
        case OverLimit():
            return Problem(429, error.detail, headers={"Retry-After": str(error.retry_after)})
        case LockNotAvailable():
            return Problem(503, "Another operation holds this row. Try again.", headers={"Retry-After": "2"})
        case _ if fault(error) is not None:
            return Problem(500, "The database answers but cannot be used. `/readyz` and the service's log name the cause.")
        case _ if is_away(error):
            return Problem(503, "The database does not answer. Try again in 2 seconds.", headers={"Retry-After": "2"})
        case _:
            return Problem(500, "The service failed. Its log has details under the `X-Request-Id` of this response.")


_DETAILS = {
    404: "There is nothing at this address.",
    405: "This address does not take this method. `Allow` lists those it takes.",
}


def problem_response(problem: Problem) -> Response:
    document: ProblemDocument = {
        "type": "about:blank",
        "title": HTTPStatus(problem.status).phrase,
        "status": problem.status,
        "detail": _cut(problem.detail, LONGEST_DETAIL),
    }
    if problem.errors:
        document["errors"] = [
            {"path": _cut(error["path"], LONGEST_PATH), "detail": _cut(error["detail"], LONGEST_DETAIL)}
            for error in problem.errors
        ]
    return Response(orjson.dumps(document), problem.status, problem.headers, "application/problem+json")


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


async def answer_problem(request: Request, error: Exception) -> Response:
    """Returns the response to an exception that an endpoint raised.

    Logs the exception if the cause is the service or its database, not the client.
    """
    problem = problem_of(error)
    if (cause := fault(error)) is not None:
        log.error("the database cannot be used", path=request.url.path, cause=cause)
    elif problem.status == 500:
        log.error("unexpected error", method=request.method, path=request.url.path, exc_info=error)
    elif problem.status == 503:
        log.warning("cannot serve", path=request.url.path, error=repr(error))
    return problem_response(problem)
