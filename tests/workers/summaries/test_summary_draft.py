"""The job type `summary_draft`, with a real job, database and model's server."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from pydantic import ValidationError

from events.database import Database
from events.job import JSON
from events.store import Store
from tests.handler_context import next_attempt, running
from tests.messages import MORNING, conversation, sections
from tests.openai_server import COMPLETION_TOKENS, PROMPT_TOKENS, OpenAIServer, error, openai_server
from tests.stored_messages import a_room
from tests.stored_messages import store as store_messages
from workers.job_type import Unique
from workers.outcomes import AttemptOver, Final
from workers.resources import Resources
from workers.summaries.companies import UnknownCompany, create_company, link_room
from workers.summaries.drafts import list_drafts
from workers.summaries.markdown import HEADINGS
from workers.summaries.summariser import ModelFailed, ModelRefused, Summariser, SummarySettings
from workers.summaries.summary_draft import SUMMARY_DRAFT, SummaryDraftPayload

COMPANY = "01939b1e-7c2a-7000-8000-0123456789ab"


@pytest.fixture
async def server() -> AsyncIterator[OpenAIServer]:
    async with openai_server() as server:
        yield server


@pytest.fixture
async def with_model(database: Database, server: OpenAIServer) -> AsyncIterator[Resources]:
    summariser = Summariser(SummarySettings(api_key="key", model="model-1", base_url=server.url))
    yield Resources(database, None, summariser)
    await summariser.close()


@pytest.fixture
def without_model(database: Database) -> Resources:
    return Resources(database, None, Summariser(SummarySettings(api_key=None)))


@pytest.fixture
async def company_id(database: Database) -> str:
    """Adds a company with one room of 50 messages. Returns the company's id."""
    company = await create_company(database, "ABC商事")
    await a_room(database, "1")
    await link_room(database, company.id, "1")
    said = [("田中", f"製品{number}の見積金額は{number}万円に決定しました。") for number in range(50)]
    await store_messages(database, conversation(*said))
    return company.id


def a_day_of(company_id: str) -> dict[str, JSON]:
    """Returns the period of those 50 messages, in the form of an API request."""
    return SummaryDraftPayload(company_id=company_id, period_start=MORNING, period_end=MORNING + timedelta(days=1)).to_json()


async def test_the_result_is_the_draft_as_it_is_stored(
    store: Store, database: Database, with_model: Resources, company_id: str
) -> None:
    async with running(store, with_model, SUMMARY_DRAFT, a_day_of(company_id)) as attempt:
        result = await attempt.handle()

    assert [draft.to_json() for draft in await list_drafts(database, company_id)] == [result]
    assert set(sections(result["content"])) == set(HEADINGS)
    assert result["sourceLinks"] == ["1000", "1001"]
    assert (result["model"], result["sourceMessageCount"]) == ("model-1", 50)
    assert result["tokenUsage"]["totalTokens"] == 3 * (PROMPT_TOKENS + COMPLETION_TOKENS)


async def test_progress_counts_the_requests_to_the_model(store: Store, with_model: Resources, company_id: str) -> None:
    async with running(store, with_model, SUMMARY_DRAFT, a_day_of(company_id)) as attempt:
        await attempt.handle()

    assert attempt.job.result == {"totalChunks": 2, "processedChunks": 2}


async def test_without_a_key_the_draft_is_made_of_the_messages_themselves(
    store: Store, without_model: Resources, company_id: str
) -> None:
    async with running(store, without_model, SUMMARY_DRAFT, a_day_of(company_id)) as attempt:
        result = await attempt.handle()

    assert result["model"] == "extractive-1"
    assert "万円に決定しました" in result["content"]
    assert 0 < len(result["sourceLinks"]) <= 20
    assert result["tokenUsage"] == {"promptTokens": 0, "completionTokens": 0, "totalTokens": 0}


async def test_the_draft_of_a_period_without_messages_says_so_without_the_model(
    store: Store, server: OpenAIServer, with_model: Resources, company_id: str
) -> None:
    payload = a_day_of(company_id) | {"periodStart": "2020-01-01T00:00:00.000000Z", "periodEnd": "2020-02-01T00:00:00.000000Z"}

    async with running(store, with_model, SUMMARY_DRAFT, payload) as attempt:
        result = await attempt.handle()

    assert server.requests == []
    assert list(sections(result["content"])) == list(HEADINGS)
    assert "No messages in this period" in result["content"]
    assert (result["sourceMessageCount"], result["sourceLinks"]) == (0, [])


async def test_a_second_run_replaces_the_draft(
    store: Store, database: Database, with_model: Resources, without_model: Resources, company_id: str
) -> None:
    for resources in (with_model, without_model):
        async with running(store, resources, SUMMARY_DRAFT, a_day_of(company_id)) as attempt:
            result = await attempt.handle()

    assert [draft.to_json() for draft in await list_drafts(database, company_id)] == [result]
    assert result["model"] == "extractive-1"


async def test_an_unknown_company_fails_the_job_without_a_retry(store: Store, with_model: Resources) -> None:
    async with running(store, with_model, SUMMARY_DRAFT, a_day_of(str(uuid4()))) as attempt:
        with pytest.raises(UnknownCompany) as unknown:
            await attempt.handle()

    assert isinstance(unknown.value, Final)


