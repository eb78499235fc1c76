"""Companies: create one, link rooms, draft a summary and read it."""

import pytest
from playwright.async_api import Error, Locator, Page, expect

from tests.browser.conftest import Visit
from tests.browser.screens import button, expect_status, job_row, region
from tests.browser.site import Site
from tests.browser.watch import Watch

HEADINGS = ("要約", "主な話題", "未解決の事項", "次のアクション")
EVIL = "<img src=x onerror=\"document.title='broken'\"> 田中さん、見積書を金曜日までに送ってください。"


async def a_company(page: Page, name: str) -> None:
    await button(page, "会社を追加").click()
    dialog = page.get_by_role("dialog", name="会社を追加")
    await dialog.get_by_role("textbox", name="会社名").fill(name)
    await button(dialog, "追加").click()
    await expect(page.get_by_role("heading", name=name)).to_be_visible()


async def link(page: Page, room: str) -> Locator:
    linked = region(page, "紐づいているルーム")
    await linked.get_by_role("combobox", name="ルームを選択").fill(room)
    await page.keyboard.press("Enter")
    await page.keyboard.press("Escape")
    await button(linked, "紐づける").click()
    return linked


async def draft(page: Page) -> Locator:
    """Drafts a summary for October 2026, because the sandbox's messages are of this month."""
    form = region(page, "要約を下書きする")
    await form.get_by_label("開始日").fill("2026-10-01")
    await form.get_by_label("終了日").fill("2026-10-31")
    await button(form, "下書きを作成").click()
    return region(page, "下書き").get_by_role("article")


async def test_a_company_gets_its_rooms_and_a_draft_that_reads_as_formatted_text(site: Site, visit: Visit) -> None:
    site.sandbox.say("20", EVIL, at=1_793_000_600)
    await site.sync("rooms")
    await site.sync("messages")
    page = await visit(site, "/companies", user=site.admin)
    await expect(page.get_by_text("会社はまだありません")).to_be_visible()

    await a_company(page, "株式会社みほん")
    linked = await link(page, "Room 20")
    await expect(linked.get_by_role("listitem")).to_contain_text(["Room 20"])
    await expect(linked.get_by_role("listitem")).to_contain_text(["3 件"])
    article = await draft(page)

    for heading in HEADINGS:
        await expect(article.get_by_role("heading", name=heading, exact=True)).to_be_visible()
    await expect(article).not_to_contain_text("## ")
    await expect(article).to_contain_text("見積書")
    await expect(article.locator("img")).to_have_count(0)
    await expect(page).to_have_title("会社 · Rireki")
    (job,) = [job for job in await site.jobs() if job["type"] == "summary_draft"]
    assert (job["status"], job["result"]["sourceMessageCount"]) == ("completed", 3)
    # The days of a period begin at midnight in the reader's time zone, which is Tokyo here.
    assert job["payload"]["periodStart"].startswith("2026-09-30T15:00:00")
    assert job["payload"]["periodEnd"].startswith("2026-10-31T15:00:00")


async def test_a_second_draft_of_the_same_period_is_the_first_one(site: Site, visit: Visit) -> None:
    await site.sync("rooms")
    await site.sync("messages")
    page = await visit(site, "/companies", user=site.admin)
    await a_company(page, "みほん商事")
    await link(page, "Room 10")
    await expect(await draft(page)).to_be_visible()

    await button(region(page, "要約を下書きする"), "下書きを作成").click()

    await expect(page.get_by_text("同じ期間・同じ件数のメッセージによる下書きがあるため")).to_be_visible()
    assert len([job for job in await site.jobs() if job["type"] == "summary_draft"]) == 1


async def test_a_waiting_draft_can_be_canceled(idle_site: Site, visit: Visit) -> None:
    page = await visit(idle_site, "/companies", user=idle_site.admin)
    await a_company(page, "待機中の会社")
    form = region(page, "要約を下書きする")

    await button(form, "下書きを作成").click()

    card = region(page, "要約の下書き: 進捗")
    await expect_status(card, "queued")
    await button(card, "要約の下書き: キャンセル").click()
    await expect_status(card, "canceled")


async def test_an_employee_may_read_linked_rooms_but_not_change_them(idle_site: Site, visit: Visit) -> None:
    answer = await idle_site.as_admin.post("/api/companies", json={"name": "みほん"})
    page = await visit(idle_site, f"/companies/{answer.json()['company']['id']}", user=idle_site.employee)

    await expect(page.get_by_text("紐づけの変更は管理者のみ行えます。")).to_be_visible()

    await expect(button(page, "紐づける")).to_have_count(0)


async def test_an_employee_first_sees_their_own_drafts_and_opens_one(site: Site, visit: Visit) -> None:
    await site.sync("rooms")
    await site.sync("messages")
    company = (await site.as_admin.post("/api/companies", json={"name": "あけぼの食品"})).json()["company"]
    await site.as_admin.post(f"/api/companies/{company['id']}/chatwork-rooms", json={"roomId": "20"})
    period = {"periodStart": "2026-10-01T00:00:00+09:00", "periodEnd": "2026-11-01T00:00:00+09:00"}
    address = f"/api/companies/{company['id']}/summaries/draft"
    await site.as_employee.post(address, json=period, headers={"Prefer": "wait=60"})
    page = await visit(site, "/", user=site.employee)

    await region(page, "自分の下書き").get_by_role("link", name="あけぼの食品").click()

    await expect(region(page, "下書き").get_by_role("article")).to_contain_text("見積書")
    await expect(page.get_by_role("heading", level=2, name="あけぼの食品")).to_be_visible()


async def test_a_draft_names_its_company_in_the_list_of_jobs_and_its_job_leads_to_company_and_draft(
    site: Site, visit: Visit
) -> None:
    company = (await site.as_admin.post("/api/companies", json={"name": "あけぼの食品"})).json()["company"]
    period = {"periodStart": "2020-10-01T00:00:00+09:00", "periodEnd": "2020-11-01T00:00:00+09:00"}
    address = f"/api/companies/{company['id']}/summaries/draft"
    queued = (await site.as_admin.post(address, json=period, headers={"Prefer": "wait=60"})).json()
    page = await visit(site, "/jobs", user=site.admin)

    row = job_row(page, queued["jobId"])
    await expect(row).to_contain_text("要約の下書き · あけぼの食品 · 2020/10/1〜2020/10/31")
    await row.get_by_role("link", name="summary_draft", exact=True).click()
    await expect(page.get_by_role("link", name="あけぼの食品")).to_have_attribute("href", f"/companies/{company['id']}")
    await page.get_by_role("link", name="下書きを開く").click()

    await expect(region(page, "下書き").get_by_role("article")).to_be_visible()


async def test_no_script_of_the_page_can_write_html_from_a_string(idle_site: Site, visit: Visit, watch: Watch) -> None:
    watch.expect(r"TrustedHTML|require-trusted-types-for")
    page = await visit(idle_site, "/companies", user=idle_site.admin)
    await expect(page.get_by_text("会社はまだありません")).to_be_visible()

    with pytest.raises(Error, match="TrustedHTML"):
        await page.evaluate("document.body.innerHTML = '<b>from a string</b>'")

    await expect(page.get_by_text("会社はまだありません")).to_be_visible()
