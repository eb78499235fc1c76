"""The page works with a keyboard, a screen reader, a phone, other languages, a dark theme."""

import json
from collections.abc import AsyncIterator
from importlib import util
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Locator, Page, Response, expect

from tests.browser.conftest import Visit
from tests.browser.job_histories import a_job, completed, failed, failed_and_retried, histories_of, so_far, started
from tests.browser.screens import button, card, expect_status
from tests.browser.site import Site, open_site
from tests.histories import until
from tests.service_fixture import PASSWORD

SCREENS = (
    "sign-in",
    "chatwork",
    "jobs",
    "job",
    "failed job",
    "companies",
    "company",
    "audit",
    "access",
    "operations",
    "not found",
)
LARGEST_FIRST_LOAD = 150_000  # bytes of compressed script


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def furnished(
    browser: Browser, postgres_url: str, template: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[Site, dict[str, str]]]:
    """A site with data on every screen, and the path of each screen.

    Tests that share this site must not change it.
    """
    async with open_site(postgres_url, template, tmp_path_factory.mktemp("furnished")) as site:
        await site.sync("rooms")
        site.sandbox.fail(status=403, times=100, room_id="30")
        await site.sync("messages")
        # The type is paused, because the site's worker would start these jobs at once.
        await site.as_admin.post("/api/job-types/chatwork_messages_sync/pause", json={})
        async with histories_of(site) as store:
            steps = (started, so_far(1, 3), failed_and_retried, started, so_far(2, 3), completed(3))
            job = await a_job(store, *steps, user=site.admin)
            bad = await a_job(store, started, so_far(1, 3), failed, user=site.employee)
        await site.as_admin.post("/api/job-types/chatwork_messages_sync/resume", json={})
        yield site, _addresses(job.id, bad.id, await _a_company_with_a_draft(site))


async def _a_company_with_a_draft(site: Site) -> str:
    company = (await site.as_admin.post("/api/companies", json={"name": "株式会社みほん"})).json()["company"]["id"]
    await site.as_admin.post(f"/api/companies/{company}/chatwork-rooms", json={"roomId": "20"})
    period = {"periodStart": "2026-10-01T00:00:00Z", "periodEnd": "2026-11-01T00:00:00Z"}
    answer = await site.as_admin.post(f"/api/companies/{company}/summaries/draft", json=period, headers={"Prefer": "wait=60"})
    assert answer.status_code == 202, answer.text
    return str(company)


def _addresses(job: str, failed_job: str, company: str) -> dict[str, str]:
    paths = ["/", "/chatwork", "/jobs", f"/jobs/{job}?seq=3", f"/jobs/{failed_job}", "/companies", f"/companies/{company}"]
    return dict(zip(SCREENS, [*paths, "/audit", "/audit?part=access", "/audit?part=operations", "/jobs/nonsense"], strict=True))


async def look(visit: Visit, furnished: tuple[Site, dict[str, str]], screen: str, **how: Any) -> Page:
    """Opens a screen. Returns the page after everything on it has loaded."""
    site, addresses = furnished
    user = None if screen == "sign-in" else site.admin
    page = await visit(site, addresses[screen], user=user, **how)
    await expect(page.get_by_role("heading", level=1)).to_be_visible()
    await page.wait_for_function("() => !document.querySelector('.loading, [aria-busy=\"true\"]')")
    if screen == "company":
        await expect(page.get_by_role("article").get_by_role("heading", name="要約", exact=True)).to_be_visible()
    return page


async def tab_to(page: Page, target: Locator) -> None:
    for _ in range(60):
        await page.keyboard.press("Tab")
        if await target.evaluate("(element) => element === document.activeElement"):
            return
    raise AssertionError(f"the Tab key does not lead to {target}")


async def test_a_user_signs_in_and_starts_a_sync_with_the_keyboard_alone(site: Site, visit: Visit) -> None:
    page = await visit(site)
    await tab_to(page, page.get_by_role("textbox", name="メールアドレス"))
    await page.keyboard.type("admin@example.com")
    await page.keyboard.press("Tab")
    await page.keyboard.type(PASSWORD)
    await page.keyboard.press("Enter")
    await expect(button(page, "ルーム同期")).to_be_visible()

    await tab_to(page, button(page, "ルーム同期"))
    await page.keyboard.press("Enter")

    await expect_status(card(page, "ルーム同期"), "completed")


async def test_a_dialog_keeps_the_focus_until_escape_closes_it(idle_site: Site, visit: Visit) -> None:
    page = await visit(idle_site, "/companies", user=idle_site.admin)
    add = button(page, "会社を追加")
    await add.focus()
    await page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name="会社を追加")
    await expect(dialog).to_be_visible()
    for _ in range(12):
        await page.keyboard.press("Tab")
        assert await page.evaluate("document.activeElement === document.body || !!document.activeElement.closest('dialog')")

    await page.keyboard.press("Escape")

    await expect(dialog).to_have_count(0)
    await expect(add).to_be_focused()


