"""Dialogs: the first field has the focus, Enter confirms, and Back closes.

The address names the open dialog.
"""

import re

from playwright.async_api import expect

from tests.browser.conftest import Visit
from tests.browser.screens import button, job_row
from tests.browser.site import Site


async def test_a_name_and_enter_add_a_company(idle_site: Site, visit: Visit) -> None:
    page = await visit(idle_site, "/companies", user=idle_site.admin)
    await button(page, "会社を追加").click()
    await expect(page.get_by_role("textbox", name="会社名")).to_be_focused()

    await page.keyboard.type("株式会社あけぼの")
    await page.keyboard.press("Enter")

    await expect(page.get_by_role("heading", name="株式会社あけぼの")).to_be_visible()
    await expect(page.get_by_role("dialog")).to_have_count(0)


async def test_back_closes_a_dialog_and_leads_no_further(idle_site: Site, visit: Visit) -> None:
    page = await visit(idle_site, "/companies", user=idle_site.admin)
    await button(page, "会社を追加").click()
    await expect(page).to_have_url(re.compile(r"/companies\?dialog=add$"))

    await page.go_back()

    await expect(page.get_by_role("dialog")).to_have_count(0)
    await expect(page).to_have_url(re.compile(r"/companies$"))
    await expect(button(page, "会社を追加")).to_be_focused()


async def test_after_a_dialog_was_closed_back_leads_to_the_screen_before(idle_site: Site, visit: Visit) -> None:
    page = await visit(idle_site, "/jobs", user=idle_site.admin)
    await page.get_by_role("navigation", name="メインメニュー").get_by_role("link", name="会社").click()
    await button(page, "会社を追加").click()
    await expect(page.get_by_role("dialog")).to_be_visible()

    await page.keyboard.press("Escape")
    await expect(page).to_have_url(re.compile(r"/companies$"))
    await page.go_back()

    await expect(page).to_have_url(re.compile(r"/jobs$"))


async def test_a_link_opens_a_dialog_and_closing_it_stays_on_the_screen(idle_site: Site, visit: Visit) -> None:
    page = await visit(idle_site, "/companies?dialog=add", user=idle_site.admin)
    await expect(page.get_by_role("dialog", name="会社を追加")).to_be_visible()

    await button(page.get_by_role("dialog"), "やめる").click()

    await expect(page.get_by_role("dialog")).to_have_count(0)
    await expect(page).to_have_url(re.compile(r"/companies$"))


async def test_enter_confirms_a_dialog_without_a_field(idle_site: Site, visit: Visit) -> None:
    job = await idle_site.begin("rooms")
    page = await visit(idle_site, "/jobs?since=1h", user=idle_site.admin)
    await job_row(page, job).get_by_role("checkbox").check()
    await button(page, "まとめてキャンセル…").click()
    await expect(page.get_by_role("dialog").get_by_role("heading")).to_be_focused()
    await expect(button(page.get_by_role("dialog"), "1 件をキャンセル")).to_be_enabled()

    await page.keyboard.press("Enter")

    await idle_site.becomes(job, "canceled")
    await expect(page.get_by_role("dialog")).to_have_count(0)
