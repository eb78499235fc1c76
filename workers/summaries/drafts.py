"""The summary drafts, one for each company and period, and the messages that they are made of. The only SQL on this table."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import orjson

from events.database import Database, Row
from events.job import JSON, rfc3339
from workers.chatwork.gaps import Gap, gaps_of_company
from workers.summaries.gap_note import with_gap_note
from workers.summaries.summary import Message, Summary

LIFETIME = timedelta(days=7)
MAX_LISTED = 200

MAX_MESSAGES = 300
NEWEST = MAX_MESSAGES * 60 // 100
SAMPLED = MAX_MESSAGES - NEWEST

COLUMNS = """id, company_id, period_start, period_end, content, source_links, model, prompt_version, source_message_count,
token_usage, expires_at"""

# `now()` is the transaction's beginning; a draft that replaces another keeps the id, so that a link to it stays good.
SAVE = f"""
insert into summary_drafts (company_id, period_start, period_end, content, source_links, model, prompt_version,
    source_message_count, token_usage, expires_at)
values (:company_id, :period_start, :period_end, :content, :source_links, :model, :prompt_version,
    :source_message_count, cast(:token_usage as json), now() + cast(:lifetime as interval))
on conflict on constraint a_company_has_one_draft_of_a_period do update set
    content = excluded.content, source_links = excluded.source_links, model = excluded.model,
    prompt_version = excluded.prompt_version, source_message_count = excluded.source_message_count,
    token_usage = excluded.token_usage, created_at = excluded.created_at, expires_at = excluded.expires_at
returning {COLUMNS}
"""
LIST = f"select {COLUMNS} from summary_drafts where company_id = :company_id order by created_at desc, id limit {MAX_LISTED}"

COUNT = """
select count(*) from chatwork_messages
where company_id = :company_id and sent_at >= :period_start and sent_at < :period_end
"""
CURRENT = f"""
select {COLUMNS} from summary_drafts
where company_id = :company_id and period_start = :period_start and period_end = :period_end and expires_at > now()
    and source_message_count = ({COUNT})
"""

# The choice is made among keys alone (the index holds them); only the chosen messages are then read with their bodies. Of the
# `older` messages the one in place p (from 0, oldest first) is taken where p × 120 / older steps to the next whole number: 120
# in all, evenly, and so 15 from each eighth of them.
CHOOSE = f"""
with period as materialized (
    select room_id, message_id, row_number() over (order by sent_at, number, room_id) - 1 as place
    from chatwork_messages
    where company_id = :company_id and sent_at >= :period_start and sent_at < :period_end
), size as (
    select count(*) as messages, count(*) - {NEWEST} as older from period
), chosen as (
    select room_id, message_id, messages, place from period cross join size
    where messages <= {MAX_MESSAGES} or place >= older
        or place = 0 or place * {SAMPLED} / nullif(older, 0) > (place - 1) * {SAMPLED} / nullif(older, 0)
)
select chosen.messages, room_id, room.name as room_name, message_id, message.sender, message.sent_at, message.body
from chosen
join chatwork_messages message using (room_id, message_id)
join chatwork_rooms room using (room_id)
order by chosen.place
"""


@dataclass(frozen=True, slots=True)
class Period:
    """`start` belongs to it, `end` does not."""

    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Draft:
    """`source_message_count` counts all messages of the period, also those that were not chosen. `incomplete_rooms` names the
    rooms in which messages of the period may be missing, as is known now."""

    id: str
    company_id: str
    period: Period
    content: str
    source_links: tuple[str, ...]
    model: str
    prompt_version: str
    source_message_count: int
    token_usage: JSON
    expires_at: datetime
    incomplete_rooms: tuple[str, ...] = ()

    def to_json(self) -> dict[str, JSON]:
        """As the API, and the job's result, show it."""
        return {
            "id": self.id,
            "companyId": self.company_id,
            "periodStart": rfc3339(self.period.start),
            "periodEnd": rfc3339(self.period.end),
            "content": with_gap_note(self.content, self.incomplete_rooms),
            "sourceLinks": list(self.source_links),
            "model": self.model,
            "promptVersion": self.prompt_version,
            "sourceMessageCount": self.source_message_count,
            "tokenUsage": self.token_usage,
            "expiresAt": rfc3339(self.expires_at),
        }


@dataclass(frozen=True, slots=True)
class Material:
    """The messages chosen for a draft, oldest first, and how many there are in the period."""

    messages: list[Message]
    total: int


async def save_draft(database: Database, company_id: str, period: Period, summary: Summary, *, source_messages: int) -> Draft:
    """In place of the draft of this company and period, if there is one; good for 7 days from now."""
    values = {
        "content": summary.content,
        "source_links": list(summary.source_links),
        "model": summary.model,
        "prompt_version": summary.prompt_version,
        "source_message_count": source_messages,
        "token_usage": orjson.dumps(summary.usage.to_json()).decode(),
        "lifetime": LIFETIME,
    }
    row = await database.fetch_one(SAVE, _of(company_id, period) | values)
    assert row is not None
    return _draft(row, await gaps_of_company(database, company_id))


async def current_draft(database: Database, company_id: str, period: Period) -> Draft | None:
    """The unexpired draft of this very period, if the period still holds as many messages as it was made of."""
    row = await database.fetch_one(CURRENT, _of(company_id, period))
    return None if row is None else _draft(row, await gaps_of_company(database, company_id))


async def list_drafts(database: Database, company_id: str) -> list[Draft]:
    """The newest 200, newest first, with those that have expired: `expires_at` says so."""
    rows, gaps = await database.fetch_all(LIST, {"company_id": company_id}), await gaps_of_company(database, company_id)
    return [_draft(row, gaps) for row in rows]


async def messages_of(database: Database, company_id: str, period: Period) -> Material:
    """All of the company's messages of the period; of more than 300 the newest 180, and 15 from each of 8 equal slices of the
    older ones."""
    rows = await database.fetch_all(CHOOSE, _of(company_id, period))
    return Material([_message(row) for row in rows], rows[0]["messages"] if rows else 0)


def _of(company_id: str, period: Period) -> dict[str, object]:
    return {"company_id": company_id, "period_start": period.start, "period_end": period.end}


def _message(row: Row) -> Message:
    return Message(row["room_id"], row["room_name"], row["message_id"], row["sender"], row["sent_at"], row["body"])


def _draft(row: Row, gaps: Sequence[tuple[str, Gap]]) -> Draft:
    period = Period(row["period_start"], row["period_end"])
    return Draft(
        id=row["id"],
        company_id=row["company_id"],
        period=period,
        content=row["content"],
        source_links=tuple(row["source_links"]),
        model=row["model"],
        prompt_version=row["prompt_version"],
        source_message_count=row["source_message_count"],
        token_usage=orjson.loads(row["token_usage"]),
        expires_at=row["expires_at"],
        incomplete_rooms=tuple(dict.fromkeys(room for room, gap in gaps if gap.touches(period.start, period.end))),
    )
