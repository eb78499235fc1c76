"""The audit screen: the live log, its filters, and the result of the last verification."""

import re

from playwright.async_api import Route, expect

from tests.browser.conftest import Visit
from tests.browser.screens import button, region, rows
from tests.browser.site import Site


async def test_new_events_appear_in_the_shown_log(site: Site, visit: Visit) -> None:
    page = await visit(site, "/audit", user=site.admin)
    await expect(page.get_by_text("イベントはまだありません")).to_be_visible()

    job = await site.sync("rooms")

    await expect(rows(page, "ログ")).to_have_count(job["seq"])
    await expect(rows(page, "ログ").first).to_contain_text("完了")
    await expect(rows(page, "ログ").last).to_contain_text("受付")
    await site.sync("messages")
    await expect(rows(page, "ログ").filter(has_text=job["id"][-8:])).to_have_count(job["seq"])
    await expect(rows(page, "ログ").first).not_to_contain_text(job["id"][-8:])


async def test_an_event_that_gets_its_position_late_is_shown_too(idle_site: Site, visit: Visit) -> None:
    page = await visit(idle_site, "/audit", user=idle_site.admin)
    await expect(page.get_by_text("イベントはまだありません")).to_be_visible()
    await expect(page.get_by_text("ライブ", exact=True)).to_be_visible()

    async def has_none_yet(route: Route) -> None:
        await route.fulfill(json={"events": [], "searched": {"after": 0, "until": 0}})

    await page.route(re.compile("/api/events.*after=0"), has_none_yet, times=1)
    id = await idle_site.begin("rooms")

    await expect(rows(page, "ログ")).to_contain_text([id[-8:]])


async def test_the_log_is_filtered_by_event_actor_and_job(site: Site, visit: Visit) -> None:
    first = await site.sync("rooms")
    second = await site.sync("rooms")
    page = await visit(site, "/audit", user=site.admin)
    log = region(page, "ログ")
    await expect(rows(page, "ログ")).to_have_count(first["seq"] + second["seq"])

    await log.get_by_label("イベント", exact=True).select_option("queued")
    await expect(rows(page, "ログ")).to_have_count(2)
    await log.get_by_label("実行者", exact=True).select_option(label="管理 花子")
    await expect(rows(page, "ログ")).to_have_count(2)
    await log.get_by_role("searchbox", name="ジョブID").fill(first["id"])

    await expect(rows(page, "ログ")).to_have_count(1)
    await expect(rows(page, "ログ")).to_contain_text(first["id"][-8:])
    await page.reload()
    await expect(rows(page, "ログ")).to_have_count(1)
    await log.get_by_label("イベント", exact=True).select_option("canceled")
    await expect(page.get_by_text("条件に合うイベントはありません")).to_be_visible()


async def test_the_badge_says_that_log_and_view_agree_and_how_much_was_verified(site: Site, visit: Visit) -> None:
    job = await site.sync("rooms")
    page = await visit(site, "/audit", user=site.admin)
    badge = region(page, "整合性")
    await expect(badge).to_contain_text("まだ検証されていません")

    await button(badge, "検証する").click()

    await expect(badge).to_contain_text("相違はありません")
    await expect(badge).to_contain_text(f"{job['seq']} イベント・1 ジョブを検証")
    await expect(badge).to_contain_text("管理 花子")


async def test_the_badge_reports_a_view_that_was_tampered_with(site: Site, visit: Visit) -> None:
    job = await site.sync("rooms")
    await site.database.execute("update jobs set attempt = 2 where id = :id", {"id": job["id"]})
    page = await visit(site, "/audit", user=site.admin)

    await button(region(page, "整合性"), "検証する").click()

    await expect(region(page, "整合性")).to_contain_text("1 件の相違があります")


async def test_the_operations_part_shows_the_worker_and_pauses_and_resumes_a_type(site: Site, visit: Visit) -> None:
    page = await visit(site, "/audit?part=operations", user=site.admin)
    await expect(page.get_by_text("稼働中", exact=True)).to_be_visible()

    await button(page, "chatwork_rooms_sync を一時停止").click()
    await button(page.get_by_role("dialog"), "一時停止").click()

    await expect(button(page, "chatwork_rooms_sync を再開")).to_be_visible()
    waiting = await site.begin("rooms")
    assert (await site.job(waiting))["status"] == "queued"
    await button(page, "chatwork_rooms_sync を再開").click()
    await site.becomes(waiting, "completed")


CHECKPOINT = """
insert into checkpoints (origin, size, root, note)
select origin, :size, decode(repeat('ab', 32), 'hex'), 'a note' from log_origins order by number desc limit 1
"""


async def test_without_a_checkpoint_the_badge_says_that_nothing_is_signed_and_how_to_begin(site: Site, visit: Visit) -> None:
    await site.sync("rooms")
    await site.database.execute("update signing_state set state = 'unknown', detail = ''")

    page = await visit(site, "/audit", user=site.admin)

    badge = region(page, "署名による保護")
    await expect(badge).to_contain_text("署名済みチェックポイントはまだありません")
    await expect(badge).to_contain_text("AUDIT_SIGNING_KEY")
    await expect(badge).to_contain_text("rireki/")


async def test_the_badge_names_size_age_and_copy_of_the_newest_checkpoint_and_says_when_signing_stops(
    site: Site, visit: Visit
) -> None:
    job = await site.sync("rooms")
    await site.has_positions(job["seq"])
    await site.database.execute(CHECKPOINT, {"size": job["seq"] - 1})
    await site.database.execute("update signing_state set state = 'signing', detail = '', copies = true")
    await site.database.execute("update checkpoints set copied_at = now()")
    page = await visit(site, "/audit", user=site.admin)
    badge = region(page, "署名による保護")

    await expect(badge).to_contain_text(f"先頭から {job['seq'] - 1} 件が署名済み（未署名 1 件）")
    await expect(badge).to_contain_text("チェックポイントの写しが外部に保管されています")
    for fact in ("署名の範囲", "署名日時", "外部の写し", "保護の開始", "ログの名前"):
        await expect(badge.get_by_text(fact, exact=True)).to_be_visible()

    await site.database.execute("update signing_state set state = 'stopped', detail = 'the log does not extend the copy'")
    await page.reload()

    await expect(badge).to_contain_text("署名が止まっています")
    await expect(badge).to_contain_text("the log does not extend the copy")


async def test_the_record_of_access_is_shown_and_filtered(site: Site, visit: Visit) -> None:
    job = await site.sync("rooms")
    await site.database.execute("update jobs set user_id = :user where id = :id", {"user": site.employee.id, "id": job["id"]})
    await site.as_admin.get(f"/api/jobs/{job['id']}")
    await site.as_admin.get("/api/jobs", params={"status": "failed"})
    page = await visit(site, "/audit?part=access", user=site.admin)
    await expect(rows(page, "アクセス記録").filter(has_text="ジョブの閲覧")).to_have_count(1)
    await expect(rows(page, "アクセス記録").filter(has_text="jobs?status=failed")).to_have_count(1)

    await page.get_by_label("操作", exact=True).select_option("read_job")

    await expect(rows(page, "アクセス記録")).to_have_count(1)
    await expect(rows(page, "アクセス記録")).to_contain_text(["管理 花子"])
    await rows(page, "アクセス記録").get_by_role("link", name=f"ジョブ {job['id'][-8:]}").click()
    await expect(page.get_by_text(job["id"], exact=True).first).to_be_visible()
