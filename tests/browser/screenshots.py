"""Takes the screenshots of the README from a running service.

Run it as `python -m tests.browser.screenshots`.

It starts the service with the Chatwork sandbox's own rooms, works like an admin, and writes the
images to `docs/screenshots`. Run it after a change of the page.
"""

import argparse
import asyncio
import itertools
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, Page, async_playwright, expect

from migrations.migrate import migrate
from service.http.cookies import SESSION
from tests.browser.chromium import ARGUMENTS, find_chromium
from tests.browser.screens import button, region, toasts
from tests.browser.site import Site, open_site
from tests.conftest import administer, with_database
from tests.servers import postgres_server
from workers.chatwork.sandbox import Sandbox

SCREENSHOTS = Path(__file__).parents[2] / "docs" / "screenshots"
TEMPLATE = "rireki_screenshots"
COMPANIES = ("東都商事", "株式会社あおば物流", "あけぼの食品")
LINKED = dict(zip(COMPANIES, ("東都商事様 ポータル構築", "株式会社あおば物流様 保守窓口", "あけぼの食品様 提案"), strict=True))
MONTHS = ("2026-10-01T00:00:00+09:00", "2026-11-01T00:00:00+09:00", "2026-12-01T00:00:00+09:00")
WIDE, PHONE = (1280, 860), (390, 844)  # pixels: width and height


async def take_screenshots(folder: Path) -> None:
    """Writes all screenshots to this folder."""
    async with _site() as (site, browser):
        job_id = await _work(site)
        await site.becomes(job_id, "completed")

        async def take(name: str, path: str, **look: Any) -> None:
            page = await _visit(browser, site, path, **look)
            await page.screenshot(path=folder / f"{name}.png", animations="disabled")
            await page.context.close()

        await take("chatwork", "/")
        await take("jobs", "/jobs")
        await take("companies", "/companies", show=_draft)
        await take("job", f"/jobs/{job_id}?seq=4")
        await take("job-dark", f"/jobs/{job_id}?seq=6", language="en-US", theme="dark")
        await take("phone-job", f"/jobs/{job_id}?seq=4", size=PHONE)


@asynccontextmanager
async def _site() -> AsyncIterator[tuple[Site, Browser]]:
    with postgres_server() as url, tempfile.TemporaryDirectory() as home:
        await asyncio.to_thread(administer, url, f"create database {TEMPLATE}")
        await asyncio.to_thread(migrate, with_database(url, TEMPLATE))
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=find_chromium(), args=ARGUMENTS)
            async with open_site(url, TEMPLATE, Path(home), sandbox=Sandbox(limit=100_000)) as site:
                yield site, browser


async def _work(site: Site) -> str:
    """Fills the lists. Returns the id of a sync that fails twice before it is completed."""
    await site.sync("rooms")
    await site.sync("messages")
    rooms = {room["name"]: room["roomId"] for room in (await site.as_admin.get("/api/chatwork/rooms")).json()["rooms"]}
    for name, room in LINKED.items():
        answer = await site.as_admin.post("/api/companies", json={"name": name})
        company = f"/api/companies/{answer.json()['company']['id']}"
        await site.as_admin.post(f"{company}/chatwork-rooms", json={"roomId": rooms[room]})
        for start, end in itertools.pairwise(MONTHS):
            period = {"periodStart": start, "periodEnd": end}
            await site.as_employee.post(f"{company}/summaries/draft", json=period, headers={"Prefer": "wait=30"})
    await _fail_and_cancel(site, next(iter(rooms.values())))
    site.sandbox.fail(status=500, times=6)  # An attempt sends each request three times.
    return await site.begin("rooms")


async def _fail_and_cancel(site: Site, room_id: str) -> None:
    site.sandbox.fail(status=401)
    await site.becomes(await site.begin("messages", roomId=room_id), "failed")
    held = site.sandbox.hold(room_id=room_id)
    job_id = await site.begin("messages", roomId=room_id)
    await site.becomes(job_id, "processing")
    await site.as_admin.post(f"/api/jobs/{job_id}/cancel", json={})
    await site.becomes(job_id, "canceled")
    held.release()


async def _visit(
    browser: Browser,
    site: Site,
    path: str,
    *,
    language: str = "ja-JP",
    theme: str = "light",
    size: tuple[int, int] = WIDE,
    show: Any = None,
) -> Page:
    context = await browser.new_context(
        base_url=site.address,
        locale=language,
        timezone_id="Asia/Tokyo",
        color_scheme="dark" if theme == "dark" else "light",
        reduced_motion="reduce",
        viewport={"width": size[0], "height": size[1]},
    )
    await context.add_cookies([{"name": SESSION, "value": site.token(site.admin), "url": site.address}])
    page = await context.new_page()
    await page.goto(path)
    await expect(page.get_by_role("main")).to_be_visible()
    if show is not None:
        await show(page)
    await page.wait_for_function("document.fonts.status === 'loaded' && !document.querySelector('[aria-busy=true]')")
    return page


async def _draft(page: Page) -> None:
    """Drafts a summary of the first company, and scrolls to it."""
    await page.get_by_role("link", name=COMPANIES[0]).click()
    form = region(page, "要約を下書きする")
    await form.get_by_label("開始日").fill("2026-10-01")
    await form.get_by_label("終了日").fill("2026-11-30")
    await button(form, "下書きを作成").click()
    article = region(page, "下書き").get_by_role("article")
    await expect(article.get_by_role("heading", name="次のアクション")).to_be_visible(timeout=30_000)
    await toasts(page).click()
    await article.evaluate("element => element.scrollIntoView({block: 'end'})")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.browser.screenshots", description=__doc__)
    parser.add_argument("--to", type=Path, default=SCREENSHOTS, help="the folder for the images")
    asyncio.run(take_screenshots(parser.parse_args().to))


if __name__ == "__main__":
    main()
