"""One job: its present state, its state after each event, and its actions."""

import json
import re
from typing import Any

from playwright.async_api import Locator, Page, Route, expect

from tests.browser.conftest import Visit
from tests.browser.job_histories import WORKER, a_job, completed, failed, failed_and_retried, histories_of, so_far, started
from tests.browser.screens import STATUSES, button, expect_status, field, region
from tests.browser.site import Site
from tests.browser.watch import Watch

STORY = (started, so_far(1, 3), so_far(2, 3), failed_and_retried, started, so_far(2, 3), completed(3))
EVENTS = 9  # `queued`, and the events of STORY, where the failure makes two events


def state(page: Page) -> Locator:
    """Finds the part that shows the job after the chosen event, when it has loaded."""
    return page.locator('section[aria-labelledby="state-heading"][aria-busy="false"]')


async def copied(page: Page, name: str) -> Any:
    """Copies a value of the job with its copy button and returns it.

    Returns None if the page says that there is no value.
    """
    place = state(page).get_by_role("region", name=name)
    copy = button(place, f"{name}をコピー")
    if not await copy.count():
        await expect(place.get_by_text("なし", exact=True).or_(place.get_by_text("null", exact=True))).to_be_visible()
        return None
    await page.evaluate("navigator.clipboard.writeText('')")
    await copy.click()
    return json.loads(await pasted(page))


async def pasted(page: Page) -> str:
    """Pastes the clipboard into a field, because Permissions-Policy lets no script read it."""
    await page.evaluate("document.body.append(Object.assign(document.createElement('textarea'), {id: 'pasted'}))")
    field = page.locator("#pasted")
    while not (text := await field.input_value()):
        await field.press("Control+V")
    await field.evaluate("(field) => field.remove()")
    return text


async def expect_job_as_it_was(page: Page, job: dict[str, Any]) -> None:
    await expect(field(state(page), "seq")).to_contain_text(re.compile(rf"^{job['seq']}"))
    await expect(field(state(page), "status")).to_contain_text(re.compile(f"^{STATUSES[job['status']]}"))
    await expect(field(state(page), "attempt")).to_contain_text(re.compile(rf"^{job['attempt']}"))
    await expect(field(state(page), "worker")).to_contain_text(re.compile(f"^{job['worker'] or '–'}"))
    assert await copied(page, "結果（result）") == job["result"]
    assert await copied(page, "エラー（error）") == job["error"]


async def test_the_slider_shows_the_job_as_it_was_after_each_event(idle_site: Site, visit: Visit) -> None:
    async with histories_of(idle_site) as store:
        job = await a_job(store, *STORY, user=idle_site.admin)
    page = await visit(idle_site, f"/jobs/{job.id}", user=idle_site.admin)
    slider = page.get_by_role("slider", name="イベントを選択")
    await expect(slider).to_have_value(str(EVENTS))
    await slider.focus()

    for seq in range(EVENTS, 0, -1):
        await expect(slider).to_have_value(str(seq))
        await expect_job_as_it_was(page, await idle_site.job(job.id, seq=seq))
        await page.keyboard.press("ArrowLeft")
    for seq in range(2, EVENTS + 1):
        await page.keyboard.press("ArrowRight")
        await expect(slider).to_have_value(str(seq))
        await expect_job_as_it_was(page, await idle_site.job(job.id, seq=seq))


async def test_an_event_chosen_in_the_timeline_is_kept_in_the_address_and_can_be_left(idle_site: Site, visit: Visit) -> None:
    async with histories_of(idle_site) as store:
        job = await a_job(store, *STORY, user=idle_site.admin)
    page = await visit(idle_site, f"/jobs/{job.id}", user=idle_site.admin)
    timeline = page.get_by_role("list", name="タイムライン")
    await expect(timeline.get_by_role("button")).to_have_count(EVENTS)

    await timeline.get_by_role("button", name="failed #5").click()

    await expect(page).to_have_url(re.compile(r"seq=5$"))
    await expect(field(state(page), "status")).to_contain_text("失敗")
    await page.reload()
    await expect(page.locator('[aria-current="step"]')).to_contain_text("#5")
    await expect(region(page, "このときのジョブ")).to_be_visible()
    await button(page, "最新に戻る").click()
    await expect(region(page, "現在のジョブ")).to_be_visible()
    assert "seq" not in page.url


async def test_the_attempts_of_a_job_are_shown_side_by_side(idle_site: Site, visit: Visit) -> None:
    async with histories_of(idle_site) as store:
        job = await a_job(store, *STORY, user=idle_site.admin)

    page = await visit(idle_site, f"/jobs/{job.id}", user=idle_site.admin)

    attempts = region(page, "試行の比較").get_by_role("listitem")
    await expect(attempts).to_have_count(2)
    await expect(attempts.nth(0)).to_contain_text("Chatwork API error: 500")
    await expect(attempts.nth(0)).to_contain_text("失敗（自動再試行）")
    await expect(attempts.nth(1)).to_contain_text("完了")
    await expect(attempts.nth(1)).to_contain_text("自動再試行")


