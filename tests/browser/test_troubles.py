"""Errors and empty states: each has a message and a way to go on."""

import re

from playwright.async_api import Route, expect

from tests.browser.conftest import Visit
from tests.browser.screens import button, card, expect_status, expect_toast, region
from tests.browser.site import Site
from tests.browser.watch import Watch


async def test_an_error_of_the_server_is_shown_with_a_button_that_tries_again(
    idle_site: Site, visit: Visit, watch: Watch
) -> None:
    watch.expect(r"status of 500")
    page = await visit(idle_site, "/companies", user=idle_site.admin)
    await expect(page.get_by_text("会社はまだありません")).to_be_visible()
    broken = "**/api/companies"

    async def fail(route: Route) -> None:
        await route.fulfill(status=500, content_type="application/problem+json", body='{"status": 500, "detail": "oops"}')

    await page.route(broken, fail)
    await page.reload()
    await expect(page.get_by_role("alert")).to_contain_text("サーバーで問題が発生しました")
    await page.unroute(broken)
    await button(page, "再読み込み").click()

    await expect(page.get_by_text("会社はまだありません")).to_be_visible()


async def test_a_sync_without_a_chatwork_token_shows_a_message(idle_site: Site, visit: Visit, watch: Watch) -> None:
    watch.expect(r"status of 400")
    idle_site.variables.pop("CHATWORK_API_TOKEN")
    await idle_site.serve.kill()
    await idle_site.restart()
    page = await visit(idle_site, "/chatwork", user=idle_site.admin)

    await button(page, "ルーム同期").click()

    await expect(page.get_by_role("alert")).to_contain_text("CHATWORK_API_TOKEN")
    assert await idle_site.jobs() == []


async def test_syncs_that_cannot_be_loaded_are_not_shown_as_never_run(idle_site: Site, visit: Visit, watch: Watch) -> None:
    watch.expect(r"status of 500")
    page = await visit(idle_site, "/companies", user=idle_site.admin)

    async def fail(route: Route) -> None:
        await route.fulfill(status=500, content_type="application/problem+json", body='{"status": 500, "detail": "oops"}')

    await page.route("**/api/jobs?*", fail)
    await page.goto("/chatwork")

    await expect(region(page, "ルーム同期").get_by_role("alert")).to_contain_text("サーバーで問題が発生しました")
    await expect(page.get_by_text("まだ一度も実行されていません")).to_have_count(0)


async def test_a_failed_request_is_repeated_by_itself(idle_site: Site, visit: Visit, watch: Watch) -> None:
    watch.expect(r"net::ERR_FAILED")
    page = await visit(idle_site, "/jobs", user=idle_site.admin)
    unreachable = re.compile("/api/companies|/readyz")
    await page.route(unreachable, lambda route: route.abort())
    await page.get_by_role("link", name="会社", exact=True).click()
    await expect(page.get_by_role("alert")).to_contain_text("自動的に再試行しています")

    await page.unroute(unreachable)

    await expect(page.get_by_text("会社はまだありません")).to_be_visible()


async def test_the_page_of_an_unknown_job_leads_back_to_the_list(idle_site: Site, visit: Visit) -> None:
    page = await visit(idle_site, "/jobs/nonsense", user=idle_site.admin)

    await page.get_by_role("link", name="一覧に戻る").click()

    await expect(page.get_by_text("ジョブはまだありません")).to_be_visible()


async def test_a_browser_whose_clock_is_ahead_shows_no_job_as_silent(site: Site, visit: Visit) -> None:
    held = site.sandbox.hold()
    page = await visit(site, user=site.admin)
    await page.add_init_script("const now = Date.now; Date.now = () => now() + 10 * 60_000")
    await page.reload()

    await button(page, "ルーム同期").click()

    shown = card(page, "ルーム同期")
    await expect_status(shown, "processing")
    await expect(shown.get_by_text("最終更新")).to_have_text(re.compile("^最終更新 (たった今|[0-9]+秒前)$"))
    held.release()
    await expect_toast(page, "ルーム同期が完了しました")
