"""The two Chatwork syncs, with each outcome, and the rooms that they bring."""

import re
from pathlib import Path

from playwright.async_api import Browser, Page, expect

from tests.browser.conftest import Visit
from tests.browser.screens import button, card, expect_status, expect_toast, link, region, rows, toasts
from tests.browser.site import MESSAGES, ROOMS, Site, open_site

ROOMS_SYNC, MESSAGES_SYNC = "ルーム同期", "メッセージ同期"


async def press(page: Page, sync: str) -> None:
    await region(page, sync).get_by_role("button", name=sync, exact=True).click()


async def test_a_rooms_sync_is_completed_and_its_rooms_are_shown(either_site: Site, visit: Visit) -> None:
    site = either_site
    page = await visit(site, user=site.admin)
    await expect(page.get_by_text("まだルームがありません")).to_be_visible()

    await press(page, ROOMS_SYNC)

    await expect_status(card(page, ROOMS_SYNC), "completed")
    await expect(card(page, ROOMS_SYNC)).to_contain_text("全 3 ルーム（新規 3、更新 0）")
    await expect(rows(page, "ルーム")).to_have_count(len(ROOMS))
    for room_id in ROOMS:
        await expect(button(rows(page, "ルーム"), f"Room {room_id}")).to_be_visible()
    await expect_toast(page, "ルーム同期が完了しました")


async def test_a_messages_sync_shows_its_progress_and_then_its_result(site: Site, visit: Visit) -> None:
    await site.sync("rooms")
    held = site.sandbox.hold(room_id="30")
    page = await visit(site, user=site.admin)

    await press(page, MESSAGES_SYNC)

    shown = card(page, MESSAGES_SYNC)
    await expect_status(shown, "processing")
    bar = shown.get_by_role("progressbar", name="進捗")
    await expect(bar).to_have_attribute("aria-valuenow", "2")
    await expect(bar).to_have_attribute("aria-valuemax", "3")
    await expect(shown.get_by_text("最終更新")).to_be_visible()
    await expect(button(shown, "メッセージ同期: キャンセル")).to_be_visible()
    held.release()
    await expect_status(shown, "completed")
    await expect(shown).to_contain_text("同期済み 3 ルーム")
    await expect(shown).to_contain_text(f"メッセージ {MESSAGES} 件を取得")
    await expect(button(shown, "メッセージ同期: キャンセル")).to_have_count(0)
    for room_id, said in ROOMS.items():
        row = rows(page, "ルーム").filter(has_text=f"Room {room_id}")
        await expect(row.get_by_role("cell").nth(2)).to_have_text(str(len(said)))
    await expect_toast(page, "メッセージ同期が完了しました")


async def test_a_room_that_failed_is_counted_and_can_be_filtered_by_its_error(site: Site, visit: Visit) -> None:
    await site.sync("rooms")
    site.sandbox.fail(status=403, times=100, room_id="20")
    page = await visit(site, user=site.admin)

    await press(page, MESSAGES_SYNC)

    await expect_status(card(page, MESSAGES_SYNC), "completed")
    await expect(card(page, MESSAGES_SYNC)).to_contain_text("エラー 1 ルーム")
    await page.get_by_role("radio", name=re.compile("^エラー")).check()
    await expect(rows(page, "ルーム")).to_have_count(1)
    await expect(rows(page, "ルーム")).to_contain_text("Room 20")
    await expect(rows(page, "ルーム")).to_contain_text("Chatwork API error: 403")


async def test_a_room_with_unreadable_messages_shows_an_error_until_it_is_confirmed(site: Site, visit: Visit) -> None:
    await site.sync("rooms")
    odd = site.sandbox.say_oddly("30", {"body": None})
    site.sandbox.say_oddly("30", {"account": None})
    await site.sync("messages")
    await site.sync("messages")
    page = await visit(site, "/chatwork?show=inError", user=site.admin)
    row = rows(page, "ルーム").filter(has_text="Room 30")
    await expect(row).to_contain_text("読み取れない項目があり、取り込めませんでした。")
    await row.get_by_role("button").filter(has_text="読み取れない項目があり").click()
    await expect(page.get_by_role("dialog")).to_contain_text("送信者不明")
    await expect(page.get_by_role("dialog")).to_contain_text(f"message {odd} (`body` is missing)")
    await button(page.get_by_role("dialog"), "閉じる").click()

    await button(row, "「Room 30」のエラーを確認しました").click()

    await expect(page.get_by_text("条件に合うルームがありません")).to_be_visible()
    rooms = (await site.as_admin.get("/api/chatwork/rooms")).json()["rooms"]
    assert [room["lastErrorAt"] for room in rooms] == [None, None, None]


