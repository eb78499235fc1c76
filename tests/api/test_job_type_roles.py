"""The role of a job type decides who may queue it, also when a request is repeated."""

import asyncio
import time
from typing import Any

import httpx2 as httpx
import pytest

from events.job import Job, Status, cancel
from service.accounts.users import FRESH
from tests.service_fixture import Service, service

__all__ = ["service"]

REFUSED = "Only an admin may queue a job of type chatwork_rooms_sync."


async def canceled_job(service: Service, job_type: str) -> Job:
    """Makes a canceled job of the employee, as if the employee had been an admin before."""
    return await service.run(await service.job_of(service.employee, job_type), lambda job: cancel(job, reason="x"))


@pytest.mark.parametrize("job_type", ["chatwork_rooms_sync", "chatwork_messages_sync", "a_type_of_old"])
async def test_an_employee_does_not_retry_a_job_that_only_admins_may_queue(service: Service, job_type: str) -> None:
    job = await canceled_job(service, job_type)

    answer = await service.as_employee.post(f"/api/jobs/{job.id}/retry")

    assert answer.status_code == 403
    assert answer.json()["detail"] == f"Only an admin may queue a job of type {job_type}."
    assert len(await service.context.store.history.events(job.id)) == 2
    assert (await service.as_admin.post(f"/api/jobs/{job.id}/retry")).status_code == 200


async def test_an_employee_does_not_repeat_a_job_that_only_admins_may_queue(service: Service) -> None:
    job = await canceled_job(service, "chatwork_rooms_sync")

    answer = await service.as_employee.post(f"/api/jobs/{job.id}/again")

    assert (answer.status_code, answer.json()["detail"]) == (403, REFUSED)
    assert (await service.as_admin.post(f"/api/jobs/{job.id}/again")).status_code == 202


async def test_a_bulk_retry_refuses_only_the_jobs_that_the_caller_may_not_queue(service: Service) -> None:
    sync = await canceled_job(service, "chatwork_rooms_sync")
    draft = await canceled_job(service, "summary_draft")
    body: dict[str, Any] = {"action": "retry", "ids": [sync.id, draft.id]}

    done = (await service.as_employee.post("/api/jobs/bulk", json=body)).json()

    assert done == {"matched": 2, "done": 1, "refused": [{"jobId": sync.id, "detail": REFUSED}], "more": False}
    now = {job.id: job.status for job in await service.context.jobs.get_many([sync.id, draft.id])}
    assert now == {sync.id: Status.CANCELED, draft.id: Status.QUEUED}


async def test_an_employee_may_cancel_their_job_of_an_admin_type(service: Service) -> None:
    job = await service.job_of(service.employee, "chatwork_rooms_sync")

    assert (await service.as_employee.post(f"/api/jobs/{job.id}/cancel")).status_code == 200


async def test_a_demoted_admin_cannot_repeat_a_sync_by_its_key(service: Service) -> None:
    queued = await service.as_admin.post("/api/chatwork/rooms/sync", headers={"Idempotency-Key": "sync"})
    job = (await service.as_admin.post(f"/api/jobs/{queued.json()['jobId']}/cancel")).json()["job"]
    actions = [(f"/api/jobs/{job['id']}/{action}", {"Idempotency-Key": action}) for action in ("retry", "again")]
    for address, key in actions:
        assert (await service.as_admin.post(address, headers=key)).status_code in (200, 202)
    await service.context.database.execute("update users set role = 'employee' where id = :id", {"id": service.admin.id})

    await _until_demoted(service.as_admin)
    told = [await service.as_admin.post(address, headers=key) for address, key in actions]

    assert [(answer.status_code, answer.json()["detail"]) for answer in told] == [(403, REFUSED)] * 2
    assert (await service.as_admin.post("/api/chatwork/rooms/sync", headers={"Idempotency-Key": "sync"})).status_code == 403


async def test_the_list_of_job_types_says_who_may_queue_them(service: Service) -> None:
    types = (await service.as_employee.get("/api/job-types")).json()["jobTypes"]

    assert {job_type["name"]: job_type["role"] for job_type in types} == {
        "chatwork_rooms_sync": "admin", "chatwork_messages_sync": "admin", "summary_draft": "employee",
    }  # fmt: skip


async def _until_demoted(client: httpx.AsyncClient) -> None:
    give_up = time.monotonic() + FRESH + 5
    while (await client.get("/api/events")).status_code != 403:
        assert time.monotonic() < give_up
        await asyncio.sleep(0.05)
