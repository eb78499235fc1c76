"""States that nobody hopes to see: each is said in words, with a way on."""

from playwright.async_api import Route, expect

from tests.browser.conftest import Visit
from tests.browser.screens import button
from tests.browser.site import Site
from tests.browser.watch import Watch


async def test_an_error_of_the_server_is_said_and_tried_again_by_a_button(idle_site: Site, visit: Visit, watch: Watch) -> None:
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


async def test_where_chatwork_is_not_set_up_the_sync_says_so(idle_site: Site, visit: Visit, watch: Watch) -> None:
    watch.expect(r"status of 400")
    idle_site.variables.pop("CHATWORK_API_TOKEN")
    await idle_site.serve.kill()
    await idle_site.restart()
    page = await visit(idle_site, "/chatwork", user=idle_site.admin)

    await button(page, "ルーム同期").click()

    await expect(page.get_by_role("alert")).to_contain_text("CHATWORK_API_TOKEN")
    assert await idle_site.jobs() == []
