"""Table `chatwork_gaps`: the places where messages of a room may be missing.

Chatwork gives at most the newest 100 messages and has no pages. A full answer that shares no
message with the stored ones may have left out messages between the stored ones and its own (reason
`over_100`), and a free plan withholds old messages (reason `plan`). A gap stays until a later answer
shows that no message is missing in it. A room's gaps are written under the lock on the room's row.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from events.database import Database
from workers.chatwork.answers import MessagesAnswer

COLUMNS = "after_message_id, before_message_id, reason, after_at, before_at, job_id, found_at"

STORED = """
select
    exists (select from chatwork_messages where room_id = $1 and message_id = any($2::text[])) as overlaps,
    below.message_id as below_id,
    below.sent_at as below_at
from (select) as one
left join lateral (
    select message_id, sent_at from chatwork_messages
    where room_id = $1 and number < cast($3::text as numeric) order by number desc limit 1
) below on true
"""

OF_ROOM = f"select {COLUMNS} from chatwork_gaps where room_id = $1 order by found_at"
REMOVE = "delete from chatwork_gaps where room_id = $1"
ADD = f"insert into chatwork_gaps (room_id, {COLUMNS}) values ($1, $2, $3, $4, $5, $6, $7, $8)"

BY_ROOM = f"""
select room_id, {COLUMNS} from chatwork_gaps
where cast(:room_id as text) is null or room_id = :room_id
order by cast(before_message_id as numeric) desc nulls first, cast(after_message_id as numeric) desc nulls last
"""

OF_JOB = f"select room_id, {COLUMNS} from chatwork_gaps where job_id = :job_id order by found_at, room_id"

# Messages belong to a company if their room is linked to it and to no other company. Gaps belong to
# a company by the same rule.
OF_COMPANY = f"""
select g.room_id, r.name, {COLUMNS}
from company_chatwork_rooms link
join chatwork_gaps g on g.room_id = link.room_id
join chatwork_rooms r on r.room_id = link.room_id
where link.company_id = :company_id
    and not exists (select from company_chatwork_rooms o where o.room_id = link.room_id and o.company_id <> link.company_id)
order by r.name, g.room_id
"""

ABOVE_ALL = str(10**38)  # greater than any message's id


@dataclass(frozen=True, slots=True)
class Gap:
    """Messages between two stored ones may be missing.

    `after_message_id` is None if no older message is stored, `before_message_id` is None if no
    newer message is stored. `after_at` and `before_at` say when these two messages were sent.
    `job_id` is the last sync that found the gap.
    """

    after_message_id: str | None
    before_message_id: str | None
    reason: str
    after_at: datetime | None
    before_at: datetime | None
    job_id: str | None
    found_at: datetime

    @property
    def key(self) -> tuple[str | None, str | None, str]:
        """The identity of the gap within its room: two gaps with the same key are the same gap."""
        return self.after_message_id, self.before_message_id, self.reason

    def touches(self, start: datetime, end: datetime) -> bool:
        """Returns whether a missing message may have been sent from `start` until before `end`."""
        return (self.after_at is None or self.after_at < end) and (self.before_at is None or self.before_at >= start)

    def to_json(self, room_id: str) -> dict[str, str | None]:
        """Returns `{roomId, afterMessageId, beforeMessageId, reason}`, for a job's result."""
        return {
            "roomId": room_id,
            "afterMessageId": self.after_message_id,
            "beforeMessageId": self.before_message_id,
            "reason": self.reason,
        }


@dataclass(frozen=True, slots=True)
class Stored:
    """The stored messages of a room, compared with an answer that has just come.

    `overlaps` says whether any message of the answer is stored. `below_id` and `below_at` are the id
    and time of the newest stored message that is older than the whole answer.
    """

    overlaps: bool = False
    below_id: str | None = None
    below_at: datetime | None = None


async def update_gaps(connection: Any, room_id: str, answer: MessagesAnswer, *, had_gaps: bool, job_id: str | None) -> None:
    """Updates the stored gaps of a room with the messages of an answer.

    Call it before the answer's messages are stored, in the same transaction, with the room locked.
    """
    may_have_left_out = answer.is_full or answer.is_limited
    if not (had_gaps or may_have_left_out):
        return
    gaps = [_gap(row) for row in await connection.fetch(OF_ROOM, room_id)]
    stored = Stored()
    if may_have_left_out:
        lowest = min(answer.message_ids, key=int, default=ABOVE_ALL)
        stored = Stored(**dict(await connection.fetchrow(STORED, room_id, list(answer.message_ids), lowest)))
    now = gaps_after(gaps, answer, stored, job_id=job_id, at=datetime.now(UTC))
    if now != gaps:
        await connection.execute(REMOVE, room_id)
        await connection.executemany(ADD, [(room_id, *_values(gap)) for gap in now])


