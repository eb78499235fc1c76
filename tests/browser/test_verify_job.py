"""A job's screen: request and cause of an event, and the verification of the job's history in words."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect

from tests.browser.conftest import Visit
from tests.browser.job_histories import a_job, failed_and_retried, histories_of, started
from tests.browser.screens import button, region
from tests.browser.site import Site, open_site
from tests.browser.test_for_everybody import tab_to, what_axe_finds
from tests.browser.watch import Watch
from tests.histories import until
from tests.service_fixture import user_of


@pytest_asyncio.fixture(loop_scope="session")
async def signed_site(browser: Browser, postgres_url: str, template: str, tmp_path: Path) -> AsyncIterator[Site]:
    """A site that signs checkpoints with a key of its own, and keeps their copies in a file."""
    settings = {"APP_ENV": "development", "AUDIT_CHECKPOINT_URL": (tmp_path / "copies").as_uri()}
    async with open_site(postgres_url, template, tmp_path, settings=settings) as site:
        yield site


async def test_a_sound_history_is_verified_with_the_keyboard_and_explained(site: Site, visit: Visit) -> None:
    job = await site.sync("rooms")
    page = await visit(site, f"/jobs/{job['id']}", user=site.admin)
    verify = button(page, "この履歴を検証")
    await expect(verify).to_be_visible()

    await tab_to(page, verify)
    await page.keyboard.press("Enter")

    result = region(page, "検証の結果")
    await expect(result).to_contain_text("この履歴に問題は見つかりませんでした")
    await expect(result).to_contain_text(f"記録された {job['seq']} 件のイベントからジョブの状態を計算し直し")
    await expect(result).to_contain_text("署名済みチェックポイントはまだありません")


async def test_a_finding_is_named_and_explained_in_both_languages(site: Site, visit: Visit) -> None:
    job = await site.sync("rooms")
    await site.database.execute("update jobs set attempt = 2 where id = :id", {"id": job["id"]})
    for language, press, where, texts in (
        ("ja-JP", "この履歴を検証", "検証の結果", ("1 件の問題が見つかりました", "VIEW_DRIFT", "記録のほうが正しく")),
        ("en-US", "Verify this job", "Result of the verification", ("1 fault found", "VIEW_DRIFT", "The record counts")),
    ):
        page = await visit(site, f"/jobs/{job['id']}", user=site.admin, language=language)

        await button(page, press).click()

        for text in texts:
            await expect(region(page, where)).to_contain_text(text)


async def test_the_result_belongs_to_one_job_and_does_not_follow_to_another(site: Site, visit: Visit) -> None:
    old = await site.sync("rooms")
    again = (await site.as_admin.post(f"/api/jobs/{old['id']}/again")).json()["jobId"]
    page = await visit(site, f"/jobs/{again}?seq=1", user=site.admin)
    await button(page, "この履歴を検証").click()
    await expect(region(page, "検証の結果")).to_contain_text("検証日時")

    await (
        region(page, "このイベントの記録").get_by_role("link", name=f"ジョブ {old['id'][-8:]} のイベント #{old['seq']}").click()
    )

    await expect(page.get_by_text(old["id"], exact=True).first).to_be_visible()
    await expect(region(page, "検証の結果")).to_have_count(0)


async def test_a_retry_leads_to_the_failure_that_caused_it(site: Site, visit: Visit) -> None:
    await site.as_admin.post("/api/job-types/chatwork_messages_sync/pause", json={})
    async with histories_of(site) as store:
        job = await a_job(store, started, failed_and_retried, user=site.admin)
    page = await visit(site, f"/jobs/{job.id}?seq=4", user=site.admin)
    facts = region(page, "このイベントの記録")

    await facts.get_by_role("link", name="イベント #3").click()

    await expect(page.get_by_role("slider", name="イベントを選択")).to_have_value("3")
    await expect(facts).to_contain_text("原因なし")


async def test_the_request_of_an_event_is_shown_and_an_employee_may_not_verify(site: Site, visit: Visit) -> None:
    answer = await site.as_admin.post("/api/chatwork/rooms/sync", json={}, headers={"X-Request-Id": "r-from-the-desk"})
    job_id = answer.json()["jobId"]
    await site.database.execute("update jobs set user_id = :user where id = :id", {"user": site.employee.id, "id": job_id})

    page = await visit(site, f"/jobs/{job_id}?seq=1", user=site.employee)

    await expect(region(page, "このイベントの記録")).to_contain_text("r-from-the-desk")
    await expect(button(page, "履歴をダウンロード")).to_be_visible()
    await expect(button(page, "この履歴を検証")).to_have_count(0)


async def test_the_proof_of_a_signed_event_is_a_file_and_the_badge_names_the_copy_outside(
    signed_site: Site, visit: Visit
) -> None:
    job = await signed_site.sync("rooms")

    async def is_signed() -> bool:
        return bool(await signed_site.database.fetch_val("select count(*) > 0 from checkpoints where copied_at is not null"))

    await until(is_signed, seconds=60)
    page = await visit(signed_site, f"/jobs/{job['id']}?seq=1", user=signed_site.admin)

    async with page.expect_download() as downloading:
        await button(page, "証明をダウンロード").click()

    download = await downloading.value
    assert download.suggested_filename == f"{job['id']}-1.tlog-proof"
    assert (await download.path()).read_text("utf-8").startswith("c2sp.org/tlog-proof@v1\n")
    await button(page, "この履歴を検証").click()
    await expect(region(page, "検証の結果")).to_contain_text("その写しは")
    await page.goto("/audit")
    await expect(region(page, "署名による保護")).to_contain_text("署名済み")
    await expect(region(page, "署名による保護")).to_contain_text("チェックポイントの写しが外部に保管されています")


async def test_without_a_checkpoint_the_page_says_that_there_is_no_proof_yet(site: Site, visit: Visit, watch: Watch) -> None:
    watch.expect("status of 409 .*/api/audit/proof/")
    job = await site.sync("rooms")
    page = await visit(site, f"/jobs/{job['id']}?seq=1", user=site.admin)

    await button(page, "証明をダウンロード").click()

    await expect(region(page, "このイベントの記録").get_by_role("alert")).to_contain_text("証明はまだありません")


async def test_an_auditor_verifies_a_job_too(site: Site, visit: Visit) -> None:
    job = await site.sync("rooms")
    auditor = await user_of(site.database, "auditor@example.com", "auditor", "監査 次郎")
    page = await visit(site, f"/jobs/{job['id']}", user=auditor)

    await button(page, "この履歴を検証").click()

    await expect(region(page, "検証の結果")).to_contain_text("問題は見つかりませんでした")


@pytest.mark.parametrize("theme", ["light", "dark"])
async def test_axe_finds_no_fault_in_a_result_on_a_phone(site: Site, visit: Visit, theme: str) -> None:
    job = await site.sync("rooms")
    await site.database.execute("update jobs set attempt = 2 where id = :id", {"id": job["id"]})
    page = await visit(site, f"/jobs/{job['id']}", user=site.admin, width=390, theme=theme)

    await button(page, "この履歴を検証").click()
    await expect(region(page, "検証の結果")).to_contain_text("検証日時")

    assert await what_axe_finds(page) == []
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
