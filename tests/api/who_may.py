"""The table of who may do what: one row for each method and path.

`test_who_may.py` makes its tests from it. A row has a status for each caller, in the order of
`CALLERS`. "=" after a status says that this success writes nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from tests.api.things import Things
from tests.service_fixture import PASSWORD

CALLERS = ("nobody", "other", "owner", "auditor", "admin")
"""Without a token; another employee; the employee who owns the job; an auditor; an admin."""


class JobState(StrEnum):
    QUEUED = "queued"
    PROCESSING = "processing"
    CANCELED = "canceled"


@dataclass(frozen=True, slots=True)
class Row:
    """The expected statuses of one method and path.

    `writes` names the tables that a successful request changes, unless "=" follows its status.
    `body` and `query` make a valid request. `job` is the state of the owner's job before each
    request.
    """

    statuses: str
    writes: str = ""
    body: Callable[[Things], dict[str, Any]] | None = None
    query: str = ""
    job: JobState = JobState.QUEUED

    def status(self, caller: str) -> int:
        return int(self._cell(caller).removesuffix("="))

    def tables(self, caller: str) -> set[str]:
        """Returns the tables that this caller's request changes."""
        changes = self.status(caller) < 300 and not self._cell(caller).endswith("=")
        return set(self.writes.split()) if changes else set()

    def _cell(self, caller: str) -> str:
        return dict(zip(CALLERS, self.statuses.split(), strict=True))[caller]


def _bulk(action: str) -> Callable[[Things], dict[str, Any]]:
    return lambda things: {"action": action, "ids": [things.job_id]}


PERIOD = {"periodStart": "2026-11-01T00:00:00Z", "periodEnd": "2026-12-01T00:00:00Z"}
NEW_PASSWORD = "a violin under the lime tree"
JOB = "jobs job_events"
ANYONE = Row("200 200 200 200 200")
SIGNED_IN = Row("401 200 200 200 200")
THEIR_JOB = Row("401 404 200 200 200")
READERS = Row("401 403 403 200 200")

WHO_MAY: dict[str, Row] = {
    "POST /api/auth/login": Row("200 200 200 200 200", body=lambda things: things.credentials),
    "POST /api/auth/logout": Row("401 204 204 204 204", "ended_tokens"),
    "GET /api/auth/methods": ANYONE,
    "GET /api/auth/oidc/start": Row("404 404 404 404 404"),  # This service has no OIDC_ISSUER.
    "GET /api/auth/oidc/callback": Row("404 404 404 404 404"),
    "GET /api/auth/me": SIGNED_IN,
    "POST /api/auth/invitation": Row(
        "404 404 404 404 404", body=lambda _: {"token": "not an invitation", "password": NEW_PASSWORD}
    ),
    "GET /api/users": Row("401 403 403 403 200"),
    "POST /api/users": Row("401 403 403 403 201", "users", lambda things: {"email": f"{things.job_id}@x", "role": "employee"}),
    "GET /api/users/{id}": Row("401 403 403 403 200"),
    "PATCH /api/users/{id}": Row("401 403 403 403 200", "users", lambda _: {"role": "auditor"}),
    "POST /api/users/{id}/sign-out": Row("401 403 403 403 200", "users"),
    "POST /api/users/{id}/invitation": Row("401 403 403 403 201", "invitations"),
    "GET /api/jobs": SIGNED_IN,
    "GET /api/jobs/counts": SIGNED_IN,
    "GET /api/jobs/stream": SIGNED_IN,
    "POST /api/jobs/bulk": Row("401 200= 200 403 200", JOB, _bulk("cancel")),
    "GET /api/jobs/{id}": THEIR_JOB,
    "GET /api/jobs/{id}/events": THEIR_JOB,
    "GET /api/jobs/{id}/waiting": THEIR_JOB,
    "POST /api/jobs/{id}/cancel": Row("401 404 200 403 200", JOB),
    "POST /api/jobs/{id}/retry": Row("401 404 200 403 200", JOB, job=JobState.CANCELED),
    "POST /api/jobs/{id}/again": Row("401 404 202 403 202", JOB, job=JobState.CANCELED),
    "POST /api/jobs/{id}/force-fail": Row("401 403 403 403 200", JOB, job=JobState.PROCESSING),
    "GET /api/workers": READERS,
    "GET /api/job-types": SIGNED_IN,
    "POST /api/job-types/{name}/pause": Row("401 403 403 403 200", "pauses"),
    "POST /api/job-types/{name}/resume": Row("401 403 403 403 200", "pauses"),
    "GET /api/events": READERS,
    "GET /api/audit/verify": READERS,
    "GET /api/audit/log": READERS,
    "GET /api/audit/access": READERS,
    "GET /api/audit/state": replace(READERS, query="?at=2026-11-23T09:00:00Z"),
    "GET /api/audit/log/checkpoint": READERS,
    "GET /api/audit/log/tile/{tile:path}": READERS,
    "GET /api/audit/proof/{id}/{seq}": THEIR_JOB,
    "GET /api/audit/consistency": Row("401 403 403 200 200", query="?from=1"),
    "POST /api/audit/verify": Row("401 403 403 202 202", "verifications"),
    "POST /api/audit/verify/{id}": READERS,
    "POST /api/chatwork/rooms/sync": Row("401 403 403 403 202", JOB),
    "POST /api/chatwork/messages/sync": Row("401 403 403 403 202", JOB),
    "GET /api/chatwork/budget": READERS,
    "GET /api/chatwork/rooms": READERS,
    "GET /api/chatwork/rooms/{id}/messages": READERS,
    "PATCH /api/chatwork/rooms/{id}": Row("401 403 403 403 200", "chatwork_rooms", lambda _: {"isActive": False}),
    "POST /api/chatwork/rooms/{id}/error/seen": Row(
        "401 403 403 403 200", "chatwork_unreadable", lambda _: {"lastErrorAt": "2099-01-01T00:00:00Z"}
    ),
    "GET /api/companies": SIGNED_IN,
    "POST /api/companies": Row("401 201 201 403 201", "companies", lambda things: {"name": f"new {things.company_id}"}),
    "PATCH /api/companies/{id}": Row("401 403 403 403 200", "companies", lambda things: {"name": f"now {things.company_id}"}),
    "GET /api/companies/{id}/chatwork-rooms": SIGNED_IN,
    "POST /api/companies/{id}/chatwork-rooms": Row(
        "401 403 403 403 201", "company_chatwork_rooms", lambda things: {"roomId": things.other_room_number}
    ),
    "DELETE /api/companies/{id}/chatwork-rooms/{roomId}": Row("401 403 403 403 204", "company_chatwork_rooms"),
    "POST /api/companies/{id}/summaries/draft": Row("401 202 202 403 202", JOB, lambda _: PERIOD),
    "GET /api/companies/{id}/summaries/drafts": SIGNED_IN,
    "DELETE /api/companies/{id}/summaries/drafts/{draftId}": Row("401 204 204 403 204", "summary_drafts"),
    "GET /api/companies/{id}/summaries/drafts/{draftId}/sources": SIGNED_IN,
    "GET /healthz": ANYONE,
    "GET /readyz": ANYONE,
    "GET /metrics": ANYONE,
    # This row is the last one, because its request ends the other sessions of each caller.
    "POST /api/auth/password": Row("401 204 204 204 204", "users", lambda _: {"current": PASSWORD, "new": NEW_PASSWORD}),
}
