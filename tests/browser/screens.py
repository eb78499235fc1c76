"""Finds parts of the screens by role and name, as people do.

service/web/README.md lists these names, so that they do not change without notice.
"""

from typing import Any

from playwright.async_api import Locator, Page, expect

STATUSES = {"queued": "待機中", "processing": "処理中", "completed": "完了", "failed": "失敗", "canceled": "キャンセル済み"}
WRONG_PASSWORD = "メールアドレスまたはパスワードが正しくありません。"
ONLY_ADMINS = "この画面は管理者のみ利用できます"


async def sign_in(page: Page, email: str, password: str) -> None:
    await page.get_by_role("textbox", name="メールアドレス").fill(email)
    await page.get_by_label("パスワード").fill(password)
    await page.get_by_role("button", name="サインイン", exact=True).click()


def link(page: Page, name: str) -> Locator:
    """Finds a link in the main menu."""
    return page.get_by_role("navigation", name="メインメニュー").get_by_role("link", name=name, exact=True)


def button(place: Page | Locator, name: str) -> Locator:
    return place.get_by_role("button", name=name, exact=True)


def region(place: Page | Locator, name: str) -> Locator:
    return place.get_by_role("region", name=name, exact=True)


def card(page: Page, sync: str) -> Locator:
    """Finds the card with the progress of the last sync. `sync` is the name of that sync."""
    return region(page, f"{sync}: 進捗")


async def expect_status(place: Locator, status: str) -> None:
    await expect(place.get_by_text(STATUSES[status], exact=True)).to_be_visible()


def toasts(page: Page) -> Locator:
    """Finds the toasts by their buttons "close", because each toast has one."""
    return region(page, "通知").get_by_role("button", name="通知を閉じる")


async def expect_toast(page: Page, text: str) -> None:
    """Expects that this toast is shown, and no other toast."""
    await expect(region(page, "通知").get_by_text(text)).to_be_visible()
    await expect(toasts(page)).to_have_count(1)


def rows(page: Page, table: str) -> Locator:
    """Finds the rows of a table, without its head."""
    return page.get_by_role("table", name=table, exact=True).get_by_role("row").filter(has=page.get_by_role("cell"))


def job_row(page: Page, job: dict[str, Any] | str) -> Locator:
    job_id = job if isinstance(job, str) else job["id"]
    return rows(page, "ジョブ").filter(has_text=job_id[-8:])


def field(place: Locator, name: str) -> Locator:
    """Finds the value of a field in a list of fields. `name` is the field's name in the API."""
    return (
        place.locator("dl > div")
        .filter(has=place.page.locator("dt code", has_text=name).and_(place.page.get_by_text(name, exact=True)))
        .locator("dd")
    )
