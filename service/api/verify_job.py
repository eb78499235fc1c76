"""`POST /api/audit/verify/{id}`: verifies one job at once, and says which of its events a signed checkpoint covers."""

import asyncio
import base64

from starlette.responses import Response
from typing_extensions import TypedDict

from events.database import Row
from events.job import rfc3339
from events.positions import POSITION
from projections.verify import Finding, Verified
from projections.verifying.findings import Leaf
from service.accounts.access_records import Action
from service.api.documents import FindingDocument, Id, Time, optional_time
from service.http.endpoint import ANSWER_WITHIN, Answer, Call, Endpoint, Who, json_answer
from service.http.problems import not_found
from service.http.request import Nothing, read_id

MOST_FINDINGS = 100  # findings in the answer; further ones are only counted
MOST_SECONDS = 60.0  # the time that the verification of one job may take

# The newest checkpoint of the current log, with the number of the job's events at positions up to its size.
COVERED = f"""
select k.origin, k.size, k.signed_at, k.copied_at, now() as verified_at, (
    select count(*) from job_events e where e.job_id = :job_id and {POSITION} <= k.size
) as events
from (select 1) as one
left join lateral (
    select c.* from checkpoints c
    where c.origin = (select origin from log_origins order by number desc limit 1)
    order by c.size desc limit 1
) as k on true
"""


class HistoryCoverage(TypedDict):
    """The newest signed checkpoint, and how many events of the job it covers. `copiedAt` is null until a copy is outside."""

    origin: str
    size: int
    signedAt: Time
    copiedAt: Time | None
    events: int


class HistoryLeaf(TypedDict):
    """An event's leaf hash in base64. `included` says whether the newest trusted checkpoint holds it; null if it is too new."""

    seq: int
    position: int | None
    leaf: str
    included: bool | None


class HistoryVerification(TypedDict):
    jobId: Id
    verifiedAt: Time
    events: int
    findings: list[FindingDocument]
    findingCount: int
    leaves: list[HistoryLeaf]
    covers: HistoryCoverage | None


class OneHistoryVerification(TypedDict):
    verification: HistoryVerification


async def verify_history(call: Call[Nothing, Nothing]) -> Response:
    job_id = read_id(call.path("id"))
    call.patience.reschedule(asyncio.get_running_loop().time() + MOST_SECONDS + ANSWER_WITHIN)
    await call.record(Action.VERIFY_LOG, f"job:{job_id}")
    verified = await call.context.verifier.verify_job(job_id)
    if verified.jobs == 0:
        raise not_found("job")
    row = await call.context.database.fetch_one(COVERED, {"job_id": job_id})
    assert row is not None
    answer: OneHistoryVerification = {"verification": _json(job_id, verified, row)}
    return json_answer(answer)


def _json(job_id: str, verified: Verified, row: Row) -> HistoryVerification:
    return {
        "jobId": job_id,
        "verifiedAt": rfc3339(row["verified_at"]),
        "events": verified.events,
        "findings": [_finding(finding) for finding in verified.findings[:MOST_FINDINGS]],
        "findingCount": verified.count,
        "leaves": [_leaf(leaf) for leaf in verified.leaves],
        "covers": None if row["origin"] is None else _coverage(row),
    }


def _finding(finding: Finding) -> FindingDocument:
    return {
        "name": finding.name, "jobId": finding.job_id, "seq": finding.seq, "position": finding.position,
        "detail": finding.detail,
    }  # fmt: skip


def _leaf(leaf: Leaf) -> HistoryLeaf:
    return {
        "seq": leaf.seq, "position": leaf.position, "leaf": base64.b64encode(leaf.leaf).decode(), "included": leaf.included,
    }  # fmt: skip


def _coverage(row: Row) -> HistoryCoverage:
    return {
        "origin": row["origin"],
        "size": row["size"],
        "signedAt": rfc3339(row["signed_at"]),
        "copiedAt": optional_time(row["copied_at"]),
        "events": row["events"],
    }


ENDPOINTS = (
    Endpoint(
        "POST", "/api/audit/verify/{id}", verify_history, Who.READERS_OF_ALL,
        "Verify one job: fold its events, compare them with the view, and name each fault. `covers` says how many of its events"
        " the newest signed checkpoint covers; it is null without a checkpoint. `leaves` has the hash of each event, and whether"
        " the newest checkpoint that a trusted key has signed holds it.",
        {200: Answer(OneHistoryVerification, "The result, with at most 100 findings.")}, problems=(404,),
    ),
)  # fmt: skip
