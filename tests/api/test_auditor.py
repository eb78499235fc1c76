"""An auditor reads everything but the accounts, and changes nothing."""

from datetime import UTC, datetime
from typing import Any

import pytest

from events.job import Job, JobError, Status, cancel, fail, start
from tests.api.test_changes_stream import changes
from tests.api.test_chatwork import message, room
from tests.api.test_companies import PERIOD, company
from tests.service_fixture import Service, service

__all__ = ["service"]


async def failed_job(service: Service) -> Job:
    return await service.run(
        await service.job_of(service.employee),
        lambda job: start(job, attempt=1, worker="w1"),
        lambda job: fail(job, attempt=1, worker="w1", error=JobError("E", "m", "a stack"), retry_in=None),
    )


async def test_an_auditor_reads_jobs_of_everybody(service: Service) -> None:
    job = await failed_job(service)

    listed = (await service.as_auditor.get("/api/jobs", params={"userId": service.employee.id})).json()["jobs"]
    chosen = (await service.as_auditor.get("/api/jobs", params={"ids": job.id})).json()["jobs"]
    counted = (await service.as_auditor.get("/api/jobs/counts")).json()["counts"]

    assert [each["id"] for each in listed] == [each["id"] for each in chosen] == [job.id]
    assert counted["failed"] == 1
    for address in ("", "/events", "/waiting", "?seq=1"):
        assert (await service.as_auditor.get(f"/api/jobs/{job.id}{address}")).status_code == 200


async def test_an_auditor_gets_no_stack_anywhere(service: Service) -> None:
    job = await failed_job(service)
    ndjson = {"Accept": "application/x-ndjson"}

    told = [
        await service.as_auditor.get("/api/jobs"),
        await service.as_auditor.get(f"/api/jobs/{job.id}"),
        await service.as_auditor.get(f"/api/jobs/{job.id}/events"),
        await service.as_auditor.get(f"/api/jobs/{job.id}/events", headers=ndjson),
        await service.as_auditor.get(f"/api/jobs/{job.id}/events", headers={"Accept": "text/event-stream"}),
        await service.as_auditor.get("/api/events"),
        await service.as_auditor.get("/api/events", headers=ndjson),
    ]

    assert [(answer.status_code, "stack" in answer.text) for answer in told] == [(200, False)] * len(told)
    assert "a stack" in (await service.as_admin.get("/api/events")).text


async def test_an_auditor_reads_what_admins_read_but_not_the_users(service: Service) -> None:
    room_id = await room(service.context.database, "7", "営業")
    await message(service.context.database, "7", "1", datetime(2026, 12, 24, tzinfo=UTC))
    company_id = await company(service)

    for address in (
        "/api/events", "/api/audit/verify", "/api/workers", "/api/job-types", "/api/chatwork/rooms",
        f"/api/chatwork/rooms/{room_id}/messages", "/api/companies", f"/api/companies/{company_id}/chatwork-rooms",
        f"/api/companies/{company_id}/summaries/drafts", "/api/auth/me",
    ):  # fmt: skip
        assert (await service.as_auditor.get(address)).status_code == 200, address
    refused = await service.as_auditor.get("/api/users")
    assert (refused.status_code, refused.json()["detail"]) == (403, "Only an admin may do this.")


async def test_an_auditor_is_told_of_every_change(service: Service) -> None:
    async with changes(service.as_auditor) as stream:
        job = await service.job_of(service.employee)

        assert await stream.some(1) == [(job.id, 1)]


READS_ONLY = "An auditor may read everything and change nothing."
CHANGES: list[tuple[str, str, Any]] = [
    ("POST", "/api/jobs/{job}/cancel", None),
    ("POST", "/api/jobs/{job}/retry", None),
    ("POST", "/api/jobs/{job}/again", None),
    ("POST", "/api/jobs/bulk", {"action": "cancel", "filter": {}}),
    ("POST", "/api/companies", {"name": "佐藤建設"}),
    ("POST", "/api/companies/{company}/summaries/draft", PERIOD),
]
CHANGES_OF_ADMINS: list[tuple[str, str, Any]] = [
    ("POST", "/api/jobs/{job}/force-fail", {"reason": "x"}),
    ("POST", "/api/job-types/summary_draft/pause", None),
    ("POST", "/api/job-types/summary_draft/resume", None),
    ("POST", "/api/chatwork/rooms/sync", None),
    ("POST", "/api/chatwork/messages/sync", None),
    ("PATCH", "/api/chatwork/rooms/{room}", {"isActive": False}),
    ("POST", "/api/companies/{company}/chatwork-rooms", {"roomId": "7"}),
    ("DELETE", "/api/companies/{company}/chatwork-rooms/7", None),
]


@pytest.mark.parametrize(
    ("method", "path", "body", "detail"),
    [
        *((*change, READS_ONLY) for change in CHANGES),
        *((*change, "Only an admin may do this.") for change in CHANGES_OF_ADMINS),
    ],
)
async def test_an_auditor_changes_nothing_not_even_own_jobs(
    service: Service, method: str, path: str, body: Any, detail: str
) -> None:
    """The job is the auditor's own, from a time with another role."""
    job = await service.run(await service.job_of(service.auditor, "summary_draft"), lambda job: cancel(job, reason="x"))
    waiting = await service.job_of(service.auditor, "summary_draft", {"n": 2})
    names = {
        "job": waiting.id if path.endswith(("cancel", "fail")) else job.id,
        "company": await company(service),
        "room": await room(service.context.database, "7", "営業"),
    }

    answer = await service.as_auditor.request(method, path.format(**names), json=body)

    assert (answer.status_code, answer.json()["detail"]) == (403, detail)
    jobs = await service.context.jobs.get_many([job.id, waiting.id])
    assert {each.id: each.status for each in jobs} == {job.id: Status.CANCELED, waiting.id: Status.QUEUED}