@pytest.mark.parametrize(("status", "raised"), [(401, ModelRefused), (503, ModelFailed)])
async def test_a_models_error_stores_nothing(
    store: Store, database: Database, server: OpenAIServer, with_model: Resources, company_id: str, status: int, raised: type
) -> None:
    server.next_replies.extend([error(status, "no")] * 6)

    async with running(store, with_model, SUMMARY_DRAFT, a_day_of(company_id)) as attempt:
        with pytest.raises(raised):
            await attempt.handle()

    assert await list_drafts(database, company_id) == []


async def test_an_attempt_that_is_over_stores_nothing(
    store: Store, database: Database, server: OpenAIServer, with_model: Resources, company_id: str
) -> None:
    server.hold()
    async with running(store, with_model, SUMMARY_DRAFT, a_day_of(company_id)) as attempt:
        handling = attempt.start_handling()
        await server.have_arrived(2)
        await attempt.cancel(store)
        server.release()

        with pytest.raises(AttemptOver):
            await handling

    assert await list_drafts(database, company_id) == []


async def test_the_next_attempt_makes_the_whole_draft_again(
    store: Store, database: Database, server: OpenAIServer, with_model: Resources, company_id: str
) -> None:
    server.hold()
    async with running(store, with_model, SUMMARY_DRAFT, a_day_of(company_id)) as first:
        handling = first.start_handling()
        await server.have_arrived(2)
        handling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await handling
        waiting = await first.lose(store)
    server.release()

    async with next_attempt(store, with_model, SUMMARY_DRAFT, waiting) as second:
        result = await second.handle()

    assert [draft.to_json() for draft in await list_drafts(database, company_id)] == [result]


def test_the_job_type_has_the_documented_attempts_deadline_and_uniqueness() -> None:
    assert (SUMMARY_DRAFT.name, SUMMARY_DRAFT.max_attempts, SUMMARY_DRAFT.deadline) == ("summary_draft", 3, 900)
    assert not SUMMARY_DRAFT.retry_when_worker_lost
    assert SUMMARY_DRAFT.unique is Unique.PER_USER_AND_PAYLOAD


def payload(**fields: Any) -> dict[str, Any]:
    return {"companyId": COMPANY, "periodStart": "2026-11-01", "periodEnd": "2026-12-01"} | fields


@pytest.mark.parametrize(
    "same",
    [
        payload(companyId=COMPANY.upper()),
        payload(periodStart="2026-11-01T00:00:00Z"),
        payload(periodStart="2026-11-01T09:00:00+09:00"),
        payload(periodStart="2026-11-01t00:00:00.000z"),
        payload(periodEnd="2026-11-30T19:00:00-05:00"),
    ],
)
def test_equal_periods_are_equal_payloads(same: dict[str, Any]) -> None:
    one, other = (SummaryDraftPayload.model_validate(fields).to_json() for fields in (payload(), same))

    assert one == other
    assert one == {
        "companyId": COMPANY,
        "periodStart": "2026-11-01T00:00:00.000000Z",
        "periodEnd": "2026-12-01T00:00:00.000000Z",
    }
    assert SUMMARY_DRAFT.unique_key(one, "u") == SUMMARY_DRAFT.unique_key(other, "u")


def test_a_stored_payload_is_read_back_unchanged() -> None:
    stored = SummaryDraftPayload.model_validate(payload()).to_json()

    assert SummaryDraftPayload.model_validate(stored).to_json() == stored


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("companyId", "not-a-uuid"),
        ("companyId", COMPANY.replace("-", "")),
        ("companyId", f"{{{COMPANY}}}"),
        ("companyId", f"{COMPANY}\n"),
        ("companyId", 5),
        ("companyId", None),
        ("periodStart", "2026-11-01T00:00:00"),
        ("periodStart", "yesterday"),
        ("periodStart", 1_700_000_000),
        ("periodStart", "1700000000"),
        ("periodStart", None),
        ("periodStart", True),
        ("periodStart", "2026-02-30"),
        ("periodStart", "2026-11-01T25:00:00Z"),
        ("periodStart", "0001-01-01T00:00:00+09:00"),
        ("periodStart", "1969-12-31"),
        ("periodStart", "２０２６-11-01"),
        ("periodStart", "2026-W45-1"),
        ("periodEnd", "9999-12-31T23:59:59-23:59"),
        ("periodEnd", "2026-11-01"),
        ("periodEnd", "2026-11-01T08:59:59+09:00"),
        ("periodEnd", ["2026-12-01"]),
        ("surprise", 1),
    ],
)
def test_a_payload_that_is_not_valid_names_the_field(field: str, value: Any) -> None:
    with pytest.raises(ValidationError) as refused:
        SummaryDraftPayload.model_validate(payload(**{field: value}))

    assert [problem["loc"] for problem in refused.value.errors()] == [(field,)]


@pytest.mark.parametrize("field", ["companyId", "periodStart", "periodEnd"])
def test_every_field_is_required(field: str) -> None:
    fields = payload()
    del fields[field]

    with pytest.raises(ValidationError) as refused:
        SummaryDraftPayload.model_validate(fields)

    assert (field,) in [problem["loc"] for problem in refused.value.errors()]
