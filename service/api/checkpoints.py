"""`GET /api/audit/log`: the log's name, its newest signed checkpoint, and the state of signing."""

import base64

from starlette.responses import Response
from typing_extensions import TypedDict

from events.audit_findings import FindingName
from events.job import rfc3339
from projections.checkpoints import NoLog, SigningState, signing_status
from service.api.documents import Time, optional_time
from service.http.endpoint import Answer, Call, Endpoint, Who, json_answer
from service.http.problems import Problem
from service.http.request import Nothing


class CheckpointDocument(TypedDict):
    """A signed checkpoint. `root` is in base64; `copiedAt` is null while no copy outside is known.

    `cosignatures` is the number of witnesses that have cosigned it.
    """

    size: int
    root: str
    signedAt: Time
    copiedAt: Time | None
    cosignatures: int


class SigningDocument(TypedDict):
    """Whether checkpoints are signed.

    `finding` is INCONSISTENT if signing has stopped because the log does not extend an earlier checkpoint. `detail` says what
    to do, or is empty.
    """

    state: SigningState
    finding: FindingName | None
    detail: str
    since: Time


class CopiesDocument(TypedDict):
    """Whether checkpoints are copied outside, and how many checkpoints have no copy yet."""

    enabled: bool
    waiting: int


class LogDocument(TypedDict):
    """The state of the log. `sealedSize` is the number of its events that have a position.

    `protectedSince` is when the first checkpoint of this log was signed. `lagSeconds` are the seconds that the oldest sealed
    event without a checkpoint has waited for one, or 0.
    """

    origin: str
    sealedSize: int
    checkpoint: CheckpointDocument | None
    protectedSince: Time | None
    lagSeconds: float
    signing: SigningDocument
    copies: CopiesDocument


async def get_log_state(call: Call[Nothing, Nothing]) -> Response:
    try:
        status = await signing_status(call.context.database)
    except NoLog as error:
        raise Problem(503, f"The state of the log cannot be read: {error}.") from error
    newest = status.newest
    answer: LogDocument = {
        "origin": status.origin,
        "sealedSize": status.sealed,
        "checkpoint": None if newest is None else {
            "size": newest.size,
            "root": base64.b64encode(newest.root).decode(),
            "signedAt": rfc3339(newest.signed_at),
            "copiedAt": optional_time(newest.copied_at),
            "cosignatures": status.cosignatures,
        },
        "protectedSince": optional_time(status.first_signed_at),
        "lagSeconds": status.lag,
        "signing": {
            "state": status.state,
            "finding": FindingName.INCONSISTENT if status.state is SigningState.STOPPED else None,
            "detail": status.detail,
            "since": rfc3339(status.since),
        },
        "copies": {"enabled": status.copies, "waiting": status.waiting_copies},
    }  # fmt: skip
    return json_answer(answer)


ENDPOINTS = (
    Endpoint(
        "GET", "/api/audit/log", get_log_state, Who.READERS_OF_ALL,
        "The log's name, its newest signed checkpoint, and whether signing goes on.",
        {200: Answer(LogDocument, "The state of the log. `checkpoint` is null before the first one.")}, problems=(503,),
    ),
)  # fmt: skip