async def test_a_running_job_is_updated_but_a_chosen_past_state_stays(site: Site, visit: Visit) -> None:
    await site.sync("rooms")
    held = site.sandbox.hold(room_id="30")
    id = await site.begin("messages")
    page = await visit(site, f"/jobs/{id}", user=site.admin)
    await expect(page.get_by_role("progressbar", name="進捗")).to_have_attribute("aria-valuenow", "2")
    await button(page, "最初のイベント").click()
    await expect(field(state(page), "status")).to_contain_text("待機中")

    held.release()

    await expect_status(page.locator("main"), "completed")
    await expect(page.get_by_role("slider")).to_have_value("1")
    last = (await site.job(id))["seq"]
    await expect(page.get_by_role("slider")).to_have_attribute("max", str(last))
    await page.keyboard.press("End")
    await expect(field(state(page), "status")).to_contain_text("完了")


async def test_a_job_is_canceled_retried_and_run_again_as_new(site: Site, visit: Visit) -> None:
    held = site.sandbox.hold()
    id = await site.begin("rooms")
    page = await visit(site, f"/jobs/{id}", user=site.admin)

    await button(page, "キャンセル").click()
    await site.becomes(id, "canceled")
    await button(page, "再試行").click()
    held.release()
    await site.becomes(id, "completed")
    await expect(button(page, "再試行")).to_have_count(0)
    await button(page, "新しいジョブとして再実行").click()

    await expect(page).not_to_have_url(re.compile(id))
    await expect(page).to_have_url(re.compile("/jobs/[0-9a-f-]{36}$"))
    again = await site.becomes(page.url.rpartition("/")[2], "completed")
    assert (again["type"], again["attempt"]) == ("chatwork_rooms_sync", 1)


async def test_a_cancel_that_comes_too_late_shows_a_message(idle_site: Site, visit: Visit, watch: Watch) -> None:
    watch.expect("status of 409")
    async with histories_of(idle_site) as store:
        job = await a_job(store, started, so_far(2, 3), user=idle_site.admin)
        page = await visit(idle_site, f"/jobs/{job.id}", user=idle_site.admin)

        async def complete_first(route: Route) -> None:
            await store.append(job, completed(3), actor=f"worker:{WORKER}")
            await route.continue_()

        await page.route("**/cancel", complete_first)
        await button(page, "キャンセル").click()

        told = region(page, "通知").get_by_text("キャンセルできませんでした。ジョブはすでに「完了」です。")
        await expect(told).to_be_visible()
        await expect(field(state(page), "status")).to_contain_text("完了")


async def test_the_history_is_downloaded_as_lines_of_json(idle_site: Site, visit: Visit) -> None:
    async with histories_of(idle_site) as store:
        job = await a_job(store, *STORY, user=idle_site.admin)
    page = await visit(idle_site, f"/jobs/{job.id}", user=idle_site.admin)

    async with page.expect_download() as started_download:
        await button(page, "履歴をダウンロード").click()

    download = await started_download.value
    lines = (await download.path()).read_text("utf-8").splitlines()
    events = (await idle_site.as_admin.get(f"/api/jobs/{job.id}/events")).json()["events"]
    # Positions are not compared, because an event gets its position some time after it was written. This may be between the
    # two reads.
    assert [_without_position(json.loads(line)) for line in lines] == [_without_position(event) for event in events]


def _without_position(event: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in event.items() if name != "position"}


async def test_a_waiting_job_shows_the_reason(idle_site: Site, visit: Visit) -> None:
    async with histories_of(idle_site) as store:
        job = await a_job(store, user=idle_site.admin)
    page = await visit(idle_site, f"/jobs/{job.id}", user=idle_site.admin)
    why = page.get_by_role("status").filter(has_text="なぜ待機中？")
    await expect(why).to_contain_text("稼働していません")

    answer = await idle_site.as_admin.post("/api/job-types/chatwork_messages_sync/pause", json={"reason": "検証"})

    assert answer.status_code == 200
    await expect(why).to_contain_text("一時停止されています")


async def test_an_employee_sees_no_stack_and_no_job_of_another_user(idle_site: Site, visit: Visit) -> None:
    async with histories_of(idle_site) as store:
        mine = await a_job(store, started, failed, user=idle_site.employee)
        other = await a_job(store, started, failed, user=idle_site.admin)
    page = await visit(idle_site, f"/jobs/{mine.id}", user=idle_site.admin)
    await expect(page.get_by_text("スタックトレース")).to_be_visible()

    page = await visit(idle_site, f"/jobs/{mine.id}", user=idle_site.employee)

    await expect(region(state(page), "エラー（error）")).to_contain_text("Chatwork API error: 500")
    await expect(page.get_by_text("スタックトレース")).to_have_count(0)
    await page.goto("/jobs")
    await expect(page.get_by_text(mine.id[-8:])).to_be_visible()
    await expect(page.get_by_text(other.id[-8:])).to_have_count(0)


async def test_an_unknown_job_and_a_job_of_another_user_are_not_found(idle_site: Site, visit: Visit, watch: Any) -> None:
    watch.expect(r"status of 404")
    async with histories_of(idle_site) as store:
        other = await a_job(store, user=idle_site.admin)
    page = await visit(idle_site, f"/jobs/{other.id}", user=idle_site.employee)
    await expect(page.get_by_text("見つかりません", exact=True)).to_be_visible()

    for address in ("/jobs/nonsense", "/nowhere/at/all"):
        await page.goto(address)
        await expect(page.get_by_text("見つかりません", exact=True).first).to_be_visible()
