"""Each job of the API says in a few words what it is about.

The words hold the names of companies and rooms.
"""

from typing import Any

from tests.service_fixture import Service, service

__all__ = ["service"]

NO_COMPANY = "0190b1a0-0000-7000-8000-000000000000"
PERIOD = {"periodStart": "2026-09-01T00:00:00Z", "periodEnd": "2026-12-01T00:00:00Z"}
PERIOD_PART = {"kind": "period", "start": "2026-09-01T00:00:00.000000Z", "end": "2026-12-01T00:00:00.000000Z"}


async def a_company(service: Service, name: str) -> str:
    return str((await service.as_admin.post("/api/companies", json={"name": name})).json()["company"]["id"])


async def descriptions(service: Service) -> list[Any]:
    return [job["description"] for job in (await service.as_admin.get("/api/jobs")).json()["jobs"]]


async def test_a_list_names_the_company_and_the_period_of_each_draft(service: Service) -> None:
    company = await a_company(service, "あけぼの食品")
    await service.job_of(service.employee, "summary_draft", {"companyId": NO_COMPANY, **PERIOD})
    await service.job_of(service.employee, "summary_draft", {"companyId": company, **PERIOD})

    assert await descriptions(service) == [
        [{"kind": "company", "id": company, "name": "あけぼの食品"}, PERIOD_PART],
        [{"kind": "company", "id": NO_COMPANY, "name": None}, PERIOD_PART],
    ]


async def test_a_sync_of_one_room_names_the_room(service: Service) -> None:
    query = "insert into chatwork_rooms (room_id, name, is_active) values ('7', '製造部', true)"
    await service.context.database.execute(query)
    await service.job_of(None, "chatwork_messages_sync", {"roomId": "8"})
    await service.job_of(None, "chatwork_messages_sync", {"roomId": "7"})

    assert await descriptions(service) == [
        [{"kind": "room", "roomId": "7", "name": "製造部"}],
        [{"kind": "room", "roomId": "8", "name": None}],
    ]


async def test_every_answer_with_a_job_has_its_description(service: Service) -> None:
    company = await a_company(service, "みほん")
    job = await service.job_of(service.employee, "summary_draft", {"companyId": company, **PERIOD})
    expected = [{"kind": "company", "id": company, "name": "みほん"}, PERIOD_PART]

    answers = [
        await service.as_employee.get(f"/api/jobs/{job.id}"),
        await service.as_employee.get(f"/api/jobs/{job.id}?seq=1"),
        await service.as_employee.post(f"/api/jobs/{job.id}/cancel", json={}),
        await service.as_employee.post(f"/api/jobs/{job.id}/retry", json={}),
    ]

    assert [answer.json()["job"]["description"] for answer in answers] == [expected] * 4


async def test_a_payload_that_is_no_payload_of_the_type_has_no_description(service: Service) -> None:
    await service.job_of(None, "summary_draft", {"companyId": "../../etc"})
    await service.job_of(None, "chatwork_messages_sync", {"roomId": ["7"]})

    assert await descriptions(service) == [[], []]