@pytest.mark.parametrize(
    ("language", "first", "other", "after"),
    [("ja-JP", "Chatwork連携", "English", "Chatwork settings"), ("en-US", "Chatwork settings", "日本語", "Chatwork連携")],
)
async def test_the_page_uses_the_browsers_language_until_the_user_chooses_another(
    furnished: tuple[Site, dict[str, str]], visit: Visit, language: str, first: str, other: str, after: str
) -> None:
    page = await look(visit, furnished, "chatwork", language=language)
    await expect(page.get_by_role("heading", level=1, name=first)).to_be_visible()
    await expect(page.locator("html")).to_have_attribute("lang", language[:2])

    await page.get_by_label("アカウント" if language == "ja-JP" else "Account", exact=True).click()
    await page.get_by_role("radio", name=other).check()

    for _ in range(2):
        await expect(page.get_by_role("heading", level=1, name=after)).to_be_visible()
        await expect(page.locator("html")).to_have_attribute("lang", "en" if language == "ja-JP" else "ja")
        await page.reload()


async def test_the_page_is_dark_if_the_system_is_dark_until_the_user_chooses_light(
    furnished: tuple[Site, dict[str, str]], visit: Visit
) -> None:
    light, dark = await look(visit, furnished, "chatwork"), await look(visit, furnished, "chatwork", theme="dark")
    assert await brightness(light) > 0.8
    assert await brightness(dark) < 0.2

    await dark.get_by_label("アカウント", exact=True).click()
    await dark.get_by_role("radio", name="ライト").check()

    for _ in range(2):
        await expect(dark.locator("html")).to_have_attribute("data-theme", "light")
        await until(lambda: is_light(dark))
        await dark.reload()


async def is_light(page: Page) -> bool:
    return await brightness(page) > 0.8


async def brightness(page: Page) -> float:
    """Returns the brightness of the background, from 0 (black) to 1 (white).

    It draws the colour on a canvas, because a canvas understands every notation of a colour.
    """
    value: float = await page.evaluate(
        """() => {
            const canvas = document.createElement('canvas').getContext('2d')
            for (const element of [document.documentElement, document.body]) {
                canvas.fillStyle = getComputedStyle(element).backgroundColor
                canvas.fillRect(0, 0, 1, 1)
            }
            const [red, green, blue] = canvas.getImageData(0, 0, 1, 1).data
            return (red + green + blue) / 3 / 255
        }"""
    )
    return value


@pytest.mark.parametrize("screen", SCREENS)
async def test_a_phone_never_scrolls_sideways(furnished: tuple[Site, dict[str, str]], visit: Visit, screen: str) -> None:
    page = await look(visit, furnished, screen, width=390)

    assert await page.evaluate("document.scrollingElement.scrollWidth") <= 390
    assert await page.evaluate(OUTSIDE) == []


OUTSIDE = """() => {
    const scrolls = (element) => element && element !== document.documentElement && (
        /auto|scroll/.test(getComputedStyle(element).overflowX) || scrolls(element.parentElement))
    return [...document.querySelectorAll('a, button, input, select, summary, h1, h2, h3')]
        .filter((element) => element.checkVisibility() && !scrolls(element.parentElement))
        .filter((element) => element.getBoundingClientRect().width > 1 && element.getBoundingClientRect().right > innerWidth + 1)
        .map((element) => element.outerHTML.slice(0, 200))
}"""
"""Returns the controls and headings that a user cannot reach.

They are beyond the right edge, and nothing around them can be scrolled.
"""


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("screen", SCREENS)
async def test_axe_finds_no_serious_accessibility_fault(
    furnished: tuple[Site, dict[str, str]], visit: Visit, screen: str, theme: str
) -> None:
    page = await look(visit, furnished, screen, theme=theme)

    assert await what_axe_finds(page) == []


async def test_axe_finds_no_serious_accessibility_fault_in_a_dialog_on_a_phone(
    furnished: tuple[Site, dict[str, str]], visit: Visit
) -> None:
    page = await look(visit, furnished, "jobs", width=390)
    await page.get_by_role("checkbox", name="すべて選択").check()
    await button(page, "まとめて再試行…").click()
    await expect(page.get_by_role("dialog")).to_contain_text("件のジョブを再試行します。")

    assert await what_axe_finds(page) == []


async def what_axe_finds(page: Page) -> list[str]:
    await page.evaluate(AXE)
    found = await page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{violation['id']}: {node['html'][:160]} {json.dumps(node['any'][:1], ensure_ascii=False)[:300]}"
        for violation in found["violations"]
        if violation["impact"] in ("serious", "critical")
        for node in violation["nodes"]
    ]


def _axe() -> str:
    # The package is not imported, because only one of its files is needed: the script axe-core.
    spec = util.find_spec("axe_playwright_python")
    assert spec is not None
    assert spec.origin is not None
    return (Path(spec.origin).parent / "axe.min.js").read_text("utf-8")


AXE = _axe()


async def test_the_scripts_of_the_first_load_are_small(furnished: tuple[Site, dict[str, str]], visit: Visit) -> None:
    site, _ = furnished
    page = await visit(site, user=site.admin)
    responses: list[Response] = []
    page.on("response", lambda response: responses.append(response))

    await page.reload()
    await expect(page.get_by_role("heading", level=1)).to_be_visible()

    scripts = [response for response in responses if response.request.resource_type == "script"]
    assert scripts
    assert sum([int(await response.header_value("content-length") or 10**9) for response in scripts]) < LARGEST_FIRST_LOAD
