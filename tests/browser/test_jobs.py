"""The list of jobs: filters in the address, live changes, rows that stay, bulk actions."""

import re

from playwright.async_api import Locator, Page, expect

from tests.browser.conftest import Visit
from tests.browser.job_histories import MESSAGES_SYNC, a_job, completed, failed, histories_of, started
from tests.browser.screens import button, expect_status, job_row, rows
from tests.browser.site import Site
from tests.histories import until

ROOMS_SYNC = "chatwork_rooms_sync"


def tab(page: Page, word: str) -> Locator:
    return page.get_by_role("navigation", name="ステータスで絞り込み").get_by_role("link", name=re.compile(f"^{word}"))


async def shown(page: Page) -> list[str]:
    """Returns the last characters of each shown id, from top to bottom."""
    return [re.search(r"[0-9a-f]{8}", text).group() for text in await rows(page, "ジョブ").all_inner_texts()]  # type: ignore[union-attr]


async def test_a_filter_is_part_of_the_address_and_survives_a_reload(idle_site: Site, visit: Visit) -> None:
    async with histories_of(idle_site) as store:
        wanted = await a_job(store, started, failed, user=idle_site.admin)
        await a_job(store, started, completed(1), user=idle_site.admin)
        await a_job(store, started, failed, user=idle_site.admin, type=ROOMS_SYNC)
    page = await visit(idle_site, "/jobs", user=idle_site.admin)
    await expect(rows(page, "ジョブ")).to_have_count(3)
    await expect(tab(page, "失敗")).to_contain_text("2")

    await page.get_by_label("種類", exact=True).select_option(MESSAGES_SYNC)
    await tab(page, "失敗").click()

    for _ in range(2):
        await expect(rows(page, "ジョブ")).to_have_count(1)
        await expect(job_row(page, wanted.id)).to_contain_text("Chatwork API error: 500")
        await expect(page).to_have_url(re.compile(r"type=chatwork_messages_sync&status=failed|status=failed&type="))
        await expect(tab(page, "失敗")).to_have_attribute("aria-current", "page")
        await page.reload()


async def test_a_row_of_the_list_shows_changes_of_its_job_live(site: Site, visit: Visit) -> None:
    page = await visit(site, "/jobs", user=site.admin)
    await expect(page.get_by_text("ジョブはまだありません")).to_be_visible()
    await expect(page.get_by_text("ライブ", exact=True)).to_be_visible()
    held = site.sandbox.hold()

    id = await site.begin("rooms")

    await expect_status(job_row(page, id), "processing")
    await expect(tab(page, "処理中")).to_contain_text("1")
    held.release()
    await expect_status(job_row(page, id), "completed")
    await expect(tab(page, "完了")).to_contain_text("1")


async def test_rows_do_not_move_while_jobs_are_selected(site: Site, visit: Visit) -> None:
    older = [await site.sync("rooms"), await site.sync("messages")]
    page = await visit(site, "/jobs", user=site.admin)
    await expect(rows(page, "ジョブ")).to_have_count(2)
    await expect(page.get_by_text("ライブ", exact=True)).to_be_visible()
    before = await shown(page)
    await job_row(page, older[0]).get_by_role("checkbox").check()

    newest = await site.sync("rooms")

    await expect(button(page, "新しいジョブ 1 件を表示")).to_be_visible()
    assert await shown(page) == before
    await expect(job_row(page, older[0]).get_by_role("checkbox")).to_be_checked()
    await button(page, "新しいジョブ 1 件を表示").click()
    await expect(rows(page, "ジョブ")).to_have_count(3)
    assert await shown(page) == [newest["id"][-8:], *before]


async def test_many_jobs_are_canceled_at_once_after_a_dialog_with_their_number(idle_site: Site, visit: Visit) -> None:
    async with histories_of(idle_site) as store:
        waiting = [await a_job(store, user=idle_site.admin, payload={"roomId": str(n)}) for n in range(3)]
        over = await a_job(store, started, completed(1), user=idle_site.admin)
    page = await visit(idle_site, "/jobs", user=idle_site.admin)
    await expect(rows(page, "ジョブ")).to_have_count(4)
    await page.get_by_role("checkbox", name="すべて選択").check()

    await button(page, "まとめてキャンセル…").click()

    dialog = page.get_by_role("dialog", name="ジョブをまとめてキャンセル")
    await expect(dialog.get_by_text("3 件のジョブをキャンセルします。")).to_be_visible()
    assert {(await idle_site.job(job.id))["status"] for job in waiting} == {"queued"}
    await button(dialog, "3 件をキャンセル").click()
    for job in waiting:
        await expect_status(job_row(page, job.id), "canceled")
    await expect_status(job_row(page, over.id), "completed")
    assert {(await idle_site.job(job.id))["status"] for job in waiting} == {"canceled"}
    await expect(dialog).to_have_count(0)