async def test_a_gap_is_shown_in_the_result_in_the_list_of_rooms_and_among_the_messages(site: Site, visit: Visit) -> None:
    await site.sync("rooms")
    await site.sync("messages")
    for body in ("届かない一件目", "届かない二件目", "最新の一件"):
        site.sandbox.say("20", body)
    site.sandbox.withhold("20", newest=1)
    page = await visit(site, user=site.admin)

    await press(page, MESSAGES_SYNC)

    await expect(card(page, MESSAGES_SYNC)).to_contain_text("欠落の可能性 1 か所")
    row = rows(page, "ルーム").filter(has_text="Room 20")
    await expect(row.get_by_text("欠落の可能性", exact=True)).to_be_visible()
    await expect(rows(page, "ルーム").get_by_text("欠落の可能性", exact=True)).to_have_count(1)
    await button(row, "Room 20").click()
    dialog = page.get_by_role("dialog")
    await expect(dialog).to_contain_text("プランの制限により、古いメッセージは取得できません。")
    shown = dialog.locator(".messages > li")
    await expect(shown).to_have_count(4)
    await expect(shown.nth(0)).to_contain_text("最新の一件")
    await expect(shown.nth(1)).to_have_text("ここに取得できなかったメッセージがある可能性があります")


async def test_a_sync_fails_with_a_message_when_chatwork_answers_500_and_a_retry_succeeds(site: Site, visit: Visit) -> None:
    site.sandbox.fail(status=500, times=1000)
    page = await visit(site, user=site.admin)

    await press(page, ROOMS_SYNC)

    # The wait is long, because the job has five attempts with a growing pause after each.
    shown = card(page, ROOMS_SYNC)
    await expect(shown.get_by_text("失敗", exact=True)).to_be_visible(timeout=90_000)
    await expect(shown).to_contain_text("Chatwork API error: 500")
    await expect(shown).to_contain_text("Chatwork 側で一時的な問題が発生しているようです。")
    await expect(button(shown, "ルーム同期: キャンセル")).to_have_count(0)
    await expect_toast(page, "ルーム同期が失敗しました")
    await expect(region(page, "通知")).to_contain_text("Chatwork API error: 500")
    (job,) = await site.jobs()
    assert (job["status"], job["attempt"], job["error"]["message"]) == ("failed", 5, "Chatwork API error: 500")
    site.sandbox.stop_faults()
    await button(shown, "ルーム同期: 再試行").click()
    await expect_status(shown, "completed")


async def test_a_sync_canceled_half_way_stays_canceled(site: Site, visit: Visit) -> None:
    await site.sync("rooms")
    held = site.sandbox.hold(room_id="30")
    page = await visit(site, user=site.admin)
    await press(page, MESSAGES_SYNC)
    shown = card(page, MESSAGES_SYNC)
    await expect(shown.get_by_role("progressbar")).to_have_attribute("aria-valuenow", "2")

    await button(shown, "メッセージ同期: キャンセル").click()

    await expect_status(shown, "canceled")
    await expect_toast(page, "メッセージ同期はキャンセルされました")
    await expect(button(shown, "メッセージ同期: キャンセル")).to_have_count(0)
    held.release()
    job = (await site.jobs())[0]
    assert (job["status"], job["result"]["processedRooms"]) == ("canceled", 2)


async def test_a_second_press_of_the_button_starts_no_second_sync(site: Site, visit: Visit) -> None:
    held = site.sandbox.hold()
    page = await visit(site, user=site.admin)

    await region(page, ROOMS_SYNC).get_by_role("button", name=ROOMS_SYNC, exact=True).dblclick()

    await expect_status(card(page, ROOMS_SYNC), "processing")
    await press(page, ROOMS_SYNC)
    held.release()
    await expect_toast(page, "ルーム同期が完了しました")
    assert len(await site.jobs()) == 1


