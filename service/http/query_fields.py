"""Field types that several requests share: times, ids, job types."""

import re
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, BeforeValidator, Field, StringConstraints, WithJsonSchema
from pydantic_core import PydanticCustomError

from projections.jobs import SHORT_ID
from workers.registry import JOB_TYPES

MOST_IDS_IN_A_QUERY = 100

_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,6})?([Zz]|[+ -]\d\d:\d\d)")


def _read_time(text: object) -> datetime:
    """Reads a time in the format of RFC 3339.

    It reads a space as `+`, because an unescaped `+` in a query arrives as a space.
    """
    if not isinstance(text, str) or not _RFC3339.fullmatch(text):
        raise PydanticCustomError("time_parsing", "must be a time like 2026-11-23T09:00:00Z")
    try:
        return datetime.fromisoformat(text.replace(" ", "+").upper())
    except ValueError as error:
        raise PydanticCustomError("time_parsing", "must be a date and time of the calendar") from error


def _representable(time: datetime) -> datetime:
    if not 1 < time.year < 9999:
        raise ValueError("must be a time in the years 2 to 9998")
    return time


def _known_type(name: str) -> str:
    if name not in JOB_TYPES:
        raise ValueError(f"must be one of {', '.join(JOB_TYPES)}")
    return name


def job_type_names() -> dict[str, Any]:
    """Returns the JSON Schema of a job type's name.

    This is a function and not a constant, because types may be registered after this module is imported.
    """
    return {"type": "string", "enum": list(JOB_TYPES)}


def _canonical(text: str) -> str:
    try:
        canonical = str(UUID(text))
    except ValueError:
        canonical = ""
    if not canonical or canonical != text.lower():
        raise PydanticCustomError("uuid_parsing", "must be a UUID")
    return canonical


def _canonical_ones(text: str) -> tuple[str, ...]:
    ids = text.split(",")
    if len(ids) > MOST_IDS_IN_A_QUERY:
        raise ValueError(f"must have at most {MOST_IDS_IN_A_QUERY} ids")
    return tuple(dict.fromkeys(_canonical(each) for each in ids))


def _canonical_or_short(text: str) -> str:
    return text.lower() if SHORT_ID.fullmatch(text) else _canonical(text)


RequestTime = Annotated[AwareDatetime, BeforeValidator(_read_time), AfterValidator(_representable)]
JobTypeName = Annotated[
    str, AfterValidator(_known_type), Field(json_schema_extra=lambda schema: schema.update(job_type_names()))
]
RequestId = Annotated[str, AfterValidator(_canonical), Field(json_schema_extra={"format": "uuid"})]
ShortId = Annotated[str, StringConstraints(pattern=f"^{SHORT_ID.pattern}$", to_lower=True)]
"""The last eight digits of a job's id."""

RequestIdOrShortId = Annotated[
    str,
    AfterValidator(_canonical_or_short),
    WithJsonSchema(
        {
            "anyOf": [{"type": "string", "format": "uuid"}, {"type": "string", "pattern": f"^{SHORT_ID.pattern}$"}],
            "description": "The id of a job, or the last eight digits of it.",
        }
    ),
]
RequestIds = Annotated[
    tuple[str, ...],
    BeforeValidator(_canonical_ones),
    WithJsonSchema({"type": "string", "description": f"At most {MOST_IDS_IN_A_QUERY} UUIDs, separated by commas."}),
]
