"""Reads the values of the LIMIT_… settings: `600/minute`, `20`, `off`."""

import re
from typing import NamedTuple

OFF = "off"
GREATEST = 1_000_000_000
SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}

_RATE = re.compile(r"([0-9]{1,10})\s*/\s*([a-z]+)")


class Rate(NamedTuple):
    """A limit of `most` requests or jobs in any `seconds` seconds."""

    most: int
    seconds: int

    @property
    def unit(self) -> str:
        return next(unit for unit, seconds in SECONDS.items() if seconds == self.seconds)


def read_rate(text: str) -> Rate | None:
    """Returns the rate of a text like `600/minute`, or None for `off`.

    Raises `ValueError` for any other text.
    """
    text = text.strip().lower()
    if text == OFF:
        return None
    read = _RATE.fullmatch(text)
    if read is None or read[2] not in SECONDS or not 1 <= int(read[1]) <= GREATEST:
        raise ValueError(
            f"must be a number from 1 to {GREATEST} and a unit (second, minute, hour, day), such as 600/minute; `off` lifts"
            " the limit"
        )
    return Rate(int(read[1]), SECONDS[read[2]])


def read_most(text: str) -> int | None:
    """Returns the number of a text like `20`, or None for `off`.

    Raises `ValueError` for any other text.
    """
    text = text.strip().lower()
    if text == OFF:
        return None
    if not re.fullmatch(r"[0-9]{1,10}", text) or not 1 <= int(text) <= GREATEST:
        raise ValueError(f"must be a number from 1 to {GREATEST}; `off` lifts the limit")
    return int(text)
