"""Chatwork's answers, read item by item (https://developer.chatwork.com/reference): one odd item costs none of the others.

What is clear is read, whatever its JSON type: an integer id, a time with a fraction, a name that is a number. Text that
PostgreSQL cannot hold is mended. A reason names a field and never quotes what stood there, since that may be a message.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal, DecimalException
from typing import Any, Generic, TypeVar

FULL = 100
"""Messages that one answer holds at most. A full one may have left out older ones."""

LONGEST_NUMBER = 38  # digits of an id
LATEST_TIME = 253_402_300_799  # Unix seconds: the end of the year 9999
DEEPEST = 16  # levels of JSON that are read; what lies deeper is no part of a room or a message
MOST_NAMED = 100  # unreadable items that a complaint names
WITHOUT_ID = "a message without an id"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DIGITS = re.compile(r"[0-9]{1,38}")
_DECIMAL = re.compile(r"[0-9]{1,20}(?:\.[0-9]{0,20})?")
# A string that never ends is a token too: looking for its end once more from each quote inside would be quadratic.
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*+"?|[\[\]{}]', re.DOTALL)


@dataclass(frozen=True, slots=True)
class ChatworkRoom:
    """`room_id` holds digits. `name` is None where Chatwork gave none that can be read."""

    room_id: str
    name: str | None
    description: str | None = None


@dataclass(frozen=True, slots=True)
class ChatworkMessage:
    """`message_id` holds digits. `sender` is None where Chatwork did not say who wrote it; `edited_at` where nobody edited it."""

    message_id: str
    sender: str | None
    body: str
    sent_at: datetime
    edited_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Unreadable:
    """`item` names what cannot be read ("message 42"), `reason` says why."""

    item: str
    reason: str


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Answer(Generic[T]):
    """`items` holds each id once, as it stood last. `given` counts what stood in the answer, readable or not."""

    items: tuple[T, ...] = ()
    unreadable: tuple[Unreadable, ...] = ()
    given: int = 0


@dataclass(frozen=True, slots=True)
class MessagesAnswer(Answer[ChatworkMessage]):
    """`message_ids` are those that can be read, of unreadable messages too. `is_limited`: the plan of Chatwork's customer
    withholds older messages. `is_forced`: it answers a request for the newest 100."""

    message_ids: tuple[str, ...] = ()
    is_limited: bool = False
    is_forced: bool = True

    @property
    def is_full(self) -> bool:
        return self.given >= FULL


class NotAnAnswer(ValueError):
    """The answer as a whole cannot be read; the message says why, without its content."""


class _Odd(ValueError):
    """A field that cannot be read; the message says which and why."""


def read_rooms(body: bytes) -> Answer[ChatworkRoom]:
    """Raises `NotAnAnswer`, also where there are items and none of them can be read."""
    items = _items_of(body)
    rooms: dict[str, ChatworkRoom] = {}
    unreadable: list[Unreadable] = []
    for item in items:
        try:
            room_id = _id_in(item, "room_id")
        except _Odd as odd:
            unreadable.append(Unreadable("a room without an id", str(odd)))
        else:
            rooms[room_id] = ChatworkRoom(room_id, _name_in(item), _text(item.get("description")))
    if items and not rooms:
        raise NotAnAnswer(f"none of its {len(items)} rooms can be read ({unreadable[0].reason})")
    return Answer(tuple(rooms.values()), tuple(unreadable), len(items))


def read_messages(body: bytes, *, is_limited: bool = False, is_forced: bool = True) -> MessagesAnswer:
    """Raises `NotAnAnswer`."""
    items = _items_of(body)
    messages: dict[str, ChatworkMessage] = {}
    unreadable: list[Unreadable] = []
    message_ids: dict[str, None] = {}
    for item in items:
        name = WITHOUT_ID
        try:
            message_id = _id_in(item, "message_id")
            name = f"message {message_id}"
            message_ids[message_id] = None
            messages[message_id] = _message(message_id, item)
        except _Odd as odd:
            unreadable.append(Unreadable(name, str(odd)))
    return MessagesAnswer(tuple(messages.values()), tuple(unreadable), len(items), tuple(message_ids), is_limited, is_forced)


def complaint(unreadable: Sequence[Unreadable]) -> str:
    """One sentence for a person, naming each."""
    named = list(dict.fromkeys(f"{each.item} ({each.reason})" for each in unreadable))
    more = f" and {len(named) - MOST_NAMED} more" if len(named) > MOST_NAMED else ""
    return f"Chatwork's answer holds what cannot be read: {', '.join(named[:MOST_NAMED])}{more}. Look at it in Chatwork."


# One message, one field --------------------------------------------------------------------------------------------------------


def _message(message_id: str, item: dict[str, Any]) -> ChatworkMessage:
    body = _text(item.get("body"))
    if body is None:
        raise _Odd(_missing_or("body", item, "no text"))
    sent_at = _time(item.get("send_time"))
    if sent_at is None:
        raise _Odd(_missing_or("send_time", item, "no time in Unix seconds up to the year 9999"))
    account = item.get("account")
    # Chatwork writes 0 where nobody has edited the message.
    edited_at = _time(item.get("update_time"))
    return ChatworkMessage(
        message_id,
        _name_in(account) if isinstance(account, dict) else None,
        body,
        sent_at,
        edited_at if edited_at != _EPOCH else None,
    )


def _id_in(item: Any, field: str) -> str:
    if not isinstance(item, dict):
        raise _Odd("it is no JSON object")
    number = _id(item.get(field))
    if number is None:
        raise _Odd(_missing_or(field, item, f"no whole number of up to {LONGEST_NUMBER} digits"))
    return number


def _id(value: Any) -> str | None:
    """42, 42.0 and "0042" are the id 42."""
    match value:
        case bool():
            return None
        case str() if _DIGITS.fullmatch(value.strip()):
            return value.strip().lstrip("0") or "0"
        case int() if 0 <= value < 10**LONGEST_NUMBER:
            return str(value)
        case Decimal() if value.adjusted() < LONGEST_NUMBER and value >= 0 and value == value.to_integral_value():
            return str(int(value))
        case _:
            return None


def _time(value: Any) -> datetime | None:
    """Unix seconds, as a number or written as one."""
    match value:
        case bool():
            return None
        case str() if _DECIMAL.fullmatch(value.strip()):
            seconds = Decimal(value.strip())
        case int() | Decimal():
            seconds = Decimal(value)
        case _:
            return None
    if not 0 <= seconds <= LATEST_TIME:
        return None
    return _EPOCH + timedelta(seconds=int(seconds), microseconds=int(seconds % 1 * 1_000_000))


def _name_in(item: dict[str, Any]) -> str | None:
    """None for one that nobody can see, too."""
    name = _text(item.get("name"))
    return name if name is not None and name.strip() else None


def _text(value: Any) -> str | None:
    """Text as PostgreSQL can hold it: no NUL, and no half of a character, which an emoji cut in the middle leaves."""
    match value:
        case bool():
            return None
        case str():
            return value.replace("\0", "\ufffd").encode("utf-8", "replace").decode()
        case int() | Decimal():
            return str(value)
        case _:
            return None


def _missing_or(field: str, item: dict[str, Any], what: str) -> str:
    return f"`{field}` is missing" if item.get(field) is None else f"`{field}` is {what}"


# The whole answer --------------------------------------------------------------------------------------------------------------


def _items_of(body: bytes) -> list[Any]:
    # Bytes that are no UTF-8 spoil a character, and only that.
    text = body.decode("utf-8-sig", "replace")
    try:
        items = _parsed(text)
    except RecursionError:
        items = _parsed(_flattened(text))
    if not isinstance(items, list):
        raise NotAnAnswer("it is no JSON array")
    return items


def _parsed(text: str) -> Any:
    try:
        return json.loads(text, parse_int=_integer, parse_float=_fraction)
    except ValueError:
        raise NotAnAnswer("it is not JSON") from None


def _integer(digits: str) -> int | None:
    """None for one that no field can hold: Python refuses to read thousands of digits."""
    return int(digits) if len(digits) <= LONGEST_NUMBER + 1 else None


def _fraction(digits: str) -> Decimal | None:
    """Exact, unlike a float: an id may have more digits than one holds."""
    try:
        number = Decimal(digits[:200])
    except DecimalException:
        return None
    return number if abs(number.adjusted()) <= LONGEST_NUMBER and len(digits) <= 200 else None


def _flattened(text: str) -> str:
    """JSON with null in place of all that lies deeper than `DEEPEST`, in linear time and without recursion."""
    kept: list[str] = []
    depth, start = 0, 0
    for token in _TOKEN.finditer(text):
        if token[0] in "[{":
            depth += 1
            if depth == DEEPEST:
                kept += text[start : token.start()], "null"
        elif token[0] in "]}":
            if depth == DEEPEST:
                start = token.end()
            depth -= 1
    kept.append(text[start:] if depth < DEEPEST else "")
    return "".join(kept)
