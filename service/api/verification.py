"""Admins start a verification in the background; admins and auditors read the result.

A verification computes every job from the log again and compares the result with the view. Only one runs at a time, over all
processes.

`covers` is the newest checkpoint that a trusted key has signed and that agrees with the log: its size, its root in base64, and
`against`, the copy outside the database that holds it, or null. Findings of name `REDACTED` are no fault.
"""

import orjson
from starlette.responses import Response
from typing_extensions import TypedDict

from events.database import Row
from events.job import rfc3339
from service.accounts.access_records import Action
from service.api.documents import FindingDocument, Id, Time, optional_time
from service.http.endpoint import Answer, Call, Endpoint, Who, json_answer
from service.http.request import Nothing
from service.live.verifier import INTERRUPTED


class CoversDocument(TypedDict):
    size: int
    root: str
    against: str | None


class VerificationDocument(TypedDict):
    id: Id
    startedAt: Time
    finishedAt: Time | None
    actor: str
    jobs: int | None
    events: int | None
    lastPosition: int | None
    differences: list[str]
    findings: list[FindingDocument]
    differenceCount: int | None
    findingCounts: dict[str, int] | None
    unsealed: int | None
    covers: CoversDocument | None
    error: str | None


class LastVerification(TypedDict):
    verification: VerificationDocument | None


class OneVerification(TypedDict):
    verification: VerificationDocument


async def start_verification(call: Call[Nothing, Nothing]) -> Response:
    verification = await call.context.verifier.start(call.actor)
    await call.record(Action.VERIFY_LOG, f"verification:{verification['id']}")
    answer: OneVerification = {"verification": _json(verification)}
    return json_answer(answer, 202)


async def get_verification(call: Call[Nothing, Nothing]) -> Response:
    last = await call.context.verifier.last()
    answer: LastVerification = {"verification": None if last is None else _json(last)}
    return json_answer(answer)


def _json(row: Row) -> VerificationDocument:
    return {
        "id": row["id"],
        "startedAt": rfc3339(row["started_at"]),
        "finishedAt": optional_time(row["last_seen"] if row["lost"] else row["finished_at"]),
        "actor": row["actor"],
        "jobs": row["jobs"],
        "events": row["events"],
        "lastPosition": row["last_position"],
        "differences": list(row["differences"]),
        "findings": orjson.loads(row["findings"]),
        "differenceCount": row["difference_count"],
        "findingCounts": None if row["finding_counts"] is None else orjson.loads(row["finding_counts"]),
        "unsealed": row["unsealed"],
        "covers": None if row["covers"] is None else orjson.loads(row["covers"]),
        "error": INTERRUPTED if row["lost"] else row["error"],
    }


ENDPOINTS = (
    Endpoint(
        "GET", "/api/audit/verify", get_verification, Who.READERS_OF_ALL, "The last verification and its findings.",
        {200: Answer(LastVerification, "The verification, or null if there was none. Its counts are null until it has finished.")},
    ),
    Endpoint(
        "POST", "/api/audit/verify", start_verification, Who.READERS_OF_ALL,
        "Start a verification of the log in the background. While one runs, that one is the answer.",
        {202: Answer(OneVerification, "The running verification.")},
    ),
)  # fmt: skip
