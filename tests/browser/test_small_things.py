"""Explanations that need no mouse, long lists on screen and on paper, and numbers that agree."""

from playwright.async_api import expect

from events.job import Event, Job, JobError, fail
from tests.browser.conftest import Visit
from tests.browser.job_histories import WORKER, a_job, histories_of, started
from tests.browser.screens import button, card, region, rows
from tests.browser.site import Site
from tests.browser.watch import Watch


def refused(job: Job) -> list[Event]:
    error = JobError("Refused", "Chatwork API error: 403")
    return fail(job, attempt=job.attempt, worker=WORKER, error=error, retry_in=None)


async def test_without_a_network_the_page_says_offline_and_not_that_it_updates(
    idle_site: Site, visit: Visit, watch: Watch
) -> None:
    watch.expect(r"net::ERR_|TypeError: network error")
    page = await visit(idle_site, "/jobs", user=idle_site.admin)
    await expect(page.get_by_text("ライブ", exact=True)).to_be_visible()

    await page.context.set_offline(True)

    await expect(page.get_by_role("status").get_by_text("オフライン", exact=True)).to_be_visible()
    await expect(page.get_by_text("2秒ごとに更新")).to_have_count(0)
    await page.get_by_label("アカウント", exact=True).click()
    await expect(page.get_by_text("ネットワークに接続していないため、更新していません")).to_be_visible()


async def test_of_two_buttons_for_the_same_days_only_the_pressed_one_is_lit(idle_site: Site, visit: Visit) -> None:
    company = (await idle_site.as_admin.post("/api/companies", json={"name": "みほん"})).json()["company"]["id"]
    page = await visit(idle_site, "/jobs", user=idle_site.admin)
    # On this day both "this month" and "last 30 days" begin on the first.
    await page.clock.set_fixed_time("2026-11-30T03:00:00Z")
    await page.goto(f"/companies/{company}")
    periods = page.get_by_role("group", name="期間")

    await button(periods, "今月").click()

    await expect(page.get_by_label("開始日")).to_have_value("2026-11-01")
    await expect(periods.get_by_role("button", pressed=True)).to_have_text(["今月"])


async def test_a_refused_list_of_rooms_is_not_explained_by_one_room(idle_site: Site, visit: Visit) -> None:
    async with histories_of(idle_site) as store:
        await a_job(store, started, refused, user=idle_site.admin, type="chatwork_rooms_sync")

    page = await visit(idle_site, "/chatwork", user=idle_site.admin)

    await expect(card(page, "ルーム同期")).to_contain_text("Chatwork がルームの一覧を渡しませんでした")
    await expect(card(page, "ルーム同期")).not_to_contain_text("このルーム")


async def test_the_error_of_a_room_is_explained_in_a_dialog(idle_site: Site, visit: Visit) -> None:
    await idle_site.database.execute(
        "insert into chatwork_rooms (room_id, name, is_active, last_error_at, last_error_status, last_error_message)"
        " values ('7', '製造部', true, now(), 403, 'Chatwork API error: 403')"
    )
    page = await visit(idle_site, "/chatwork", user=idle_site.admin)

    await rows(page, "ルーム").get_by_role("button", name="Chatwork API error: 403").click()

    dialog = page.get_by_role("dialog", name="製造部")
    await expect(dialog).to_contain_text("トークンの持ち主がこのルームに参加していないため")


async def test_all_rows_of_a_long_list_can_be_shown_and_printed(idle_site: Site, visit: Visit) -> None:
    await idle_site.database.execute(
        "insert into chatwork_rooms (room_id, name, is_active) select n, 'Room ' || n, true from generate_series(1, 300) n"
    )
    page = await visit(idle_site, "/chatwork", user=idle_site.admin)
    await expect(rows(page, "ルーム").first).to_be_visible()
    assert await rows(page, "ルーム").count() < 300

    await button(page, "すべての行を表示").click()

    await expect(rows(page, "ルーム")).to_have_count(300)
    await expect(button(page, "すべての行を表示")).to_have_count(0)
    await page.reload()
    await expect(rows(page, "ルーム").first).to_be_visible()
    await page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert await rows(page, "ルーム").count() == 300
    await page.emulate_media(media="print")
    await expect(page.get_by_role("navigation", name="メインメニュー")).to_be_hidden()
    await expect(region(page, "ルーム")).to_be_visible()


async def test_the_field_of_the_sign_in_has_the_focus(idle_site: Site, visit: Visit) -> None:
    page = await visit(idle_site)

    await expect(page.get_by_role("textbox", name="メールアドレス")).to_be_focused()
