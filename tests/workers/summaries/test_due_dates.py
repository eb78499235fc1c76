"""Due dates are recognised in Japanese and English."""

from datetime import date

import pytest

from workers.summaries.digest.dates import due_in

TUESDAY = date(2026, 11, 24)


@pytest.mark.parametrize(
    ("text", "written", "day"),
    [
        ("11/24までにお願いします", "11/24", date(2026, 11, 24)),
        ("11月24日（火）までに", "11月24日", date(2026, 11, 24)),
        ("2026/12/01に納品", "2026/12/01", date(2026, 12, 1)),
        ("明日の15時までに", "明日の15時", date(2026, 11, 25)),
        ("明後日中に", "明後日", date(2026, 11, 26)),
        ("来週月曜までに", "来週月曜", date(2026, 11, 30)),
        ("来週の月曜日まで", "来週の月曜日", date(2026, 11, 30)),
        ("金曜までに", "金曜", date(2026, 11, 27)),
        ("今月末までに", "今月末", date(2026, 11, 30)),
        ("本日中に", "本日", date(2026, 11, 24)),
        ("28日までに", "28日", date(2026, 11, 28)),
        ("５日まで", "5日", date(2026, 12, 5)),
        ("1/10に打ち合わせ", "1/10", date(2027, 1, 10)),
        ("来月までに", "来月", None),
        ("on 24 Nov", "24 Nov", date(2026, 11, 24)),
        ("by November 24th", "November 24th", date(2026, 11, 24)),
        ("by Friday", "Friday", date(2026, 11, 27)),
        ("next Monday at 3 pm", "next Monday at 3 pm", date(2026, 11, 30)),
        ("tomorrow", "tomorrow", date(2026, 11, 25)),
        ("by end of month", "end of month", date(2026, 11, 30)),
        ("11/31まで", "11/31", None),
    ],
)
def test_dates_are_recognised(text: str, written: str, day: date | None) -> None:
    due = due_in(text, TUESDAY)

    assert due is not None
    assert (due.text, due.day) == (written, day)


@pytest.mark.parametrize(
    "text",
    [
        "24/7 support",
        "50/50",
        "3日間の研修",
        "13/40",
        "10.5",
        "v1/2",
        "maybe",
        "10分後",
        "1,000円",
        "明日の会議",
        "境界(12月29日と1月4日)",
        "11/5分の請求書",
    ],
)
def test_other_numbers_are_not_taken_for_dates(text: str) -> None:
    assert due_in(text, TUESDAY) is None


def test_a_deadline_is_chosen_before_other_dates() -> None:
    due = due_in("11/20の会議の議事録を11/27までに送ってください", TUESDAY)

    assert due is not None
    assert due.text == "11/27"
