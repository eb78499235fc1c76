"""The company endpoints manage companies, linked rooms and summary drafts."""

from datetime import UTC, datetime, timedelta
from typing import Any

from tests.api.test_chatwork import jobs, message, room
from tests.service_fixture import Service, service
from workers.summaries.drafts import Period, save_draft
from workers.summaries.summary import Summary

__all__ = ["service"]

NOBODY = "0190b1a0-0000-7000-8000-000000000000"
PERIOD = {"periodStart": "2026-11-01T00:00:00Z", "periodEnd": "2026-12-01T00:00:00Z"}


async def company(service: Service, name: str = "山田商店") -> str:
    answer = await service.as_employee.post("/api/companies", json={"name": name})
    assert answer.status_code == 201
    return str(answer.json()["company"]["id"])


async def test_a_company_is_added_once_and_listed(service: Service) -> None:
    company_id = await company(service)

    again = await service.as_employee.post("/api/companies", json={"name": " 山田商店 "})
    listed = (await service.as_employee.get("/api/companies")).json()

    assert (again.status_code, again.json()["errors"][0]["path"]) == (409, "name")
    assert [(found["id"], found["name"]) for found in listed["companies"]] == [(company_id, "山田商店")]


async def test_an_invalid_company_name_is_refused(service: Service) -> None:
    for name in ("", "   ", "　", "x" * 201, 7, None):
        answer = await service.as_employee.post("/api/companies", json={"name": name})

        assert (answer.status_code, answer.json()["errors"][0]["path"]) == (422, "name"), name
    assert (await service.as_employee.get("/api/companies")).json() == {"companies": []}


async def test_a_link_assigns_the_stored_messages_and_unlinking_unassigns_them(service: Service) -> None:
    company_id = await company(service)
    room_id = await room(service.context.database, "7", "営業")
    await message(service.context.database, "7", "1", datetime(2026, 11, 23, tzinfo=UTC))

    async def owner() -> Any:
        return (await service.as_admin.get(f"/api/chatwork/rooms/{room_id}/messages")).json()["messages"][0]["companyId"]

    linked = await service.as_admin.post(f"/api/companies/{company_id}/chatwork-rooms", json={"roomId": "7"})
    assert (linked.status_code, linked.json()["room"]["roomId"]) == (201, "7")
    assert linked.json()["room"]["messageCount"] == 1
    assert (await service.as_employee.get(f"/api/companies/{company_id}/chatwork-rooms")).json() == {
        "rooms": [linked.json()["room"]]
    }
    assert await owner() == company_id

    assert (await service.as_admin.delete(f"/api/companies/{company_id}/chatwork-rooms/7")).status_code == 204
    assert await owner() is None
    assert (await service.as_admin.delete(f"/api/companies/{company_id}/chatwork-rooms/7")).status_code == 404


async def test_a_link_of_an_unknown_room_or_company_is_refused(service: Service) -> None:
    company_id = await company(service)
    links = f"/api/companies/{company_id}/chatwork-rooms"

    assert (await service.as_admin.post(links, json={"roomId": "7"})).status_code == 404
    assert (await service.as_admin.post(links, json={"roomId": 7})).status_code == 422
    assert (await service.as_admin.post(links, json={"roomId": "seven"})).status_code == 422
    assert (await service.as_admin.post(f"/api/companies/{NOBODY}/chatwork-rooms", json={"roomId": "7"})).status_code == 404
    assert (await service.as_admin.delete(f"{links}/seven")).status_code == 400
    assert (await service.as_admin.delete(f"/api/companies/{NOBODY}/chatwork-rooms/7")).status_code == 404
    assert (await service.as_admin.get(f"/api/companies/{NOBODY}/chatwork-rooms")).status_code == 404


async def test_an_employee_may_read_links_but_not_change_them(service: Service) -> None:
    links = f"/api/companies/{await company(service)}/chatwork-rooms"

    assert (await service.as_employee.get(links)).json() == {"rooms": []}
    assert (await service.as_employee.post(links, json={"roomId": "7"})).status_code == 403
    assert (await service.as_employee.delete(f"{links}/7")).status_code == 403