async def test_the_end_of_a_sync_is_announced_once_also_on_another_screen(site: Site, visit: Visit) -> None:
    held = site.sandbox.hold()
    page = await visit(site, user=site.admin)
    await press(page, ROOMS_SYNC)
    await expect_status(card(page, ROOMS_SYNC), "processing")
    await link(page, "会社").click()
    await expect(page.get_by_role("heading", level=1, name="会社")).to_be_visible()
    await expect(toasts(page)).to_have_count(0)

    held.release()

    await expect_toast(page, "ルーム同期が完了しました")
    await toasts(page).click()
    await link(page, "Chatwork連携").click()
    await expect_status(card(page, ROOMS_SYNC), "completed")
    await page.reload()
    await expect_status(card(page, ROOMS_SYNC), "completed")
    await expect(page.get_by_text("ライブ", exact=True)).to_be_visible()
    await expect(toasts(page)).to_have_count(0)


async def test_rooms_are_filtered_by_the_address_and_many_are_switched_at_once(site: Site, visit: Visit) -> None:
    await site.sync("rooms")
    page = await visit(site, "/chatwork", user=site.admin)
    await page.get_by_role("searchbox", name="ルームを検索").fill("Room 2")
    await expect(rows(page, "ルーム")).to_have_count(1)
    switch = page.get_by_role("switch", name="「Room 20」を同期の対象にする")
    await switch.click()
    await expect(switch).not_to_be_checked()
    await page.get_by_role("searchbox", name="ルームを検索").fill("")

    await page.get_by_role("radio", name=re.compile("^有効")).check()
    await expect(rows(page, "ルーム")).to_have_count(2)
    await expect(page).to_have_url(re.compile("show=active"))
    await page.reload()
    await expect(rows(page, "ルーム")).to_have_count(2)
    await page.get_by_role("checkbox", name="すべて選択").check()
    await button(page, "無効にする").click()

    await expect(page.get_by_text("条件に合うルームがありません")).to_be_visible()
    rooms = (await site.as_admin.get("/api/chatwork/rooms")).json()["rooms"]
    assert [room["isActive"] for room in rooms] == [False, False, False]


async def test_one_room_is_synced_from_its_menu(site: Site, visit: Visit) -> None:
    await site.sync("rooms")
    page = await visit(site, user=site.admin)

    await page.get_by_label("Room 20: その他の操作").click()
    await button(page, "このルームを同期").click()

    await expect(button(page, "このルームを同期")).to_be_hidden()
    await expect(region(page, MESSAGES_SYNC)).to_contain_text("ルーム: Room 20")
    await expect(card(page, MESSAGES_SYNC)).to_contain_text("同期済み 1 ルーム")


async def test_a_waiting_sync_shows_the_reason(idle_site: Site, visit: Visit) -> None:
    page = await visit(idle_site, user=idle_site.admin)

    await press(page, ROOMS_SYNC)

    await expect_status(card(page, ROOMS_SYNC), "queued")
    await expect(card(page, ROOMS_SYNC)).to_contain_text("ワーカーが稼働していません")


async def test_a_sync_that_waits_for_chatworks_limit_says_so_and_until_when(
    browser: Browser, postgres_url: str, template: str, tmp_path: Path, visit: Visit
) -> None:
    rooms = {str(number): ["おはようございます"] for number in range(10, 16)}
    settings = {"CHATWORK_RATE_LIMIT": "4"}
    async with open_site(postgres_url, template, tmp_path, rooms=rooms, settings=settings) as site:
        await site.sync("rooms")
        job = await site.begin("messages")
        page = await visit(site, "/chatwork", user=site.admin)

        progress = card(page, "メッセージ同期")
        await expect(progress).to_contain_text("Chatwork の利用上限（5分間に4回）に達しました")
        await expect(progress).to_contain_text(re.compile(r"\d+:\d\d に再開"))
        await expect(progress).to_contain_text("全体で残り約 5 分")
        await expect(progress).not_to_contain_text("更新が止まっています")
        await expect(progress).not_to_contain_text("毎分")
        await page.goto(f"/jobs/{job}")
        await expect(page.get_by_role("list", name="タイムライン")).to_contain_text("3 / 6 ルーム · 利用上限のため待機")
        await page.close()
