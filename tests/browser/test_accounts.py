"""Invited people set their password; auditors see no button that changes something."""

from playwright.async_api import expect

from tests.browser.conftest import Visit
from tests.browser.screens import button, link, rows, sign_in
from tests.browser.site import Site
from tests.browser.watch import Watch
from tests.service_fixture import user_of

PASSWORD = "a violin under the lime tree"


async def test_an_invited_person_sets_the_password_by_the_link_and_signs_in(site: Site, visit: Visit, watch: Watch) -> None:
    watch.expect(r"status of (404|422) .*/api/auth/invitation")
    new = {"email": "new@example.com", "role": "employee"}
    user = (await site.as_admin.post("/api/users", json=new)).json()["user"]
    invitation = (await site.as_admin.post(f"/api/users/{user['id']}/invitation")).json()["invitation"]
    link_of_invitation = invitation["link"].removeprefix(site.address)

    page = await visit(site, link_of_invitation)
    await page.get_by_label("新しいパスワード").fill("short")
    await button(page, "パスワードを設定").click()
    await expect(page.get_by_role("alert")).to_contain_text("このパスワードは設定できません。")
    await page.get_by_label("新しいパスワード").fill(PASSWORD)
    await button(page, "パスワードを設定").click()
    await expect(page.get_by_role("status").filter(has_text="パスワードを設定しました。")).to_be_visible()
    assert page.url == f"{site.address}/invitation"
    await page.get_by_role("link", name="サインインへ").click()
    await sign_in(page, "new@example.com", PASSWORD)
    await expect(page.get_by_role("heading", level=1, name="会社")).to_be_visible()

    again = await visit(site, link_of_invitation)
    await again.get_by_label("新しいパスワード").fill(PASSWORD)
    await button(again, "パスワードを設定").click()
    await expect(again.get_by_role("alert")).to_contain_text("使用済みか、有効期限が切れています")


async def test_an_auditor_sees_all_jobs_and_the_log_may_verify_it_and_changes_nothing(site: Site, visit: Visit) -> None:
    auditor = await user_of(site.database, "auditor@example.com", "auditor", "監査 一郎")
    job = await site.sync("rooms")
    await site.as_admin.post("/api/companies", json={"name": "佐藤建設"})

    page = await visit(site, "/jobs", user=auditor)

    await expect(rows(page, "ジョブ")).to_have_count(1)
    await expect(link(page, "Chatwork連携")).to_have_count(0)
    await expect(page.get_by_role("checkbox")).to_have_count(0)
    await page.goto(f"/jobs/{job['id']}")
    await expect(page.get_by_role("heading", level=1, name="ルーム同期")).to_be_visible()
    await expect(button(page, "新しいジョブとして再実行")).to_have_count(0)
    await link(page, "監査").click()
    await expect(rows(page, "ログ").first).to_be_visible()
    await expect(button(page, "検証する")).to_be_enabled()
    await page.goto("/audit?part=operations")
    await expect(page.get_by_role("heading", name="ジョブの種類")).to_be_visible()
    await expect(page.get_by_role("button", name="一時停止")).to_have_count(0)
    await page.goto("/companies")
    await page.get_by_role("link", name="佐藤建設").click()
    await expect(page.get_by_role("heading", level=2, name="佐藤建設")).to_be_visible()
    await expect(button(page, "会社を追加")).to_have_count(0)
