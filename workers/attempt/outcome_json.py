"""Turns a handler's result or progress into JSON, or refuses it."""

import math
from typing import Any

import orjson

from events.job import JSON
from workers.outcomes import Final

MOST_WRAPPING = 10  # levels of nesting that events and documents may add around a result; orjson writes at most 254


class NotJSON(Final):
    """A handler's result or progress that JSON cannot hold."""


def as_json(value: Any) -> JSON:
    """Returns a copy of `value` that holds only JSON.

    Raises:
        NotJSON: JSON cannot hold `value`, or it is nested too deeply.
    """
    wrapped = value
    for _ in range(MOST_WRAPPING):
        wrapped = [wrapped]
    try:
        text = orjson.dumps(wrapped)[MOST_WRAPPING:-MOST_WRAPPING]
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
