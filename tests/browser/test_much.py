"""The page stays responsive with ten thousand rows and a hundred events a second."""

import asyncio

from playwright.async_api import Page, expect

from events.job import Job
from events.store import Store
from events.writes import NewJob
from tests.browser.conftest import Visit
from tests.browser.job_histories import MESSAGES_SYNC, WORKER, a_job, completed, histories_of, so_far, started
from tests.browser.screens import button, expect_status, job_row, region, rows
from tests.browser.site import Site
from tests.histories import until

MANY = 10_000
DRAWN_AT_MOST = 60  # rows that are in the document at the same time
FROZEN = 1_000  # milliseconds for which the page may be blocked; usually it is far less, but tests share their machine

WATCH_STALLS = """
() => {
    let last = performance.now();
    window.longestStall = 0;
    setInterval(() => {
        const now = performance.now();
        window.longestStall = Math.max(window.longestStall, now - last);
        last = now;
    }, 10);
}
"""


async def test_ten_thousand_rows_are_scrolled_to_their_end(idle_site: Site, visit: Visit) -> None:
    async with histories_of(idle_site) as store:
        new = [NewJob(MESSAGES_SYNC, {"roomId": str(n)}, idle_site.admin.id, max_attempts=5) for n in range(MANY)]
        await store.create_many(new, actor=f"user:{idle_site.admin.id}")
    page = await visit(idle_site, "/jobs", user=idle_site.admin)
    await expect(rows(page, "ジョブ").first).to_be_visible()
    await page.evaluate(WATCH_STALLS)

    async def the_end_is_reached() -> bool:
        await page.mouse.wheel(0, 20_000)
        assert await rows(page, "ジョブ").count() < DRAWN_AT_MOST
        return await page.get_by_text("以上 10,000 件").count() == 1

    await until(the_end_is_reached, seconds=90)
    assert await longest_stall(page) < FROZEN


async def test_a_hundred_events_a_second_do_not_block_the_list_or_a_jobs_page(idle_site: Site, visit: Visit) -> None:
    async with histories_of(idle_site) as store:
        job = await a_job(store, started, user=idle_site.admin)
        a_list = await visit(idle_site, "/jobs", user=idle_site.admin)
        one_job = await visit(idle_site, f"/jobs/{job.id}", user=idle_site.admin)
        for page in (a_list, one_job):
            await expect(page.get_by_text("ライブ", exact=True)).to_be_visible()
            await page.evaluate(WATCH_STALLS)

        job = await a_flood(store, job, seconds=5)
        await store.append(job, completed(3), actor=f"worker:{WORKER}")

    await expect_status(job_row(a_list, job.id), "completed")
    await expect(button(region(one_job, "履歴"), "最後のイベント")).to_be_disabled()
    await expect(region(one_job, "現在のジョブ")).to_contain_text("503")
    for page in (a_list, one_job):
        assert await longest_stall(page) < FROZEN


async def a_flood(store: Store, job: Job, *, seconds: int) -> Job:
    """Writes a hundred events a second for `seconds`. A slow machine needs longer."""
    for second in range(seconds):
        until_the_next = asyncio.create_task(asyncio.sleep(1))
        for n in range(100):
            job = await store.append(job, so_far(100 * second + n, 1_000), actor=f"worker:{WORKER}")
        await until_the_next
    return job


async def longest_stall(page: Page) -> float:
    """Returns the longest time for which the page was blocked, in milliseconds."""
    return float(await page.evaluate("window.longestStall"))
