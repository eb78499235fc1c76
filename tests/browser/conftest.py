"""The fixtures of this folder: one browser for the whole run, and services to visit.

A fault in any page fails the test.
"""

import os
from collections.abc import AsyncIterator, Awaitable, Generator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Protocol

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, async_playwright, expect
from redis.asyncio import Redis

from service.accounts.users import User
from service.http.cookies import SESSION
from service.page import STATIC
from tests.browser.chromium import ARGUMENTS, NoBrowser, find_chromium
from tests.browser.site import Site, open_site
from tests.browser.watch import Watch

HERE = Path(__file__).parent
FOUND = pytest.StashKey[Path | NoBrowser]()
PATIENCE = 40_000  # milliseconds to wait for something in the page. Long enough for a machine with much other work


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Runs all tests of this folder in one event loop, because they share one browser."""
    for item in items:
        if item.path.is_relative_to(HERE) and pytest_asyncio.is_async_test(item):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


def pytest_collection_finish(session: pytest.Session) -> None:
    # This is not a fixture, because installing a browser may take longer than the two minutes that a test may take.
    if session.config.option.collectonly or not any(item.path.is_relative_to(HERE) for item in session.items):
        return
    try:
        session.config.stash[FOUND] = find_chromium()
    except NoBrowser as error:
        session.config.stash[FOUND] = error


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Gives all skips of this folder one location, so that pytest reports them in one line."""
    report = yield
    if report.skipped and item.path.is_relative_to(HERE) and isinstance(report.longrepr, tuple):
        report.longrepr = (str(HERE), 0, report.longrepr[2])
    return report


@pytest.fixture(scope="session")
def chromium(request: pytest.FixtureRequest) -> Path:
    found = request.config.stash[FOUND]
    if isinstance(found, NoBrowser):
        if os.environ.get("BROWSER_TESTS") == "required":
            pytest.fail(str(found), pytrace=False)
        pytest.skip(str(found))
    if not (STATIC / "index.html").exists():
        pytest.fail("the page has not been built: make setup", pytrace=False)
    return found


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser(chromium: Path) -> AsyncIterator[Browser]:
    expect.set_options(timeout=PATIENCE)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS, timeout=90_000)
        yield browser
        await browser.close()


@pytest_asyncio.fixture(loop_scope="session")
async def site(browser: Browser, postgres_url: str, template: str, tmp_path: Path) -> AsyncIterator[Site]:
    """A site with a worker inside the API's process."""
    async with open_site(postgres_url, template, tmp_path) as site:
        yield site


@pytest_asyncio.fixture(loop_scope="session")
async def idle_site(browser: Browser, postgres_url: str, template: str, tmp_path: Path) -> AsyncIterator[Site]:
    """A site without a worker, so that jobs stay in the state in which a test puts them."""
    async with open_site(postgres_url, template, tmp_path, works=False) as site:
        yield site


@pytest_asyncio.fixture(loop_scope="session")
async def large_site(
    browser: Browser, postgres_url: str, template: str, empty_redis: str, tmp_path: Path
) -> AsyncIterator[Site]:
    """A site as in production: its worker is a separate process that gets jobs over Redis."""
    async with open_site(postgres_url, template, tmp_path, redis_url=empty_redis) as site:
        yield site


@pytest_asyncio.fixture(loop_scope="session", params=[False, True], ids=["worker inside the API", "worker apart"])
async def either_site(
    request: pytest.FixtureRequest, browser: Browser, postgres_url: str, template: str, empty_redis: str, tmp_path: Path
) -> AsyncIterator[Site]:
    async with open_site(postgres_url, template, tmp_path, redis_url=empty_redis if request.param else None) as site:
        yield site


@pytest_asyncio.fixture(loop_scope="session")
async def empty_redis(redis_url: str) -> str:
    async with Redis.from_url(redis_url) as client:
        await client.flushdb()
    return redis_url


@pytest.fixture
def watch() -> Watch:
    return Watch()


class Visit(Protocol):
    """Opens an address of a site in a new browser context, signed in as `user`, or signed out."""

    def __call__(
        self,
        site: Site,
        path: str = "/",
        *,
        user: User | None = None,
        language: str = "ja-JP",
        theme: str = "light",
        width: int = 1280,
        origin: str | None = None,
        fails: str | None = None,
    ) -> Awaitable[Page]: ...


@pytest_asyncio.fixture(loop_scope="session")
async def visit(browser: Browser, watch: Watch) -> AsyncIterator[Visit]:
    async with AsyncExitStack() as stack:

        async def visit(
            site: Site,
            path: str = "/",
            *,
            user: User | None = None,
            language: str = "ja-JP",
            theme: str = "light",
            width: int = 1280,
            origin: str | None = None,
            fails: str | None = None,
        ) -> Page:
            """Opens `path`.

            `origin` is the address under which the browser opens the site, if it is not `site.address`. Requests that match
            `fails` are aborted.
            """
            origin = origin or site.address
            context = await browser.new_context(
                base_url=origin,
                locale=language,
                timezone_id="Asia/Tokyo",
                color_scheme="dark" if theme == "dark" else "light",
                reduced_motion="reduce",
                viewport={"width": width, "height": 800},
                permissions=["clipboard-read", "clipboard-write"],
            )
            stack.push_async_callback(context.close)
            context.set_default_timeout(PATIENCE)
            await watch.over(context, origin)
            if fails is not None:
                await context.route(fails, lambda route: route.abort())
            if user is not None:
                await context.add_cookies([{"name": SESSION, "value": site.token(user), "url": origin}])
            page = await context.new_page()
            await page.goto(path)
            return page

        yield visit
    assert watch.mishaps == []
