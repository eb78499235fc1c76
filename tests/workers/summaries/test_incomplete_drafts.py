"""A draft names the rooms in which messages of its period may be missing."""

from datetime import timedelta

import pytest

from events.database import Database
from events.store import Store
from tests.handler_context import running
from tests.messages import MORNING, conversation, sections
from tests.openai_server import openai_server
from tests.stored_messages import a_room
from tests.stored_messages import store as store_messages
from tests.workers.summaries.test_drafts import DAY, SUMMARY
from workers.resources import Resources
from workers.summaries.companies import create_company, link_room
from workers.summaries.digest import extractive
from workers.summaries.drafts import Period, current_draft, list_drafts, save_draft
from workers.summaries.gap_note import with_gap_note
from workers.summaries.markdown import HEADINGS
from workers.summaries.prompt import ask_to_summarise
from workers.summaries.summariser import Summariser, SummarySettings
from workers.summaries.summary_draft import SUMMARY_DRAFT, SummaryDraftPayload

NOTE = "すべてそろっていない可能性があります"
HOUR = timedelta(hours=1)


@pytest.fixture
async def company_id(database: Database) -> str:
    company = await create_company(database, "ABC商事")
    await a_room(database, "1", "営業")
    await link_room(database, company.id, "1")
    await store_messages(database, conversation(("田中", "見積金額は10万円に決定しました。"), ("佐藤", "承知しました。")))
    return company.id


async def a_gap(database: Database, *, after: int | None = -1, before: int | None = 1, room_id: str = "1") -> None:
    """Stores a gap between two hours of the day in a room."""
    query = """
    insert into chatwork_gaps (room_id, after_message_id, before_message_id, reason, after_at, before_at, found_at)
    values (:room_id, :after_id, :before_id, 'over_100', :after_at, :before_at, now())
    """
    values = {
        "room_id": room_id,
        "after_id": None if after is None else "1",
        "before_id": None if before is None else "2",
        "after_at": None if after is None else MORNING + after * HOUR,
        "before_at": None if before is None else MORNING + before * HOUR,
    }
    await database.execute(query, values)


@pytest.mark.parametrize("has_model", [True, False])
async def test_a_draft_of_a_period_with_a_gap_has_a_note(
    store: Store, database: Database, company_id: str, has_model: bool
) -> None:
    await a_gap(database)
    period = SummaryDraftPayload(company_id=company_id, period_start=DAY.start, period_end=DAY.end)

    async with openai_server() as server:
        summariser = Summariser(SummarySettings(api_key="key" if has_model else None, model="m", base_url=server.url))
        async with running(store, Resources(database, None, summariser), SUMMARY_DRAFT, period.to_json()) as attempt:
            result = await attempt.handle()
        await summariser.close()
    cached = await current_draft(database, company_id, DAY)

    assert result["model"] == ("m" if has_model else "extractive-1")
    assert result["content"].startswith("## Summary\n\n> **この期間の")
    assert result["content"].count(NOTE) == 1
    assert "（営業）" in result["content"]
    assert list(sections(result["content"])) == list(HEADINGS)
    assert cached is not None
    assert cached.to_json() == result
    assert [draft.to_json() for draft in await list_drafts(database, company_id)] == [result]


async def test_an_older_draft_gets_a_note_when_a_gap_is_found(database: Database, company_id: str) -> None:
    draft = await save_draft(database, company_id, DAY, SUMMARY, source_messages=2)
    await a_gap(database)
    cached = await current_draft(database, company_id, DAY)
    await database.execute("delete from chatwork_gaps")
    closed = await current_draft(database, company_id, DAY)

    assert NOTE not in str(draft.to_json())
    assert cached is not None
    assert NOTE in str(cached.to_json())
    assert closed == draft


@pytest.mark.parametrize(
    ("after", "before", "says_so"),
    [(-1, 1, True), (None, 0, True), (None, -1, False), (23, None, True), (24, None, False), (24, 30, False), (-9, 99, True)],
)
async def test_only_a_gap_that_touches_the_period_causes_a_note(
    database: Database, company_id: str, after: int | None, before: int | None, says_so: bool
) -> None:
    await a_gap(database, after=after, before=before)

    draft = await save_draft(database, company_id, DAY, SUMMARY, source_messages=2)

    assert (NOTE in str(draft.to_json())) is says_so


async def test_a_gap_in_a_room_of_another_company_causes_no_note(database: Database, company_id: str) -> None:
    other = await create_company(database, "XYZ")
    await a_room(database, "2", "別室")
    await link_room(database, other.id, "1")
    await a_gap(database, room_id="1")
    await a_gap(database, room_id="2")

    draft = await save_draft(database, company_id, DAY, SUMMARY, source_messages=0)

    assert draft.incomplete_rooms == ()


async def test_an_empty_period_with_a_gap_is_not_called_empty(store: Store, database: Database, company_id: str) -> None:
    await a_gap(database, after=None, before=0)
    before = Period(DAY.start - timedelta(days=9), DAY.end - timedelta(days=8))
    payload = SummaryDraftPayload(company_id=company_id, period_start=before.start, period_end=before.end).to_json()

    resources = Resources(database, None, Summariser(SummarySettings()))
    async with running(store, resources, SUMMARY_DRAFT, payload) as attempt:
        result = await attempt.handle()

    assert NOTE in result["content"]


def test_the_note_has_few_and_short_room_names_without_markdown() -> None:
    content = with_gap_note("## Summary\n\n- x", ["# [x](javascript:alert)\n\n## 偽", *("長" * 500 for _ in range(9))])

    first, *_ = (line for line in content.splitlines() if line.startswith("> **"))
    assert r"\# \[x\](javascript:alert) \#\# 偽" in first
    assert "ほか5ルーム" in first
    assert len(content) < 700
    assert with_gap_note("- x", ["営業"]).endswith("\n\n- x")


def test_messages_without_a_sender_are_summarised() -> None:
    named = conversation(("田中", "見積書はいつ届きますか？"), ("佐藤", "見積書は金曜日までに送ってください。"))
    messages = [
        type(named[0])("1", "営業", str(number), None, MORNING + number * HOUR, body)
        for number, body in enumerate(
            [
                "納期はいつですか？",
                "納期は金曜日に決定しました。",
                "請求書を明日までに送付してください。",
                "明日までに送ります。",
            ]
        )
    ]

    content, _ = extractive.summarise(messages)
    mixed, _ = extractive.summarise([*messages, *named])

    assert "None" not in content
    assert "None" not in mixed
    assert "納期はいつですか" not in sections(content)["Open Items"][0]
    assert "担当者の記載なし" in content
    (_, system), (_, data) = ask_to_summarise(dict(enumerate(messages, 1)), "ja", today=MORNING.date())
    assert system
    assert '"from":null' in data
