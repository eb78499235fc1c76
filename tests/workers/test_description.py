"""A job type describes its jobs. Whatever goes wrong there leaves the description empty."""

from datetime import UTC, datetime
from typing import Any

import pytest

from workers.description import LONGEST_TEXT, MOST_PARTS, TheCompany, ThePeriod, TheRoom, described
from workers.job_type import Payload
from workers.registry import JOB_TYPES
from workers.registry import described as described_by_its_type

COMPANY = "0190b1a0-0000-7000-8000-000000000000"


class Report(Payload):
    year: int


def test_a_text_is_one_part() -> None:
    assert described(Report, lambda payload: f"{payload.year}年度", {"year": 2026}) == ["2026年度"]


def test_a_type_without_words_has_no_description() -> None:
    assert described(Report, None, {"year": 2026}) == []


def test_a_payload_of_an_older_version_has_no_description() -> None:
    assert described(Report, lambda payload: str(payload.year), {"years": [2026]}) == []


@pytest.mark.parametrize(
    "describe",
    [
        lambda payload: payload.no_such_field,
        lambda payload: [TheCompany("../users")],
        lambda payload: [ThePeriod(datetime(2026, 9, 1), datetime(2026, 12, 1, tzinfo=UTC))],
        lambda payload: 1 / 0,
    ],
)
def test_a_type_that_cannot_describe_its_job_leaves_the_description_empty(describe: Any) -> None:
    assert described(Report, describe, {"year": 2026}) == []


def test_long_texts_and_long_lists_are_cut() -> None:
    (text,) = described(Report, lambda payload: "長" * 5_000, {"year": 2026})
    many = described(Report, lambda payload: ["a"] * 5_000, {"year": 2026})

    assert isinstance(text, str)
    assert len(text) == LONGEST_TEXT
    assert len(many) == MOST_PARTS


def test_our_own_types_name_the_company_the_room_and_the_period() -> None:
    period = {"periodStart": "2026-09-01T00:00:00Z", "periodEnd": "2026-12-01T00:00:00Z"}

    assert described_by_its_type("summary_draft", {"companyId": COMPANY, **period}) == [
        TheCompany(COMPANY),
        ThePeriod(datetime(2026, 9, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC)),
    ]
    assert described_by_its_type("chatwork_messages_sync", {"roomId": "7"}) == [TheRoom("7")]
    assert described_by_its_type("chatwork_messages_sync", {}) == []
    assert described_by_its_type("chatwork_rooms_sync", {}) == []
    assert "gone_type" not in JOB_TYPES
    assert described_by_its_type("gone_type", {}) == []
