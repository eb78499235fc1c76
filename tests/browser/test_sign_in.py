"""Signing in, signing out, and the screens that each role may see."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from tests.browser.conftest import Visit
from tests.browser.screens import ONLY_ADMINS, WRONG_PASSWORD, button, link, region, sign_in
from tests.browser.site import Site, open_site
from tests.browser.watch import Watch
from tests.oidc_server import CLIENT_ID, CLIENT_SECRET, OidcServer, oidc_server
from tests.service_fixture import PASSWORD

EMAIL_TAKEN = "このメールアドレスのアカウントはすでにあります。パスワードでサインインしてください。"


@pytest_asyncio.fixture(loop_scope="session")
async def provider() -> AsyncIterator[OidcServer]:
    async with oidc_server() as provider:
        yield provider


@pytest_asyncio.fixture(loop_scope="session")
async def oidc_site(
    browser: Browser, postgres_url: str, template: str, tmp_path: Path, provider: OidcServer, watch: Watch
) -> AsyncIterator[Site]:
    """A site whose people may also sign in through `provider`."""
    watch.expect(f"^a request to {provider.url.removeprefix('http://')}$")
    settings = {"OIDC_ISSUER": provider.url, "OIDC_CLIENT_ID": CLIENT_ID, "OIDC_CLIENT_SECRET": CLIENT_SECRET}
    async with open_site(postgres_url, template, tmp_path, works=False, settings=settings) as site:
        yield site


async def sign_in_through_the_provider(page: Page) -> None:
    await page.get_by_role("link", name="組織のアカウントでサインイン", exact=True).click()


async def test_a_wrong_password_shows_a_message_and_the_right_one_opens_the_first_screen(
    site: Site, visit: Visit, watch: Watch
) -> None:
    watch.expect(r"status of 401 .*/api/auth/login")
    page = await visit(site)

    await sign_in(page, "admin@example.com", "not this one")

    await expect(page.get_by_role("alert")).to_have_text(WRONG_PASSWORD)
    await expect(page.get_by_role("navigation", name="メインメニュー")).to_have_count(0)
    await page.get_by_label("パスワード").fill(PASSWORD)
    await button(page, "サインイン").click()
    await expect(page.get_by_role("heading", level=1, name="Chatwork連携")).to_be_visible()
    await expect(link(page, "監査")).to_be_visible()


async def test_an_employee_lands_on_companies_and_gets_no_link_to_pages_for_admins(site: Site, visit: Visit) -> None:
    page = await visit(site)

    await sign_in(page, "employee@example.com", PASSWORD)

    await expect(page.get_by_role("heading", level=1, name="会社")).to_be_visible()
    await expect(link(page, "会社")).to_have_attribute("aria-current", "page")
    await expect(page.get_by_role("navigation", name="メインメニュー").get_by_role("link")).to_have_text(["ジョブ", "会社"])
    for address in ("/chatwork", "/audit"):
        await page.goto(address)
        await expect(page.get_by_text(ONLY_ADMINS)).to_be_visible()
    await expect(button(page, "ルーム同期")).to_have_count(0)


async def test_after_a_session_ends_a_new_sign_in_leads_back_to_the_same_screen(site: Site, visit: Visit, watch: Watch) -> None:
    watch.expect(r"status of 401")
    page = await visit(site, "/jobs?status=failed", user=site.admin)
    await expect(page.get_by_text("条件に合うジョブはありません")).to_be_visible()
    (cookie,) = await page.context.cookies()

    await site.as_admin.post("/api/auth/logout", headers={"Authorization": f"Bearer {cookie['value']}"}, json={})
    await page.get_by_label("種類", exact=True).select_option("summary_draft")

    await expect(page.get_by_text("セッションの有効期限が切れました")).to_be_visible()
    await sign_in(page, "admin@example.com", PASSWORD)
    await expect(page.get_by_role("heading", level=1, name="ジョブ")).to_be_visible()
    assert page.url == f"{site.address}/jobs?status=failed&type=summary_draft"


async def test_after_signing_out_the_old_session_is_not_accepted(site: Site, visit: Visit) -> None:
    page = await visit(site, user=site.admin)
    (cookie,) = await page.context.cookies()

    await page.get_by_label("アカウント", exact=True).click()
    await button(page, "サインアウト").click()

    await expect(page.get_by_role("textbox", name="メールアドレス")).to_be_visible()
    await page.reload()
    await expect(page.get_by_role("textbox", name="メールアドレス")).to_be_visible()
    answer = await site.as_admin.get("/api/auth/me", headers={"Authorization": f"Bearer {cookie['value']}"})
    assert answer.status_code == 401


async def test_an_offline_user_stays_signed_in_and_sees_a_note(site: Site, visit: Visit, watch: Watch) -> None:
    watch.expect(r"net::ERR_|TypeError: network error")
    page = await visit(site, user=site.admin)
    await expect(page.get_by_text("ライブ", exact=True)).to_be_visible()
    await page.context.set_offline(True)

    await page.get_by_label("アカウント", exact=True).click()
    await button(page, "サインアウト").click()

    await expect(region(page, "通知").get_by_text("サインアウトできませんでした")).to_be_visible()
    await expect(button(page, "ルーム同期")).to_be_visible()


async def test_the_button_of_the_provider_signs_in_and_leads_back_to_the_same_screen(oidc_site: Site, visit: Visit) -> None:
    page = await visit(oidc_site, "/jobs?status=failed")

    await sign_in_through_the_provider(page)

    await expect(page.get_by_role("heading", level=1, name="ジョブ")).to_be_visible()
    await expect(link(page, "会社")).to_be_visible()
    assert page.url == f"{oidc_site.address}/jobs?status=failed"


async def test_a_refused_sign_in_through_the_provider_says_why(oidc_site: Site, provider: OidcServer, visit: Visit) -> None:
    provider.person["email"] = "admin@example.com"
    page = await visit(oidc_site)

    await sign_in_through_the_provider(page)

    await expect(page.get_by_role("alert")).to_have_text(EMAIL_TAKEN)
    await expect(page.get_by_role("navigation", name="メインメニュー")).to_have_count(0)