async def test_a_draft_is_one_job_for_each_user_and_period(service: Service) -> None:
    address = f"/api/companies/{await company(service)}/summaries/draft"
    same_in_tokyo = {"periodStart": "2026-11-01T09:00:00+09:00", "periodEnd": "2026-12-01"}

    first = await service.as_employee.post(address, json=PERIOD)
    second = await service.as_employee.post(address, json=same_in_tokyo)
    others = await service.as_other.post(address, json=PERIOD)

    assert (first.status_code, first.json()["status"]) == (202, "queued")
    assert second.json() == first.json()
    assert others.json()["jobId"] != first.json()["jobId"]
    assert (await service.as_employee.get(f"/api/jobs/{first.json()['jobId']}")).json()["job"]["maxAttempts"] == 3


async def test_a_current_draft_is_answered_without_a_job(service: Service) -> None:
    company_id = await company(service)
    draft = await a_draft(service, company_id)

    answer = await service.as_employee.post(f"/api/companies/{company_id}/summaries/draft", json=PERIOD)
    listed = await service.as_employee.get(f"/api/companies/{company_id}/summaries/drafts")

    assert (answer.status_code, answer.json()) == (200, {"cached": True, "draft": draft})
    assert listed.json() == {"drafts": [draft]}
    assert await jobs(service) == 0


async def test_a_draft_is_made_again_when_there_are_more_messages(service: Service) -> None:
    company_id = await company(service)
    await a_draft(service, company_id)
    await room(service.context.database, "7", "営業")
    await service.as_admin.post(f"/api/companies/{company_id}/chatwork-rooms", json={"roomId": "7"})
    await message(service.context.database, "7", "1", datetime(2026, 11, 23, tzinfo=UTC))
    await service.as_admin.post(f"/api/companies/{company_id}/chatwork-rooms", json={"roomId": "7"})

    answer = await service.as_employee.post(f"/api/companies/{company_id}/summaries/draft", json=PERIOD)

    assert answer.status_code == 202


async def test_the_idempotency_key_is_looked_up_before_the_current_draft(service: Service) -> None:
    company_id = await company(service)
    key = {"Idempotency-Key": "k"}
    first = await service.as_employee.post(f"/api/companies/{company_id}/summaries/draft", json=PERIOD, headers=key)
    await a_draft(service, company_id)

    again = await service.as_employee.post(f"/api/companies/{company_id}/summaries/draft", json=PERIOD, headers=key)
    other = PERIOD | {"periodEnd": "2026-11-30T00:00:00Z"}
    refused = await service.as_employee.post(f"/api/companies/{company_id}/summaries/draft", json=other, headers=key)

    assert (again.status_code, again.json()) == (202, first.json())
    assert refused.status_code == 422


async def test_an_invalid_period_is_refused_and_names_the_field(service: Service) -> None:
    address = f"/api/companies/{await company(service)}/summaries/draft"
    cases: dict[str, dict[str, Any]] = {
        "periodStart": PERIOD | {"periodStart": "yesterday"},
        "periodEnd": PERIOD | {"periodEnd": PERIOD["periodStart"]},
        "company": PERIOD | {"company": "x"},
        "period_end": PERIOD | {"period_end": "2026-12-01"},
    }

    for name, body in cases.items():
        answer = await service.as_employee.post(address, json=body)

        assert (answer.status_code, answer.json()["errors"][0]["path"]) == (422, name)
    assert (await service.as_employee.post(f"/api/companies/{NOBODY}/summaries/draft", json=PERIOD)).status_code == 404
    assert await jobs(service) == 0


async def a_draft(service: Service, company_id: str) -> Any:
    """Stores a draft of PERIOD as the job does, and returns the draft's JSON."""
    start = datetime(2026, 11, 1, tzinfo=UTC)
    period = Period(start, start + timedelta(days=30))
    draft = await save_draft(
        service.context.database, company_id, period, Summary("## Summary", (), "extractive", "1"), source_messages=0
    )
    return draft.to_json()