def gaps_after(gaps: Sequence[Gap], answer: MessagesAnswer, stored: Stored, *, job_id: str | None, at: datetime) -> list[Gap]:
    """Returns the gaps of a room after an answer: old gaps that stay open, and a new gap.

    A gap that the answer shows again keeps its `found_at` and gets the new `job_id`.
    """
    left = {gap.key: gap for before in gaps if (gap := _what_is_left(before, answer)) is not None}
    if (found := _found(answer, stored, job_id, at)) is not None:
        left[found.key] = replace(left.get(found.key, found), job_id=job_id)
    return list(left.values())


async def gaps_by_room(database: Database, room_id: str | None = None) -> dict[str, tuple[Gap, ...]]:
    """Returns the gaps of all rooms, or of one room, by Chatwork's room id.

    The gaps between the newest messages come first.
    """
    return _by_room(await database.fetch_all(BY_ROOM, {"room_id": room_id}))


async def gaps_of_job(database: Database, job_id: str) -> list[dict[str, str | None]]:
    """Returns the gaps that any attempt of a sync has found, as JSON for the job's result."""
    rows = await database.fetch_all(OF_JOB, {"job_id": job_id})
    return [_gap(row).to_json(row["room_id"]) for row in rows]


async def gaps_of_company(database: Database, company_id: str) -> list[tuple[str, Gap]]:
    """Returns pairs of room name and gap, for the rooms whose messages belong to the company."""
    rows = await database.fetch_all(OF_COMPANY, {"company_id": company_id})
    return [(row["name"], _gap(row)) for row in rows]


def _found(answer: MessagesAnswer, stored: Stored, job_id: str | None, at: datetime) -> Gap | None:
    """Returns the gap between an answer and the older stored messages, or None."""
    if answer.is_limited:
        # An empty answer to `force=0` only says that there is no new message. An empty answer to
        # `force=1` says that the plan withholds all messages.
        nothing_to_tell = (not answer.given and not answer.is_forced) or (stored.overlaps and stored.below_id is not None)
    else:
        nothing_to_tell = not answer.is_full or stored.overlaps
    if nothing_to_tell:
        return None
    lowest, sent_at = _lowest(answer)
    return Gap(stored.below_id, lowest, "plan" if answer.is_limited else "over_100", stored.below_at, sent_at, job_id, at)


def _what_is_left(gap: Gap, answer: MessagesAnswer) -> Gap | None:
    """Returns the part of a gap that an answer leaves open; None if the answer closes the gap.

    A forced answer holds every message between its lowest and its highest id. If a forced answer is
    neither full nor limited by the plan, it holds every older message too.
    """
    lowest, sent_at = _lowest(answer)
    if lowest is None:
        return gap
    after, before = _number(gap.after_message_id), _number(gap.before_message_id)
    highest = max(map(int, answer.message_ids))
    is_newer = before is None and (after is None or highest > after)
    covers_its_end = before is not None and answer.is_forced and int(lowest) <= before <= highest
    if not is_newer and not covers_its_end:
        return gap
    holds_all = answer.is_forced and not answer.is_full and not answer.is_limited
    if holds_all or (after is not None and int(lowest) <= after):
        return None
    return replace(gap, before_message_id=lowest, before_at=sent_at)


def _lowest(answer: MessagesAnswer) -> tuple[str | None, datetime | None]:
    """Returns the answer's lowest id, and the time of its readable message with the lowest id."""
    readable = min(answer.items, key=lambda message: int(message.message_id), default=None)
    return min(answer.message_ids, key=int, default=None), None if readable is None else readable.sent_at


def _number(message_id: str | None) -> int | None:
    return None if message_id is None else int(message_id)


def _by_room(rows: Iterable[Any]) -> dict[str, tuple[Gap, ...]]:
    found: dict[str, list[Gap]] = {}
    for row in rows:
        found.setdefault(row["room_id"], []).append(_gap(row))
    return {room_id: tuple(gaps) for room_id, gaps in found.items()}


def _gap(row: Any) -> Gap:
    job_id = row["job_id"]
    return Gap(
        row["after_message_id"], row["before_message_id"], row["reason"], row["after_at"], row["before_at"],
        None if job_id is None else str(job_id), row["found_at"],
    )  # fmt: skip


def _values(gap: Gap) -> tuple[Any, ...]:
    return (
        gap.after_message_id, gap.before_message_id, gap.reason, gap.after_at, gap.before_at, gap.job_id, gap.found_at,
    )  # fmt: skip
