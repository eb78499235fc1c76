"""What an attempt leaves behind as JSON: its result, or its error cut to a readable length."""

import math
from typing import Any

import orjson

from events.job import JSON
from workers.outcomes import Final

ROOM_FOR_WRAPPING = 10  # levels of nesting that events and answers put around a result: orjson writes no more than 254


class NotJSON(Final):
    """A handler's result or progress that JSON cannot hold."""


def as_json(value: Any) -> JSON:
    """A copy of `value` that holds only what JSON holds. Raises `NotJSON`."""
    wrapped = value
    for _ in range(ROOM_FOR_WRAPPING):
        wrapped = [wrapped]
    try:
        text = orjson.dumps(wrapped)[ROOM_FOR_WRAPPING:-ROOM_FOR_WRAPPING]
        if b"null" in text and _has_no_json_number(value):
            raise NotJSON(f"{type(value).__name__} holds a number that is not JSON: NaN or an infinity")
        return orjson.loads(text)
    except (TypeError, ValueError) as error:
        raise NotJSON(f"{type(value).__name__} is not JSON: {error}") from error


def _has_no_json_number(value: Any) -> bool:
    match value:
        case float():
            return not math.isfinite(value)
        case dict():
            return any(map(_has_no_json_number, value.values()))
        case list() | tuple():
            return any(map(_has_no_json_number, value))
    return False