async def test_many_jobs_are_retried_at_once(idle_site: Site, visit: Visit) -> None:
    async with histories_of(idle_site) as store:
        bad = [await a_job(store, started, failed, user=idle_site.admin, payload={"roomId": str(n)}) for n in range(2)]
    page = await visit(idle_site, "/jobs?status=failed", user=idle_site.admin)
    await expect(rows(page, "ジョブ")).to_have_count(2)
    await page.get_by_role("checkbox", name="すべて選択").check()
    await button(page, "まとめて再試行…").click()

    await button(page.get_by_role("dialog"), "2 件を再試行").click()

    async def queued_again() -> bool:
        jobs = [await idle_site.job(job.id) for job in bad]
        return {(job["status"], job["attempt"]) for job in jobs} == {("queued", 2)}

    await until(queued_again, seconds=30)


async def test_more_rows_load_when_the_user_scrolls(idle_site: Site, visit: Visit) -> None:
    async with histories_of(idle_site) as store:
        jobs = [await a_job(store, user=idle_site.admin, payload={"roomId": str(n)}) for n in range(120)]
    page = await visit(idle_site, "/jobs", user=idle_site.admin)
    await expect(job_row(page, jobs[-1].id)).to_be_visible()
    await expect(job_row(page, jobs[0].id)).to_have_count(0)

    async def oldest_is_drawn() -> bool:
        await page.mouse.wheel(0, 4000)
        return await job_row(page, jobs[0].id).count() == 1

    await until(oldest_is_drawn, seconds=60)
    await expect(page.get_by_text("以上 120 件")).to_be_visible()


async def test_a_short_id_opens_the_job_by_its_address_and_by_the_search_field(idle_site: Site, visit: Visit) -> None:
    job = await idle_site.begin("rooms")
    await idle_site.begin("messages")

    page = await visit(idle_site, f"/jobs/{job[-8:].upper()}", user=idle_site.admin)
    await expect(page.get_by_role("heading", level=1)).to_have_text("ルーム同期")
    assert page.url == f"{idle_site.address}/jobs/{job}"

    await page.goto("/jobs")
    await page.get_by_role("searchbox", name="ジョブIDで開く").fill(f" {job[-8:]} ")
    await page.keyboard.press("Enter")
    await expect(page).to_have_url(f"{idle_site.address}/jobs/{job}")

    await page.goto("/jobs/00000000")
    await expect(page.get_by_text("見つかりません")).to_be_visible()


async def test_a_bulk_retry_counts_only_what_will_happen_and_says_why_not_the_rest(idle_site: Site, visit: Visit) -> None:
    async with histories_of(idle_site) as store:
        for unique_key in ("rooms", "rooms", None):
            await a_job(store, started, failed, user=idle_site.admin, type=ROOMS_SYNC, unique_key=unique_key)
        await a_job(store, started, completed(1), user=idle_site.admin)
    page = await visit(idle_site, "/jobs", user=idle_site.admin)
    await expect(rows(page, "ジョブ")).to_have_count(4)

    await page.get_by_role("checkbox", name="すべて選択").check()
    await expect(button(page, "まとめてキャンセル…")).to_have_count(0)
    await button(page, "まとめて再試行…").click()

    dialog = page.get_by_role("dialog", name="ジョブをまとめて再試行")
    await expect(dialog).to_contain_text("2 件のジョブを再試行します。")
    await expect(dialog).to_contain_text("選択した 1 件は失敗もキャンセルもされていないため、対象外です。")
    await expect(dialog).to_contain_text("1 件は再試行されません: 選択した別のジョブと同じ内容のため")
    await button(dialog, "2 件を再試行").click()
    await expect(dialog).to_contain_text("1 件は実行できませんでした")


async def test_completed_jobs_offer_no_bulk_action(idle_site: Site, visit: Visit) -> None:
    async with histories_of(idle_site) as store:
        job = await a_job(store, started, completed(1), user=idle_site.admin)
    page = await visit(idle_site, "/jobs", user=idle_site.admin)

    await job_row(page, job.id).get_by_role("checkbox").check()

    await expect(page.get_by_text("選択したジョブは完了しているため、まとめて操作できません。")).to_be_visible()
    await expect(page.get_by_role("button", name="まとめて")).to_have_count(0)
