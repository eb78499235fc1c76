"""Companies are renamed, archived and restored; drafts are deleted, and their sources can be read."""

from datetime import UTC, datetime
from typing import Any

from tests.api.test_chatwork import message, room
from tests.api.test_companies import NOBODY, PERIOD, company
from tests.service_fixture import Service, service
from workers.summaries.drafts import Draft, Period, save_draft
from workers.summaries.summary import Summary

__all__ = ["service"]

NOVEMBER = Period(datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC))


async def changed(service: Service, company_id: str, **changes: Any) -> Any:
    return await service.as_admin.patch(f"/api/companies/{company_id}", json=changes)


async def a_draft(service: Service, company_id: str, *sources: str) -> Draft:
    summary = Summary("## Summary\n\nx\n", sources, "none", "v1")
    return await save_draft(service.context.database, company_id, NOVEMBER, summary, source_messages=1_807, used_messages=300)


def drafts_of(company_id: str, draft_id: str = "", rest: str = "") -> str:
    return f"/api/companies/{company_id}/summaries/drafts" + (f"/{draft_id}{rest}" if draft_id else "")


async def test_a_company_gets_another_name_and_keeps_everything_else(service: Service) -> None:
    company_id = await company(service)
    before = (await service.as_admin.get("/api/companies")).json()["companies"][0]

    answer = await changed(service, company_id, name=" あけぼの食品 ")

    assert (answer.status_code, answer.json()["company"]) == (200, before | {"name": "あけぼの食品"})
    assert (await service.as_employee.get("/api/companies")).json()["companies"] == [answer.json()["company"]]


async def test_a_company_may_not_get_the_name_of_another_one_but_its_own_in_another_width(service: Service) -> None:
    company_id = await company(service, "ABC商事")
    await company(service, "あけぼの食品")

    assert (await changed(service, company_id, name="ＡＢＣ商事")).json()["company"]["name"] == "ＡＢＣ商事"
    taken = await changed(service, company_id, name="あけぼの食品")
    assert (taken.status_code, taken.json()["errors"][0]["path"]) == (409, "name")
    for name in ("", "  ", "\u200b", "x" * 201):
        refused = await changed(service, company_id, name=name)
        assert (refused.status_code, refused.json()["errors"][0]["path"]) == (422, "name"), name
    assert (await changed(service, NOBODY, name="new")).status_code == 404


async def test_an_archived_company_keeps_its_drafts_and_gets_no_new_one_until_it_is_restored(service: Service) -> None:
    company_id = await company(service)
    draft = await a_draft(service, company_id)

    archived = (await changed(service, company_id, archived=True)).json()["company"]
    again = (await changed(service, company_id, archived=True)).json()["company"]

    assert archived["archivedAt"] is not None
    assert again == archived
    address = f"/api/companies/{company_id}/summaries/draft"
    period = PERIOD | {"periodEnd": "2026-11-30T00:00:00Z"}
    refused = await service.as_employee.post(address, json=period)
    assert (refused.status_code, refused.json()["detail"]) == (409, "This company is archived. Restore it first.")
    listed = (await service.as_employee.get(drafts_of(company_id))).json()["drafts"]
    assert [found["id"] for found in listed] == [draft.id]

    assert (await changed(service, company_id, archived=False)).json()["company"]["archivedAt"] is None
    assert (await service.as_employee.post(address, json=period)).status_code == 202


async def test_a_deleted_draft_is_gone_and_only_its_own_company_can_delete_it(service: Service) -> None:
    company_id, other = await company(service), await company(service, "another one")
    draft = await a_draft(service, company_id)

    assert (await service.as_employee.delete(drafts_of(other, draft.id))).status_code == 404
    assert (await service.as_employee.delete(drafts_of(company_id, draft.id))).status_code == 204
    assert (await service.as_employee.delete(drafts_of(company_id, draft.id))).status_code == 404
    assert (await service.as_employee.get(drafts_of(company_id))).json() == {"drafts": []}


async def test_the_changes_are_on_record(service: Service) -> None:
    company_id = await company(service)
    draft = await a_draft(service, company_id)

    await changed(service, company_id, name="新しい名前", archived=True)
    await service.as_admin.delete(drafts_of(company_id, draft.id))

    records = (await service.as_admin.get("/api/audit/access")).json()["records"]
    told = {record["action"]: record["target"] for record in records}
    assert told["delete_draft"] == f"company:{company_id} draft:{draft.id}"
    assert told["change_company"] == f"company:{company_id} name archived=true"


async def test_a_reader_of_a_draft_reads_its_sources_as_long_as_they_belong_to_the_company(service: Service) -> None:
    company_id, database = await company(service), service.context.database
    room_id = await room(database, "7", "営業")
    for message_id, day in (("1", 3), ("2", 2), ("3", 4)):
        await message(database, "7", message_id, datetime(2026, 11, day, tzinfo=UTC))
    await service.as_admin.post(f"/api/companies/{company_id}/chatwork-rooms", json={"roomId": "7"})
    draft = await a_draft(service, company_id, "1", "2", "99")

    async def sources() -> Any:
        return (await service.as_employee.get(drafts_of(company_id, draft.id, "/sources"))).json()["sources"]

    found = await sources()
    assert [source["messageId"] for source in found] == ["2", "1"]
    assert {(source["roomId"], source["room"], source["roomName"]) for source in found} == {("7", room_id, "営業")}
    assert found[0]["sentAt"] == "2026-11-02T00:00:00.000000Z"
    assert isinstance(found[0]["body"], str)
    assert (await service.as_employee.get(drafts_of(NOBODY, draft.id, "/sources"))).status_code == 404

    await service.as_admin.delete(f"/api/companies/{company_id}/chatwork-rooms/7")
    assert await sources() == []


async def test_a_draft_says_how_many_of_the_periods_messages_it_has_read(service: Service) -> None:
    company_id = await company(service)
    await a_draft(service, company_id)

    (draft,) = (await service.as_employee.get(drafts_of(company_id))).json()["drafts"]

    assert (draft["sourceMessageCount"], draft["usedMessageCount"]) == (1_807, 300)
