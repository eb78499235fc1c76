"""Reads Chatwork's answers item by item, so a malformed item does not lose the others.

Source: https://developer.chatwork.com/reference. A value with a clear meaning is accepted in any
JSON type: an id may be an integer, a time may have a fraction, a name may be a number. Characters
that PostgreSQL cannot store are replaced. The reason why an item is unreadable names a field but
never quotes the field's value, because the value may be a message.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal, DecimalException
from typing import Any, Generic, TypeVar

FULL = 100
"""The most messages in one answer of Chatwork. An answer with this number of messages may lack older
messages.
"""

LONGEST_NUMBER = 38  # digits of an id
LATEST_TIME = 253_402_300_799  # Unix seconds: the end of the year 9999
DEEPEST = 16  # levels of JSON that are read; rooms and messages are never deeper
MOST_NAMED = 100  # unreadable items; an error message names at most this many
WITHOUT_ID = "a message without an id"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DIGITS = re.compile(r"[0-9]{1,38}")
_DECIMAL = re.compile(r"[0-9]{1,20}(?:\.[0-9]{0,20})?")
# A string without a closing quote is one token, because a search for the closing quote from each
# later quote would take quadratic time.
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*+"?|[\[\]{}]', re.DOTALL)


@dataclass(frozen=True, slots=True)
class ChatworkRoom:
    """A room of Chatwork's list.

    `room_id` is a string of digits; `name` is None if it cannot be read.
    """

    room_id: str
    name: str | None
    description: str | None = None


@dataclass(frozen=True, slots=True)
class ChatworkMessage:
    """A message of a room. `message_id` is a string of digits.

    `sender` is None if Chatwork names none, `edited_at` is None if the message was never edited.
    """

    message_id: str
    sender: str | None
    body: str
    sent_at: datetime
    edited_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Unreadable:
    """An item that cannot be read. `item` names it ("message 42"), `reason` says why."""

    item: str
    reason: str


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Answer(Generic[T]):
    """The items of an answer. If two items have the same id, only the last one is kept.

    `given` counts all items of the answer: readable, unreadable and repeated.
    """

    items: tuple[T, ...] = ()
    unreadable: tuple[Unreadable, ...] = ()
    given: int = 0


@dataclass(frozen=True, slots=True)
class MessagesAnswer(Answer[ChatworkMessage]):
    """The messages of a room.

    `message_ids` holds every readable id, also of messages whose other fields cannot be read.
    `is_limited` says that the customer's plan withholds older messages. `is_forced` says that the
    request asked for the newest 100 (`force=1`).
    """

    message_ids: tuple[str, ...] = ()
    is_limited: bool = False
    is_forced: bool = True

    @property
    def is_full(self) -> bool:
        """Whether older messages may have been left out."""
        return self.given >= FULL


class NotAnAnswer(ValueError):
    """The answer as a whole cannot be read. The message says why, without quoting the answer."""


class _Odd(ValueError):
    """A field cannot be read. The error's message names the field and the reason."""


def read_rooms(body: bytes) -> Answer[ChatworkRoom]:
    """Parses an answer with rooms.

    Raises:
        NotAnAnswer: the answer is not a JSON array, or has items and none of them can be read.
    """
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
    """Parses an answer with messages.

    Raises:
        NotAnAnswer: the answer is not a JSON array.
    """
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
    """Returns a sentence for users that names the unreadable items, at most `MOST_NAMED`."""
    named = list(dict.fromkeys(f"{each.item} ({each.reason})" for each in unreadable))
    more = f" and {len(named) - MOST_NAMED} more" if len(named) > MOST_NAMED else ""
    return f"Chatwork's answer holds what cannot be read: {', '.join(named[:MOST_NAMED])}{more}. Look at it in Chatwork."


def _message(message_id: str, item: dict[str, Any]) -> ChatworkMessage:
    body = _text(item.get("body"))
    if body is None:
        raise _Odd(_missing_or("body", item, "not text"))
    sent_at = _time(item.get("send_time"))
    if sent_at is None:
        raise _Odd(_missing_or("send_time", item, "not a time in Unix seconds up to the year 9999"))
    account = item.get("account")
    # Chatwork writes 0 if nobody has edited the message.
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
        raise _Odd("it is not a JSON object")
    number = _id(item.get(field))
    if number is None:
        raise _Odd(_missing_or(field, item, f"not a whole number of up to {LONGEST_NUMBER} digits"))
    return number


def _id(value: Any) -> str | None:
    """Returns an id as a string of digits: 42, 42.0 and "0042" give "42"."""
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
    """Returns a time from Unix seconds, which may be a number or a string."""
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
    """Returns the name; None if it is missing or has no visible character."""
    name = _text(item.get("name"))
    return name if name is not None and name.strip() else None


def _text(value: Any) -> str | None:
    """Returns text that PostgreSQL can store; None if the value is not text or a number.

    NUL and lone surrogates are replaced. An emoji that was cut in half leaves a lone surrogate.
    """
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


def _items_of(body: bytes) -> list[Any]:
    # Replace bytes that are not UTF-8, because a bad byte must not lose a whole message.
    text = body.decode("utf-8-sig", "replace")
    try:
        items = _parsed(text)
    except RecursionError:
        items = _parsed(_flattened(text))
    if not isinstance(items, list):
        raise NotAnAnswer("it is not a JSON array")
    return items


def _parsed(text: str) -> Any:
    try:
        return json.loads(text, parse_int=_integer, parse_float=_fraction)
    except ValueError:
        raise NotAnAnswer("it is not JSON") from None


def _integer(digits: str) -> int | None:
    """Returns the number; None if it is too long for any field.

    The length is checked first, because Python refuses to parse thousands of digits.
    """
    return int(digits) if len(digits) <= LONGEST_NUMBER + 1 else None


def _fraction(digits: str) -> Decimal | None:
    """Returns the exact number, or None if it has too many digits.

    A float would round some ids.
    """
    try:
        number = Decimal(digits[:200])
    except DecimalException:
        return None
    return number if abs(number.adjusted()) <= LONGEST_NUMBER and len(digits) <= 200 else None


def _flattened(text: str) -> str:
    """Returns the JSON with null for what is deeper than `DEEPEST`, in linear time."""
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
