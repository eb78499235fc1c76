"""The limits of one person: ordinary use stays far below them, and the page shows a refusal."""

from urllib.parse import urlsplit

from playwright.async_api import Request, expect

from tests.browser.conftest import Visit
from tests.browser.screens import button, card, expect_status, region
from tests.browser.site import Site
from tests.browser.watch import Watch

SCREENS = ("/jobs", "/companies", "/audit", "/chatwork")
LEFT_FREE = 600 // 3  # requests: with a third of LIMIT_REQUESTS a person may have three pages open


async def test_a_sync_and_a_walk_through_all_screens_need_a_third_of_the_limit_at_most(site: Site, visit: Visit) -> None:
    page = await visit(site, "/chatwork", user=site.admin)
    asked: list[str] = []

    def ask(request: Request) -> None:
        if (path := urlsplit(request.url).path).startswith("/api/"):
            asked.append(path)

    page.on("request", ask)
    for sync in ("ルーム同期", "メッセージ同期"):
        await region(page, sync).get_by_role("button", name=sync, exact=True).click()
        await expect_status(card(page, sync), "completed")
    for _ in range(2):
        for screen in SCREENS:
            await page.goto(f"{site.address}{screen}")
            await expect(page.get_by_role("heading").first).to_be_visible()

    assert len(SCREENS) < len(asked) < LEFT_FREE


async def test_a_page_that_is_over_the_limit_says_so_and_when_to_try_again(idle_site: Site, visit: Visit, watch: Watch) -> None:
    watch.expect(r"status of 429")
    idle_site.variables["LIMIT_REQUESTS"] = "1/hour"
    await idle_site.serve.kill()
    await idle_site.restart()
    page = await visit(idle_site, "/companies", user=idle_site.admin)

    await expect(page.get_by_role("alert").first).to_contain_text("操作の回数が上限に達しました")
    await expect(page.get_by_role("alert").first).to_contain_text("秒後にもう一度お試しください")


async def test_a_job_over_the_limit_is_refused_with_what_helps(idle_site: Site, visit: Visit, watch: Watch) -> None:
    watch.expect(r"status of 429")
    idle_site.variables["LIMIT_ACTIVE_JOBS"] = "1"
    await idle_site.serve.kill()
    await idle_site.restart()
    page = await visit(idle_site, "/chatwork", user=idle_site.admin)
    await region(page, "ルーム同期").get_by_role("button", name="ルーム同期", exact=True).click()
    await expect_status(card(page, "ルーム同期"), "queued")

    await button(region(page, "メッセージ同期"), "メッセージ同期").click()

    await expect(page.get_by_text("ジョブが上限（1件）に達しています")).to_be_visible()
