"""Drafts in their table, and the choice of messages for a draft."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from events.database import Database
from tests.messages import MORNING, conversation
from tests.stored_messages import a_room, store
from workers.summaries.companies import create_company, link_room
from workers.summaries.drafts import Draft, Material, Period, current_draft, list_drafts, messages_of, save_draft
from workers.summaries.summary import Message, Summary, TokenUsage

DAY = Period(MORNING, MORNING + timedelta(days=1))
SUMMARY = Summary("## Summary\n\n- x", ("1000", "1001"), "model-1", "summary-1", TokenUsage(30, 4))


@pytest.fixture
async def company_id(database: Database) -> str:
    """Adds a company with one room, "1". Returns the company's id."""
    company = await create_company(database, "ABC商事")
    await a_room(database, "1")
    await link_room(database, company.id, "1")
    return company.id


def many(count: int, *, every: timedelta = timedelta(seconds=60)) -> list[Message]:
    return conversation(*[("田中", f"メッセージ{number}") for number in range(count)], every=every)


async def expire(database: Database, draft: Draft) -> None:
    await database.execute("update summary_drafts set expires_at = now() where id = :id", {"id": draft.id})


async def test_a_draft_is_stored_as_it_was_made_and_expires_after_seven_days(database: Database, company_id: str) -> None:
    draft = await save_draft(database, company_id, DAY, SUMMARY, source_messages=2)

    assert await list_drafts(database, company_id) == [draft]
    assert draft.to_json() == {
        "id": draft.id,
        "companyId": company_id,
        "periodStart": "2026-11-24T00:00:00.000000Z",
        "periodEnd": "2026-11-25T00:00:00.000000Z",
        "content": "## Summary\n\n- x",
        "sourceLinks": ["1000", "1001"],
        "model": "model-1",
        "promptVersion": "summary-1",
        "sourceMessageCount": 2,
        "usedMessageCount": None,
        "tokenUsage": {"promptTokens": 30, "completionTokens": 4, "totalTokens": 34},
        "expiresAt": draft.to_json()["expiresAt"],
    }
    left = await database.fetch_val("select expires_at - now() from summary_drafts")
    assert timedelta(days=7) - timedelta(minutes=1) < left <= timedelta(days=7)


async def test_a_second_draft_of_the_same_period_replaces_the_first(database: Database, company_id: str) -> None:
    first = await save_draft(database, company_id, DAY, SUMMARY, source_messages=2)
    await expire(database, first)

    again = Summary("## Summary\n\n- y", (), "model-2", "summary-2")
    second = await save_draft(database, company_id, DAY, again, source_messages=3)

    assert await list_drafts(database, company_id) == [second]
    assert (second.id, second.content, second.model, second.source_message_count) == (first.id, again.content, "model-2", 3)
    assert second.expires_at > datetime.now(UTC) + timedelta(days=6)


async def test_the_drafts_of_a_company_are_listed_newest_first(database: Database, company_id: str) -> None:
    other = await create_company(database, "XYZ")
    older = await save_draft(database, company_id, DAY, SUMMARY, source_messages=0)
    newer = await save_draft(database, company_id, Period(DAY.start, DAY.end + timedelta(1)), SUMMARY, source_messages=0)
    await save_draft(database, other.id, DAY, SUMMARY, source_messages=0)

    assert await list_drafts(database, company_id) == [newer, older]


async def test_a_draft_of_all_messages_of_its_period_is_current(database: Database, company_id: str) -> None:
    await store(database, many(3))
    draft = await save_draft(database, company_id, DAY, SUMMARY, source_messages=3)

    assert await current_draft(database, company_id, DAY) == draft


async def test_a_draft_is_no_longer_current_once_the_period_holds_another_message(database: Database, company_id: str) -> None:
    await store(database, many(3))
    await save_draft(database, company_id, DAY, SUMMARY, source_messages=3)

    await store(database, many(4))

    assert await current_draft(database, company_id, DAY) is None


async def test_a_draft_that_has_expired_is_not_current(database: Database, company_id: str) -> None:
    await expire(database, await save_draft(database, company_id, DAY, SUMMARY, source_messages=0))

    assert await current_draft(database, company_id, DAY) is None


async def test_a_draft_of_another_period_is_not_current(database: Database, company_id: str) -> None:
    await save_draft(database, company_id, DAY, SUMMARY, source_messages=0)

    assert await current_draft(database, company_id, Period(DAY.start, DAY.end + timedelta(seconds=1))) is None


async def test_a_period_includes_its_start_and_excludes_its_end(database: Database, company_id: str) -> None:
    await store(database, many(3, every=timedelta(hours=12)))

    material = await messages_of(database, company_id, DAY)

    assert [message.message_id for message in material.messages] == ["1000", "1001"]
    assert material.total == 2


async def test_messages_come_oldest_first_with_their_room_and_sender(database: Database, company_id: str) -> None:
    same_second = conversation(("田中", "九番"), ("佐藤", "十番"), every=timedelta(0), first_id=9)
    await store(database, same_second)

    material = await messages_of(database, company_id, DAY)

    assert material.messages == same_second


async def test_messages_of_other_companies_are_not_chosen(database: Database, company_id: str) -> None:
    await a_room(database, "2")
    await store(database, conversation(("田中", "秘密"), room_id="2"))

    assert await messages_of(database, company_id, DAY) == Material([], 0)


@pytest.mark.parametrize("count", [1, 180, 300])
async def test_up_to_300_messages_are_all_chosen(database: Database, company_id: str, count: int) -> None:
    await store(database, many(count))

    material = await messages_of(database, company_id, DAY)

    assert (len(material.messages), material.total) == (count, count)


@pytest.mark.parametrize("count", [301, 345, 500, 1234])
async def test_of_more_than_300_messages_the_newest_180_and_120_older_ones_are_chosen(
    database: Database, company_id: str, count: int
) -> None:
    await store(database, many(count))

    material = await messages_of(database, company_id, DAY)

    numbers = [int(message.message_id) - 1000 for message in material.messages]
    assert material.total == count
    assert numbers == sorted(set(numbers))
    assert numbers[120:] == list(range(count - 180, count))
    assert len(numbers) == 300


async def test_the_older_messages_are_sampled_evenly_from_eight_slices(database: Database, company_id: str) -> None:
    await store(database, many(180 + 8 * 100))

    material = await messages_of(database, company_id, DAY)

    older = [int(message.message_id) - 1000 for message in material.messages][:120]
    assert [sum(number // 100 == slice for number in older) for slice in range(8)] == [15] * 8
    gaps = {later - earlier for earlier, later in pairwise(older)}
    assert gaps <= {6, 7}
