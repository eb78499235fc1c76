"""The page stays up to date: after broken streams, after a dead API, and without streams."""

from playwright.async_api import Page, expect

from tests.browser.conftest import Visit
from tests.browser.screens import card, expect_status, expect_toast
from tests.browser.site import Site
from tests.browser.watch import Watch
from tests.proxy import proxy_before

SYNC = "ルーム同期"
BROKEN = r"net::ERR_|TypeError: network error"


async def expect_dot(page: Page, *words: str) -> None:
    first, *rest = (page.get_by_text(word, exact=True) for word in words)
    for other in rest:
        first = first.or_(other)
    await expect(first).to_be_visible()


async def test_after_a_stream_was_cut_the_page_shows_the_present_state(site: Site, visit: Visit, watch: Watch) -> None:
    watch.expect(BROKEN)
    held = site.sandbox.hold()
    async with proxy_before(site.address) as proxy:
        page = await visit(site, user=site.admin, origin=proxy.url.partition("?")[0])
        await expect_dot(page, "ライブ")
        job = await site.begin("rooms")
        await expect_status(card(page, SYNC), "processing")

        proxy.closed_to_new = True
        proxy.cut()
        await expect_dot(page, "再接続中", "2秒ごとに更新")
        held.release()
        await site.becomes(job, "completed")
        await expect_status(card(page, SYNC), "processing")
        proxy.closed_to_new = False

        await expect_status(card(page, SYNC), "completed")
        await expect_dot(page, "ライブ")
        await expect_toast(page, "ルーム同期が完了しました")


async def test_after_a_restart_of_the_api_the_page_shows_what_happened_meanwhile(
    large_site: Site, visit: Visit, watch: Watch
) -> None:
    site = large_site
    watch.expect(BROKEN)
    held = site.sandbox.hold()
    page = await visit(site, user=site.admin)
    await expect_dot(page, "ライブ")
    job = await site.begin("rooms")
    await expect_status(card(page, SYNC), "processing")

    await site.serve.kill()
    await expect_dot(page, "再接続中", "2秒ごとに更新")
    held.release()
    await site.restart()

    await site.becomes(job, "completed")
    await expect_status(card(page, SYNC), "completed")
    await expect_dot(page, "ライブ")
    await expect_toast(page, "ルーム同期が完了しました")


async def test_without_streams_the_page_polls_every_two_seconds(site: Site, visit: Visit, watch: Watch) -> None:
    watch.expect(r"net::ERR_FAILED .*/api/jobs/stream")
    page = await visit(site, user=site.admin, fails="**/api/jobs/stream")
    await expect_dot(page, "2秒ごとに更新")
    held = site.sandbox.hold()

    await site.begin("rooms")

    await expect_status(card(page, SYNC), "processing")
    held.release()
    await expect_status(card(page, SYNC), "completed")
    await expect_toast(page, "ルーム同期が完了しました")


async def test_a_job_that_ended_before_the_page_was_opened_is_shown_correctly(site: Site, visit: Visit) -> None:
    job = await site.sync("rooms")

    page = await visit(site, user=site.admin)

    await expect_status(card(page, SYNC), "completed")
    await page.goto(f"/jobs/{job['id']}")
    await expect(page.get_by_role("region", name="現在のジョブ")).to_contain_text("完了")
    await expect_dot(page, "ライブ")


async def test_an_offline_page_says_so_and_is_updated_when_the_network_is_back(site: Site, visit: Visit, watch: Watch) -> None:
    watch.expect(BROKEN)
    page = await visit(site, user=site.admin)
    await expect_dot(page, "ライブ")

    await page.context.set_offline(True)
    await expect(page.get_by_text("オフラインです")).to_be_visible()
    await site.sync("rooms")
    await page.context.set_offline(False)

    await expect(page.get_by_text("オフラインです")).to_have_count(0)
    await expect_status(card(page, SYNC), "completed")
