"""A job is found by the last eight digits of its id, among the jobs that the caller may see."""

from typing import Any

from events.job import Job
from events.writes import NewJob, creation
from tests.api.test_bad_input import blamed
from tests.service_fixture import Service, service

__all__ = ["service"]


async def found(client: Any, short_id: str) -> list[str]:
    answer = await client.get("/api/jobs", params={"shortId": short_id})
    assert answer.status_code == 200, answer.text
    return [job["id"] for job in answer.json()["jobs"]]


async def job_with_end(service: Service, end: str, user_id: str) -> Job:
    write = creation(NewJob("chatwork_rooms_sync", {}, user_id, max_attempts=5), "system:test", None)
    write.job_id = f"{write.job_id[:-8]}{end}"
    created = await service.context.store._write(write)
    assert created is not None
    return created


async def test_eight_digits_find_the_job_in_either_case(service: Service) -> None:
    job = await service.job_of(service.employee)
    await service.job_of(service.employee)

    assert await found(service.as_admin, job.id[-8:]) == [job.id]
    assert await found(service.as_auditor, job.id[-8:].upper()) == [job.id]


async def test_a_short_id_of_two_jobs_finds_both_newest_first(service: Service) -> None:
    first = await job_with_end(service, "0badcafe", service.admin.id)
    second = await job_with_end(service, "0badcafe", service.employee.id)

    assert await found(service.as_admin, "0badcafe") == [second.id, first.id]
    assert await found(service.as_employee, "0badcafe") == [second.id]
    assert await found(service.as_other, "0badcafe") == []


async def test_a_short_id_must_have_eight_hexadecimal_digits_and_come_alone(service: Service) -> None:
    for query in ("shortId=1234567", "shortId=123456789", "shortId=1234567g", "shortId=%25%25%25%25%25%25%25%25"):
        assert blamed(await service.as_admin.get(f"/api/jobs?{query}")) == (422, "shortId")
    assert blamed(await service.as_admin.get("/api/jobs?shortId=0badcafe&limit=3")) == (400, "limit")


async def test_the_log_takes_a_short_id_if_one_job_has_it(service: Service) -> None:
    job = await job_with_end(service, "0badcafe", service.admin.id)
    await service.job_of(service.admin)

    answer = await service.as_admin.get("/api/events?jobId=0BADCAFE")
    assert [event["jobId"] for event in answer.json()["events"]] == [job.id]

    await job_with_end(service, "0badcafe", service.admin.id)
    for short_id in ("0badcafe", "ffffffff"):
        assert blamed(await service.as_admin.get(f"/api/events?jobId={short_id}")) == (400, "jobId")
