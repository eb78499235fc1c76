"""The job type `summary_draft`: summarises a company's messages of a period in a draft."""

import re
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, ValidationInfo, WithJsonSchema, field_validator

from events.job import JSON, rfc3339
from workers.description import TheCompany, ThePeriod
from workers.job_type import Context, JobType, Payload, Unique
from workers.summaries.companies import get_company
from workers.summaries.drafts import Period, messages_of, save_draft

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_DATE_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?(?:[Zz]|[+-][0-9]{2}:[0-9]{2})"
)
_EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST = datetime(9999, 12, 31, tzinfo=UTC)


def _uuid(value: Any) -> str:
    if not isinstance(value, str) or not _UUID.fullmatch(value):
        raise ValueError("must be a UUID like 01939b1e-7c2a-7000-8000-0123456789ab")
    return value.lower()


def _instant(value: Any) -> datetime:
    """Reads a date-time with its zone (RFC 3339), or a date, which means 00:00 UTC that day.

    The result is in UTC, so that equal instants make equal payloads.
    """
    if isinstance(value, datetime) and value.tzinfo is not None:
        return _within_bounds(value)
    if not isinstance(value, str) or not (_DATE.fullmatch(value) or _DATE_TIME.fullmatch(value)):
        raise ValueError("must be a date-time with its zone like 2026-11-23T09:00:00+09:00, or a date like 2026-11-23 (in UTC)")
    try:
        return _within_bounds(datetime.fromisoformat(value.upper() if len(value) > 10 else f"{value}T00:00:00Z"))
    except (ValueError, OverflowError) as error:
        raise ValueError("must be an existing day and time from 1970 to 9999") from error


def _within_bounds(value: datetime) -> datetime:
    if not _EARLIEST <= value <= _LATEST:
        raise ValueError("must be from 1970 to 9999")
    return value.astimezone(UTC)


CompanyId = Annotated[str, BeforeValidator(_uuid), WithJsonSchema({"type": "string", "format": "uuid"})]
Instant = Annotated[
    datetime,
    BeforeValidator(_instant),
    PlainSerializer(rfc3339, return_type=str),
    WithJsonSchema(
        {
            "anyOf": [{"type": "string", "format": "date-time"}, {"type": "string", "format": "date"}],
            "description": "A date-time with its zone (RFC 3339), or a date, which is its first moment in UTC.",
        }
    ),
]


class DraftPeriod(Payload):
    """The period of a draft in a request: includes `periodStart`, excludes `periodEnd`."""

    period_start: Instant
    period_end: Instant

    @field_validator("period_end")
    @classmethod
    def _ends_after_it_starts(cls, period_end: datetime, info: ValidationInfo) -> datetime:
        start = info.data.get("period_start")
        if start is not None and period_end <= start:
            raise ValueError("must be later than periodStart")
        return period_end

    @property
    def period(self) -> Period:
        return Period(self.period_start, self.period_end)


class SummaryDraftPayload(DraftPeriod):
    company_id: CompanyId


async def draft_summary(context: Context, payload: SummaryDraftPayload) -> JSON:
    """Makes a draft, stores it and returns it as JSON.

    Progress is `{totalChunks, processedChunks}`.

    Raises: `UnknownCompany` and `ModelRefused`, which forbid a retry; `ModelFailed`, which allows a
    retry.
    """
    company = await get_company(context.database, payload.company_id)
    material = await messages_of(context.database, company.id, payload.period)

    async def report(total: int, processed: int) -> None:
        await context.progress({"totalChunks": total, "processedChunks": processed})

    summary = await context.resources.summariser.summarise(material.messages, report)
    async with context.store():
        draft = await save_draft(
            context.database, company.id, payload.period, summary,
            source_messages=material.total, used_messages=len(material.messages),
        )  # fmt: skip
    return draft.to_json()


SUMMARY_DRAFT = JobType(
    name="summary_draft",
    title="Summary draft",
    payload=SummaryDraftPayload,
    describe=lambda payload: [TheCompany(payload.company_id), ThePeriod(payload.period_start, payload.period_end)],
    run=draft_summary,
    deadline=15 * 60,
    max_attempts=3,
    retry_when_worker_lost=False,
    unique=Unique.PER_USER_AND_PAYLOAD,
    role="employee",
    paid=True,
)
"""A job whose worker is lost is not retried, because its requests to the model may cost money.

A person decides whether to pay for them again."""
