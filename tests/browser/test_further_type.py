"""A job type that the page does not know is shown by the title that the service gives."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio
from playwright.async_api import Browser, expect

from tests.browser.conftest import Visit
from tests.browser.job_histories import a_job, histories_of
from tests.browser.screens import job_row, rows
from tests.browser.site import Site, open_site
from tests.fourth_type import INVOICE_EXPORT, UNTITLED, main


@pytest_asyncio.fixture(loop_scope="session")
async def further_site(browser: Browser, postgres_url: str, template: str, tmp_path: Path) -> AsyncIterator[Site]:
    async with open_site(postgres_url, template, tmp_path, works=False, main=main) as site:
        yield site


async def test_a_further_job_type_is_listed_with_the_others_under_its_title(further_site: Site, visit: Visit) -> None:
    site = further_site
    async with histories_of(site) as store:
        wanted = await a_job(store, user=site.employee, type=INVOICE_EXPORT.name, payload={"fiscalYear": 2026})
        await a_job(store, user=site.employee)
    page = await visit(site, "/jobs", user=site.employee)
    await expect(rows(page, "ジョブ")).to_have_count(2)

    choice = page.get_by_label("種類", exact=True)
    await choice.select_option(label="請求書の書き出し — invoice_export")

    await expect(rows(page, "ジョブ")).to_have_count(1)
    await expect(job_row(page, wanted.id)).to_contain_text("請求書の書き出し · 2026年度")
    assert await choice.locator("option").all_inner_texts() == [
        "すべての種類",
        "ルーム同期 — chatwork_rooms_sync",
        "メッセージ同期 — chatwork_messages_sync",
        "要約の下書き — summary_draft",
        "請求書の書き出し — invoice_export",
        "untitled_work",
    ]
    await page.goto(f"/jobs/{wanted.id}")
    await expect(page.get_by_role("heading", level=1)).to_have_text("請求書の書き出し")


async def test_a_further_job_type_can_be_paused_on_the_page(further_site: Site, visit: Visit) -> None:
    page = await visit(further_site, "/audit?part=operations", user=further_site.admin, language="en-US")

    for job_type, heading in ((INVOICE_EXPORT, "請求書の書き出し"), (UNTITLED, "untitled_work")):
        await expect(page.get_by_role("heading", name=heading, exact=True)).to_be_visible()
        await expect(page.get_by_role("button", name=f"Pause {job_type.name}")).to_be_visible()
