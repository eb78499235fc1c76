"""The parts of a job's description: text, a company, a room, a period.

`JobType.describe` makes them from a payload. Names are not part of it, because they may change:
whoever shows the description looks them up.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import structlog
from pydantic import BaseModel, ValidationError

from events.job import JSON
from events.rate_limited_log import LogLimit

LONGEST_TEXT = 200  # characters
MOST_PARTS = 8

log = structlog.get_logger(__name__)
_faults = LogLimit()


@dataclass(frozen=True, slots=True)
class TheCompany:
    """A company by its id. Raises `ValueError` if the id is no UUID."""

    company_id: str

    def __post_init__(self) -> None:
        UUID(self.company_id)


@dataclass(frozen=True, slots=True)
class TheRoom:
    """A Chatwork room by Chatwork's id, a string of digits."""

    room_id: str


@dataclass(frozen=True, slots=True)
class ThePeriod:
    """A period that includes `start` and excludes `end`.

    Raises `ValueError` for times without a zone.
    """

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        if self.start.tzinfo is None or self.end.tzinfo is None:
            raise ValueError("the times of a period must have a zone")


Part = str | TheCompany | TheRoom | ThePeriod

Describe = Callable[[Any], str | Sequence[Part]]
"""Makes the description of a job from its payload, which is an instance of the type's model."""


def described(model: type[BaseModel], describe: Describe | None, payload: JSON) -> list[Part]:
    """Returns the parts of a job's description, at most `MOST_PARTS`.

    Returns no part if the type has no `describe`, if the stored payload does not fit the present model, or if `describe`
    raises, because a list of jobs must not fail because of one job.
    """
    if describe is None:
        return []
    try:
        parts = describe(model.model_validate(payload))
        return [_shortened(part) for part in ([parts] if isinstance(parts, str) else parts)][:MOST_PARTS]
    except ValidationError:
        return []
    except Exception as error:
        if (times := _faults.count()) is not None:
            log.warning("a job could not be described", model=model.__name__, error=type(error).__name__, times=times)
        return []


def _shortened(part: Part) -> Part:
    return part if not isinstance(part, str) or len(part) <= LONGEST_TEXT else f"{part[: LONGEST_TEXT - 1]}…"
