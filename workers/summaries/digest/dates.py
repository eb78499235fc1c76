"""Reads due dates, as people write them in Japanese and English."""

import re
import unicodedata
from dataclasses import dataclass
from datetime import date, timedelta

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_KANJI_DAYS = "月火水木金土日"
_MONTH = (
    r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?"
    r"|nov(?:ember)?|dec(?:ember)?)"
)
_DAY = r"(?:mon|tues?|wed(?:nes)?|thu(?:rs)?|fri|sat(?:ur)?|sun)"

_TIME = (
    r"(?:の?\s{0,3}(?:午前|午後|朝|夕方)?\s{0,3}\d{1,2}(?:時半?(?:\d{1,2}分)?|:\d\d)"
    r"|\s{1,3}(?:at\s{1,3})?\d{1,2}(?::\d\d)?\s{0,3}(?:am|pm)\b)?"
)
_DATE = re.compile(
    rf"""
      (?P<ymd>(?<!\d)(?P<y>20\d\d)[/年.-](?P<ym>\d{{1,2}})[/月.-](?P<yd>\d{{1,2}})日?(?!\d))
    | (?P<md>(?<![\dA-Za-z/.])(?P<m>\d{{1,2}})[/月](?P<d>\d{{1,2}})日?(?![\d/%]))
    | (?P<en>\b(?P<em>{_MONTH})\.?\s+(?P<ed>\d{{1,2}})(?:st|nd|rd|th)?\b|\b(?P<ed2>\d{{1,2}})(?:st|nd|rd|th)?\s+(?P<em2>{_MONTH})\b)
    | (?P<jday>(?:(?P<jweek>今週|来週|再来週|次)の?)?(?P<jd>[月火水木金土日])曜日?
        |(?P<jweek2>今週|来週|再来週)の?(?P<jd2>[月火水木金土])(?![一-龥]))
    | (?P<eday>\b(?:(?P<eweek>this|next|coming)\s+)?(?P<ed3>{_DAY})(?:day)?\b)
    | (?P<rel>明後日|あさって|明日|あす(?!か)|本日|今日|来週(?:中|末|明け)?|今週(?:中|末)?|再来週|週明け|週末
        |今月末|来月末|今月中|来月|月末|年内|年末
        |\b(?:day\s+after\s+tomorrow|tomorrow|today|tonight|eod|eow|end\s+of\s+(?:the\s+|this\s+)?(?:day|week|month)|next\s+(?:week|month)|this\s+week)\b)
    | (?P<mday>(?<![\d月/.])(?P<only>\d{{1,2}})日(?![間目前後以程ほぶ分々]))
    """,
    re.VERBOSE | re.IGNORECASE,
)
_CLOCK = re.compile(_TIME, re.IGNORECASE)
_DEADLINE_AFTER = re.compile(
    r"\s{0,3}(?:\([月火水木金土日]\))?\s{0,3}(?:の?(?:午前|午後)?中)?\s{0,3}(?:に|いっぱい)?\s{0,3}(?:まで|〆|締|必着|期限|中に)"
)
_DESCRIBING = re.compile(
    r"(?:\([月火水木金土日]\))?\s{0,3}(?:\)|と|から|分(?![かに])|以降|時点|の(?!うち|朝|夕|午|昼|夜|正午|終業|営業|早|定時))"
)
_DEADLINE_BEFORE = re.compile(
    r"\b(?:by|before|until|due|no later than|deadline:?)\s+(?:on\s+|the\s+)?$|(?:期限|締切|〆切|納期)[^\d]{0,4}$", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Due:
    """A date in a sentence.

    `text` is the date as written. `day` is its day, or None if the date is not a single day.
    """

    text: str
    day: date | None
    is_deadline: bool

    def label(self) -> str:
        """Returns the text as written, with the day after a relative date: "明日 (11/25)"."""
        if self.day is None or re.search(r"\d\s*[/月年-]\s*\d", self.text) or re.search(_MONTH, self.text, re.IGNORECASE):
            return self.text
        if self.text.isascii():
            return f"{self.text}, {self.day.day} {_MONTHS[self.day.month - 1].capitalize()}"
        return f"{self.text} ({self.day.month}/{self.day.day})"


def due_in(text: str, said_on: date) -> Due | None:
    """Returns the first deadline in `text`, else the first date, else None.

    Relative dates count from `said_on`.
    """
    text = unicodedata.normalize("NFKC", text)
    found = [_due(match, text, said_on) for match in _DATE.finditer(text) if _is_a_date(match) and not _describes(match, text)]
    return next((due for due in found if due.is_deadline), found[0] if found else None)


def _describes(match: re.Match[str], text: str) -> bool:
    """Whether the date describes a thing, and so is not a due date.

    Examples are "明日の会議" (tomorrow's meeting), "11月分" (for November) and "16日から" (from the 16th).
    """
    clock = _CLOCK.match(text, match.end())
    return bool(_DESCRIBING.match(text, clock.end() if clock else match.end()))


def _due(match: re.Match[str], text: str, said_on: date) -> Due:
    clock = _CLOCK.match(text, match.end())
    end = clock.end() if clock else match.end()
    is_deadline = bool(
        _DEADLINE_AFTER.match(text, end) or _DEADLINE_BEFORE.search(text[max(0, match.start() - 20) : match.start()])
    )
    return Due(text[match.start() : end].strip(), _day(match, said_on), is_deadline)


def _is_a_date(match: re.Match[str]) -> bool:
    """Whether month and day are in range, because "24/7" and "50/50" are no dates."""
    pairs = ((match["ym"], match["yd"]), (match["m"], match["d"]), ("1", match["ed"] or match["ed2"] or match["only"]))
    return all(day is None or (1 <= int(month) <= 12 and 1 <= int(day) <= 31) for month, day in pairs)


def _day(match: re.Match[str], said_on: date) -> date | None:
    try:
        return _exact_day(match, said_on)
    except (ValueError, OverflowError):  # a day that does not exist (31 November), or a year out of range
        return None


def _exact_day(match: re.Match[str], said_on: date) -> date | None:
    if match["ymd"]:
        return date(int(match["y"]), int(match["ym"]), int(match["yd"]))
    if match["md"]:
        return _nearest(int(match["m"]), int(match["d"]), said_on)
    if match["en"]:
        name, day = match["em"] or match["em2"], match["ed"] or match["ed2"]
        return _nearest(_MONTHS.index(name[:3].lower()) + 1, int(day), said_on)
    if match["jday"]:
        return _weekday(_KANJI_DAYS.index(match["jd"] or match["jd2"]), match["jweek"] or match["jweek2"], said_on)
    if match["eday"]:
        return _weekday(_DAYS.index(match["ed3"][:3].lower()), match["eweek"], said_on)
    if match["mday"]:
        return _next_month_day(int(match["only"]), said_on)
    return _relative(" ".join(match["rel"].lower().split()), said_on)


def _nearest(month: int, day: int, said_on: date) -> date:
    """Returns the day in the year in which it is nearest to 90 days after `said_on`.

    So "1/10", said in December, is in the next year.
    """
    candidates = [
        date(year, month, day) for year in (said_on.year - 1, said_on.year, said_on.year + 1) if _exists(year, month, day)
    ]
    return min(candidates, key=lambda candidate: abs(candidate - said_on - timedelta(days=90)))


def _exists(year: int, month: int, day: int) -> bool:
    try:
        return bool(date(year, month, day))
    except ValueError:
        return False


def _weekday(weekday: int, week: str | None, said_on: date) -> date:
    monday = said_on - timedelta(days=said_on.weekday())
    match (week or "").lower():
        case "今週" | "this":
            return monday + timedelta(days=weekday)
        case "来週" | "next":
            return monday + timedelta(days=7 + weekday)
        case "再来週":
            return monday + timedelta(days=14 + weekday)
    return said_on + timedelta(days=(weekday - said_on.weekday()) % 7)


def _next_month_day(day: int, said_on: date) -> date:
    this_month = said_on.replace(day=day)
    return this_month if this_month >= said_on else _month_later(this_month)


def _month_later(day: date) -> date:
    return day.replace(year=day.year + day.month // 12, month=day.month % 12 + 1)


def _relative(word: str, said_on: date) -> date | None:
    friday = said_on + timedelta(days=4 - said_on.weekday())
    first = said_on.replace(day=1)
    match word:
        case "本日" | "今日" | "today" | "tonight" | "eod" | "end of day" | "end of the day":
            return said_on
        case "明日" | "あす" | "tomorrow":
            return said_on + timedelta(days=1)
        case "明後日" | "あさって" | "day after tomorrow":
            return said_on + timedelta(days=2)
        case "今週中" | "eow" | "end of week" | "end of the week" | "end of this week":
            return friday
        case "来週中" | "来週末":
            return friday + timedelta(days=7)
        case "週明け" | "来週明け":
            return friday + timedelta(days=3)
        case "月末" | "今月末" | "今月中" | "end of month" | "end of the month" | "end of this month":
            return _month_later(first) - timedelta(days=1)
        case "来月末":
            return _month_later(_month_later(first)) - timedelta(days=1)
    return None
