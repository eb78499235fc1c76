"""The lines of an export: one event each, as JSON.

`data` is the last key, and its value is the exact text that the database stores, so that a reader can compute the hash in the
event's entry. If the stored text has line breaks, `dataText` holds it as a JSON string instead.
"""

import functools
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import orjson

from projections.proof.entry import SALT_BYTES, Entry, data_hash

DATA = b',"data":'
SINCE_2000 = datetime(2000, 1, 1, tzinfo=UTC)
EPOCH = 946_684_800_000_000  # microseconds from 1970-01-01 to 2000-01-01
INFINITY, MINUS_INFINITY = 2**63 - 1, -(2**63)  # PostgreSQL's infinite times, in microseconds since 2000
SECOND = 1_000_000
LONGEST_LINE = 64 * 1024 * 1024  # bytes


class BadLine(ValueError):
    """The line is not an event of an export."""


@dataclass(frozen=True, slots=True)
class ExportedEvent:
    """An event that was read from a line. `entry` has the hash of the salt and the data of this line.

    `redaction` is the signed note about the erasure of its data, or None.
    """

    position: int
    entry: Entry
    data: bytes
    redaction: str | None


def time_text(microseconds: int) -> str:
    """Formats a time, given in microseconds since 2000, by RFC 3339 in UTC with microseconds."""
    if microseconds in (INFINITY, MINUS_INFINITY):
        return "infinity" if microseconds == INFINITY else "-infinity"
    seconds, rest = divmod(microseconds, SECOND)
    text = _second(seconds)
    return f"{microseconds} microseconds since 2000" if text is None else f"{text}.{rest:06d}Z"


def read_time(text: str) -> int:
    """Returns the microseconds since 2000 of a time that `time_text` has written. Raises `ValueError`."""
    if text in ("infinity", "-infinity"):
        return INFINITY if text == "infinity" else MINUS_INFINITY
    number, _, unit = text.partition(" ")
    if unit == "microseconds since 2000":
        microseconds = int(number)
        if not MINUS_INFINITY <= microseconds <= INFINITY:
            raise ValueError("a time must have 64 bits")
        return microseconds
    if not text.endswith("Z"):
        raise ValueError("a time must end in Z")
    return (datetime.fromisoformat(text) - SINCE_2000) // timedelta(microseconds=1)


def line_of(fields: dict[str, Any], data: str) -> bytes:
    """Returns the line of an event. `fields` are its other keys; the key of the data is added to them."""
    if "\n" in data or "\r" in data:
        fields["dataText"] = data
    else:
        fields["data"] = orjson.Fragment(data)
    return orjson.dumps(fields, option=orjson.OPT_APPEND_NEWLINE)


def read_line(line: bytes) -> ExportedEvent:
    """Reads a line of an exported directory, without its line feed. Raises `BadLine`."""
    try:
        fields = _parsed(line)
        data = _data(line, fields)
        salt = bytes.fromhex(fields["salt"])
        if len(salt) != SALT_BYTES:
            raise BadLine(f"`salt` must have {2 * SALT_BYTES} hexadecimal digits.")
        entry = Entry(
            UUID(fields["jobId"]), _whole(fields["seq"]), _whole(fields["attempt"]),
            _text(fields["type"]), _text(fields["actor"]), _text_or_none(fields["requestId"]), _text_or_none(fields["cause"]),
            read_time(_text(fields["at"])) + EPOCH, data_hash(salt, data),
        )  # fmt: skip
        return ExportedEvent(_whole(fields["position"], most=2**63 - 1), entry, data, _text_or_none(fields.get("redaction")))
    except BadLine:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        raise BadLine(f"The line is not an event: {error!r}"[:200]) from error


def _data(line: bytes, fields: dict[str, Any]) -> bytes:
    """Returns the exact bytes of the data in a line.

    The values of all keys before `data` are strings and numbers, and a quote inside a string is escaped. So the first
    `,"data":` in the line is the key.
    """
    if "dataText" in fields:
        return _text(fields["dataText"]).encode()
    _, found, rest = line.partition(DATA)
    data = rest[:-1]
    if not found or not line.endswith(b"}") or _parsed(data) != fields["data"]:
        raise BadLine("`data` must be the last key of the line.")
    return data


def _parsed(text: bytes) -> Any:
    """Parses JSON. PostgreSQL stores some texts that only Python's own parser reads, such as a number of 400 digits."""
    try:
        return orjson.loads(text)
    except ValueError:
        return json.loads(text)


@functools.lru_cache(maxsize=4096)
def _second(seconds: int) -> str | None:
    try:
        return (SINCE_2000 + timedelta(seconds=seconds)).isoformat().removesuffix("+00:00")
    except OverflowError:
        return None


def _whole(value: Any, *, most: int = 2**31 - 1) -> int:
    if type(value) is not int or not -most <= value <= most:
        raise BadLine(f"{value!r} is not a whole number of this field."[:100])
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise BadLine(f"{value!r} is not a text."[:100])
    value.encode()  # raises ValueError for half of a surrogate pair, which Python's own parser lets through
    return value


def _text_or_none(value: Any) -> str | None:
    return None if value is None else _text(value)
