"""A company's rooms, name and archive; its drafts as a list, with the messages that they rest on."""

from pathlib import Path

from playwright.async_api import Browser, expect

from tests.browser.conftest import Visit
from tests.browser.screens import button, region
from tests.browser.site import Site, open_site
from tests.browser.test_job import pasted

PERIODS = {"9月": ("2026-09-01", "2026-10-01"), "10月": ("2026-10-01", "2026-11-01")}


async def a_company(site: Site, name: str, *rooms: str) -> str:
    company_id = str((await site.as_admin.post("/api/companies", json={"name": name})).json()["company"]["id"])
    for room in rooms:
        await site.as_admin.post(f"/api/companies/{company_id}/chatwork-rooms", json={"roomId": room})
    return company_id


async def a_draft(site: Site, company_id: str, first: str, end: str) -> None:
    period = {"periodStart": f"{first}T00:00:00+09:00", "periodEnd": f"{end}T00:00:00+09:00"}
    address = f"/api/companies/{company_id}/summaries/draft"
    answer = await site.as_admin.post(address, json=period, headers={"Prefer": "wait=60"})
    assert answer.json()["status"] == "completed", answer.text


async def test_several_rooms_of_many_are_found_by_typing_and_linked_at_once(
    browser: Browser, postgres_url: str, template: str, tmp_path: Path, visit: Visit
) -> None:
    rooms = {str(number): ["一"] for number in range(100, 300)}
    async with open_site(postgres_url, template, tmp_path, rooms=rooms) as site:
        await site.sync("rooms")
        page = await visit(site, f"/companies/{await a_company(site, 'みほん')}", user=site.admin)
        linked = region(page, "紐づいているルーム")
        await expect(page.get_by_text("先に上の「紐づいているルーム」でルームを紐づけてください")).to_be_visible()

        field = linked.get_by_role("combobox", name="ルームを選択")
        await field.fill("room 21")
        await expect(linked.get_by_role("option")).to_have_count(12)
        await page.keyboard.press("ArrowDown")
        await page.keyboard.press("Enter")
        await field.fill("２５")
        await linked.get_by_role("option", name="Room 250").click()
        await expect(linked.get_by_role("option", name="Room 250")).to_have_attribute("aria-selected", "true")
        await page.keyboard.press("Escape")
        await button(linked, "2 件を紐づける").click()

        await expect(linked.get_by_role("listitem")).to_have_count(2)
        await expect(linked.get_by_role("listitem")).to_contain_text(["Room 210", "Room 250"])
        await expect(page.get_by_text("先に上の「紐づいているルーム」")).to_have_count(0)
        await page.close()


async def test_a_company_is_renamed_archived_and_restored(idle_site: Site, visit: Visit) -> None:
    company = await a_company(idle_site, "古い名前")
    page = await visit(idle_site, f"/companies/{company}", user=idle_site.admin)

    await page.get_by_label("古い名前: その他の操作").click()
    await button(page, "名前を変更…").click()
    await expect(page.get_by_role("textbox", name="会社名")).to_be_focused()
    await page.keyboard.press("ControlOrMeta+a")
    await page.keyboard.type("新しい名前")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", level=2, name="新しい名前")).to_be_visible()

    await page.get_by_label("新しい名前: その他の操作").click()
    await button(page, "アーカイブ").click()
    await expect(page.get_by_text("この会社はアーカイブされています。")).to_be_visible()
    await expect(button(page, "下書きを作成")).to_have_count(0)
    await page.goto("/companies")
    companies = page.get_by_role("navigation", name="会社")
    await expect(companies.get_by_role("link")).to_have_count(0)
    await companies.get_by_role("checkbox", name="アーカイブ済みの会社を表示（1）").check()
    await companies.get_by_role("link", name="新しい名前").click()
    await page.get_by_label("新しい名前: その他の操作").click()
    await button(page, "アーカイブから戻す").click()

    await expect(button(page, "下書きを作成")).to_be_visible()


async def test_an_employee_may_not_change_a_company_itself(idle_site: Site, visit: Visit) -> None:
    company = await a_company(idle_site, "みほん")

    page = await visit(idle_site, f"/companies/{company}?dialog=rename", user=idle_site.employee)

    await expect(page.get_by_role("heading", level=2, name="みほん")).to_be_visible()
    await expect(page.get_by_label("みほん: その他の操作")).to_have_count(0)
    await expect(page.get_by_role("dialog")).to_have_count(0)


async def test_drafts_are_a_list_by_period_and_one_can_be_deleted(site: Site, visit: Visit) -> None:
    company = await a_company(site, "みほん")
    for period in PERIODS.values():
        await a_draft(site, company, *period)
    page = await visit(site, f"/companies/{company}", user=site.employee)
    drafts = region(page, "下書き")
    october, september = "2026年10月1日 〜 10月31日", "2026年9月1日 〜 9月30日"
    await expect(drafts.locator(".draft-list").get_by_role("link")).to_contain_text([october, september])

    await button(drafts, f"{october} の下書きを削除").click()
    await expect(page.get_by_role("dialog", name="下書きを削除")).to_contain_text(october)
    await page.keyboard.press("Enter")

    await expect(drafts.locator(".draft-list").get_by_role("link")).to_have_count(1)
    await expect(drafts.get_by_role("article", name=september)).to_be_visible()


async def test_a_draft_shows_its_sources_and_is_copied_in_the_readers_language(site: Site, visit: Visit) -> None:
    await site.sync("rooms")
    await site.sync("messages")
    company = await a_company(site, "みほん", "30")
    await a_draft(site, company, *PERIODS["10月"])
    page = await visit(site, f"/companies/{company}", user=site.admin)
    article = region(page, "下書き").get_by_role("article")

    await article.get_by_text("出典 1 件").click()
    source = article.locator(".source-list").get_by_role("listitem")
    await expect(source).to_contain_text("Room 30")
    await expect(source).to_contain_text("納期は金曜日です")
    in_chatwork = source.get_by_role("link", name="Chatwork で開く")
    assert (await in_chatwork.get_attribute("href") or "").startswith("https://www.chatwork.com/#!rid30-")
    await button(article, "Markdown をコピー").click()
    copied = await pasted(page)
    assert "## 要約" in copied
    assert "## Summary" not in copied
    await source.get_by_role("link", name="メッセージを見る").click()
    await expect(page.get_by_role("dialog", name="Room 30")).to_contain_text("納期は金曜日です")


async def test_an_empty_draft_says_so_in_the_readers_language_only(site: Site, visit: Visit) -> None:
    company = await a_company(site, "みほん")
    await a_draft(site, company, *PERIODS["9月"])

    japanese = await visit(site, f"/companies/{company}", user=site.employee)
    english = await visit(site, f"/companies/{company}", user=site.employee, language="en-US")

    await expect(japanese.get_by_role("article").get_by_text("この期間のメッセージはありません。").first).to_be_visible()
    await expect(japanese.get_by_text("No messages in this period.")).to_have_count(0)
    await expect(english.get_by_role("article").get_by_text("No messages in this period.").first).to_be_visible()
    await expect(english.get_by_text("この期間のメッセージはありません。")).to_have_count(0)
