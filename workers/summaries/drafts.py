"""Stores and lists summary drafts, and chooses the messages for a draft.

There is one draft for each company and period. All SQL on `summary_drafts` is here.
"""

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
used_message_count, token_usage, expires_at"""

# A draft that replaces another keeps its id, so that links to it stay valid.
SAVE = f"""
insert into summary_drafts (company_id, period_start, period_end, content, source_links, model, prompt_version,
    source_message_count, used_message_count, token_usage, expires_at)
values (:company_id, :period_start, :period_end, :content, :source_links, :model, :prompt_version,
    :source_message_count, :used_message_count, cast(:token_usage as json), now() + cast(:lifetime as interval))
on conflict on constraint a_company_has_one_draft_of_a_period do update set
    content = excluded.content, source_links = excluded.source_links, model = excluded.model,
    prompt_version = excluded.prompt_version, source_message_count = excluded.source_message_count,
    used_message_count = excluded.used_message_count, token_usage = excluded.token_usage,
    created_at = excluded.created_at, expires_at = excluded.expires_at
returning {COLUMNS}
"""
LIST = f"select {COLUMNS} from summary_drafts where company_id = :company_id order by created_at desc, id limit {MAX_LISTED}"

DELETE = "delete from summary_drafts where company_id = :company_id and id = :draft_id returning id"

# A room that was unlinked takes its messages along, so a reader of the draft no longer gets their text.
SOURCES = """
select message.room_id, room.id as room, room.name, message.message_id, message.sender, message.sent_at, message.body
from summary_drafts draft
join chatwork_messages message on message.company_id = draft.company_id and message.message_id = any(draft.source_links)
    and message.sent_at >= draft.period_start and message.sent_at < draft.period_end
join chatwork_rooms room on room.room_id = message.room_id
where draft.company_id = :company_id and draft.id = :draft_id
order by message.sent_at, message.number
"""
KNOWN = "select exists (select from summary_drafts where company_id = :company_id and id = :draft_id)"

COUNT = """
select count(*) from chatwork_messages
where company_id = :company_id and sent_at >= :period_start and sent_at < :period_end
"""
CURRENT = f"""
select {COLUMNS} from summary_drafts
where company_id = :company_id and period_start = :period_start and period_end = :period_end and expires_at > now()
    and source_message_count = ({COUNT})
"""

# The CTEs read only keys, which are in the index, so only the bodies of the chosen messages are
# read. The `older` messages have the places 0, 1, 2 and so on, the oldest first. The message at
# place p is chosen if the whole part of p × 120 / older is higher than for p - 1. That chooses 120
# messages at even distances, so 15 from each eighth.
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
    """A span of time that includes `start` and excludes `end`."""

    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Draft:
    """A stored draft.

    `source_message_count` is the number of all messages of the period, and `used_message_count` the
    number of those that were read for the draft; None if an older version made the draft.
    `incomplete_rooms` are the names of the rooms that may lack messages of the period, as known when
    the draft is read.
    """

    id: str
    company_id: str
    period: Period
    content: str
    source_links: tuple[str, ...]
    model: str
    prompt_version: str
    source_message_count: int
    used_message_count: int | None
    token_usage: JSON
    expires_at: datetime
    incomplete_rooms: tuple[str, ...] = ()

    def to_json(self) -> dict[str, JSON]:
        """Returns the draft as the API and the job's result show it."""
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
            "usedMessageCount": self.used_message_count,
            "tokenUsage": self.token_usage,
            "expiresAt": rfc3339(self.expires_at),
        }


@dataclass(frozen=True, slots=True)
class Source:
    """A message that a draft rests on. `room` is our id of its room, `room_id` Chatwork's."""

    message_id: str
    room_id: str
    room: str
    room_name: str
    sender: str | None
    sent_at: datetime
    body: str


class UnknownDraft(Exception):
    """The company has no such draft."""

    def __init__(self, draft_id: str) -> None:
        super().__init__(f"there is no draft {draft_id} of this company")
        self.draft_id = draft_id


@dataclass(frozen=True, slots=True)
class Material:
    """The messages chosen for a draft, oldest first; `total` counts all of the period."""

    messages: list[Message]
    total: int


async def save_draft(
    database: Database,
    company_id: str,
    period: Period,
    summary: Summary,
    *,
    source_messages: int,
    used_messages: int | None = None,
) -> Draft:
    """Stores the draft of a company and period, and replaces an earlier one.

    `source_messages` counts all messages of the period, `used_messages` those that were read. The
    draft expires after 7 days.
    """
    values = {
        "content": summary.content,
        "source_links": list(summary.source_links),
        "model": summary.model,
        "prompt_version": summary.prompt_version,
        "source_message_count": source_messages,
        "used_message_count": used_messages,
        "token_usage": orjson.dumps(summary.usage.to_json()).decode(),
        "lifetime": LIFETIME,
    }
    row = await database.fetch_one(SAVE, _of(company_id, period) | values)
    assert row is not None
    return _draft(row, await gaps_of_company(database, company_id))


async def current_draft(database: Database, company_id: str, period: Period) -> Draft | None:
    """Returns the unexpired draft of exactly this period, or None.

    Returns None too if the number of messages in the period has changed since the draft was made.
    """
    row = await database.fetch_one(CURRENT, _of(company_id, period))
    return None if row is None else _draft(row, await gaps_of_company(database, company_id))


async def list_drafts(database: Database, company_id: str) -> list[Draft]:
    """Returns the newest 200 drafts of a company, newest first.

    Expired drafts are included; `expires_at` shows which drafts have expired.
    """
    rows, gaps = await database.fetch_all(LIST, {"company_id": company_id}), await gaps_of_company(database, company_id)
    return [_draft(row, gaps) for row in rows]


async def delete_draft(database: Database, company_id: str, draft_id: str) -> None:
    """Deletes a draft of this company. Raises `UnknownDraft`."""
    if await database.fetch_one(DELETE, {"company_id": company_id, "draft_id": draft_id}) is None:
        raise UnknownDraft(draft_id)


async def sources_of(database: Database, company_id: str, draft_id: str) -> list[Source]:
    """Returns the messages that a draft names, oldest first, if they still belong to the company.

    Raises `UnknownDraft`.
    """
    values = {"company_id": company_id, "draft_id": draft_id}
    if not await database.fetch_val(KNOWN, values):
        raise UnknownDraft(draft_id)
    return [
        Source(row["message_id"], row["room_id"], row["room"], row["name"], row["sender"], row["sent_at"], row["body"])
        for row in await database.fetch_all(SOURCES, values)
    ]


async def messages_of(database: Database, company_id: str, period: Period) -> Material:
    """Chooses the messages for a draft: all of the period, if there are at most 300.

    If there are more, it chooses the newest 180, and 15 from each of 8 equal parts of the older
    messages.
    """
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
        used_message_count=row["used_message_count"],
        token_usage=orjson.loads(row["token_usage"]),
        expires_at=row["expires_at"],
        incomplete_rooms=tuple(dict.fromkeys(room for room, gap in gaps if gap.touches(period.start, period.end))),
    )
