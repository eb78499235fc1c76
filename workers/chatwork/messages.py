"""Tables `chatwork_messages` and `chatwork_reads`: the messages, and the marks of requests whose answer is not stored yet.

The invariant: **a message that Chatwork has given away and that is not stored here stands behind a mark on its room**, and while
a room has a mark, whoever reads it asks for the newest 100 (`force=1`) and so gets that message again. Hence

- the mark is durable before its request goes out, and refused to an attempt that is over;
- it goes only in the transaction that stores the answer to that request, so a crash anywhere between leaves it;
- another's mark, found when ours was left, goes in our transaction if its attempt was over by then, and only then: what it was
  given before is in our `force=1` answer, or our own mark stays in its place. An attempt that ended later, or left its mark
  later, may have been given messages after our answer was made;
- a mark is named by its id, and leaving it again gives it a new one: nobody removes a mark that they have not seen;
- a message that cannot be read is named in `chatwork_unreadable` by the transaction that stores the others and removes the mark:
  to ask for it again would bring it as it was.

Two syncs that do not see each other's mark both ask with `force=0`; what one is given, its own mark covers.
"""

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from events.database import Database
from workers.chatwork.answers import ChatworkMessage, MessagesAnswer
from workers.chatwork.gaps import update_gaps
from workers.chatwork.unreadable import store_unreadable

LEAVE_MARK = """
with mine as (
    insert into chatwork_reads (room_id, job_id, attempt)
    select $1, $2, $3
    where exists (select from jobs where id = $2 and attempt = $3 and status = 'processing')
    on conflict on constraint an_attempt_leaves_one_mark_on_a_room do update set id = default, at = now()
    returning id
), others as (
    select r.id, j.id is null as is_over
    from chatwork_reads r
    left join jobs j on j.id = r.job_id and j.attempt = r.attempt and j.status = 'processing'
    where r.room_id = $1 and (r.job_id, r.attempt) <> ($2, $3)
)
select
    mine.id,
    array(select id from others where is_over) as over,
    exists (select from others)
        or exists (select from chatwork_rooms where room_id = $1 and last_sync_at is null) as needs_force
from mine
"""

LEAVE_MARK_AGAIN = """
insert into chatwork_reads (room_id, job_id, attempt) values (:room_id, :job_id, :attempt)
on conflict on constraint an_attempt_leaves_one_mark_on_a_room do update set id = default, at = now()
"""

# The room is locked first, by whoever touches its marks, its messages or their company: one order, so no deadlock.
READ = """
with room as materialized (
    select room_id from chatwork_rooms where room_id = $1 for no key update
), removed as (
    delete from chatwork_reads mark using room where mark.room_id = room.room_id and mark.id = any($2::bigint[])
)
update chatwork_rooms r
set last_sync_at = greatest(r.last_sync_at, clock_timestamp()),
    last_message_id = greatest(cast(r.last_message_id as numeric), cast($3::text as numeric))::text,
    last_error_at = null, last_error_status = null, last_error_message = null, updated_at = now()
from room
where r.room_id = room.room_id
returning exists (select from chatwork_gaps g where g.room_id = r.room_id) as had_gaps
"""

FAILED = """
with room as materialized (
    select room_id from chatwork_rooms where room_id = $1 for no key update
), removed as (
    delete from chatwork_reads mark using room where mark.room_id = room.room_id and mark.id = any($2::bigint[])
)
update chatwork_rooms r
set last_error_at = clock_timestamp(), last_error_status = $3, last_error_message = $4, updated_at = now()
from room
where r.room_id = room.room_id
"""

COMPANY = "select case when count(*) = 1 then (array_agg(company_id))[1] end from company_chatwork_rooms where room_id = $1"

# Run after the room is locked, in a statement of its own: it must see a link that was committed meanwhile.
UPSERT = f"""
insert into chatwork_messages as m (room_id, message_id, sender, body, sent_at, edited_at, company_id)
select $1, a.message_id, a.sender, a.body, a.sent_at, a.edited_at, ({COMPANY})
from unnest($2::text[], $3::text[], $4::text[], $5::timestamptz[], $6::timestamptz[])
    as a(message_id, sender, body, sent_at, edited_at)
order by a.message_id
on conflict (room_id, message_id) do update
set sender = excluded.sender, body = excluded.body, sent_at = excluded.sent_at, edited_at = excluded.edited_at,
    company_id = excluded.company_id
where (m.sender, m.body, m.sent_at, m.edited_at, m.company_id)
        is distinct from (excluded.sender, excluded.body, excluded.sent_at, excluded.edited_at, excluded.company_id)
    and coalesce(excluded.edited_at, '-infinity') >= coalesce(m.edited_at, '-infinity')
"""

LOCK_ROOM = "select from chatwork_rooms where room_id = $1 for no key update"

ASSIGN_COMPANY = f"""
update chatwork_messages m set company_id = c.company_id
from (select ({COMPANY}) as company_id) c
where m.room_id = $1 and m.company_id is distinct from c.company_id
"""

PAGE = """
select message_id, sender, body, sent_at, company_id
from chatwork_messages
where room_id = :room_id and (sent_at, number) < (cast(:before_time as timestamptz), cast(:before_number as numeric))
order by sent_at desc, number desc
limit :limit
"""

LATEST = datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)
GREATEST_NUMBER = Decimal(10**38)


@dataclass(frozen=True, slots=True)
class Mark:
    """A request that is about to go out. `over`: other marks on the room, whose attempts were over when this one was left;
    where there are any, `needs_force` is true."""

    id: int
    over: tuple[int, ...]
    needs_force: bool


@dataclass(frozen=True, slots=True)
class Message:
    message_id: str
    sender: str | None
    body: str
    sent_at: datetime
    company_id: str | None


@dataclass(frozen=True, slots=True)
class MessagePage:
    messages: list[Message]
    next_cursor: str | None


class BadCursor(ValueError):
    """Not a cursor that `page_of_messages` has given."""


async def leave_mark(database: Database, room_id: str, *, job_id: str, attempt: int) -> Mark | None:
    """Before a request goes out. None where the attempt is over: nothing may be asked then."""
    async with database.raw() as connection:
        row = await connection.fetchrow(LEAVE_MARK, room_id, job_id, attempt)
    return None if row is None else Mark(row["id"], tuple(row["over"]), row["needs_force"])


async def leave_mark_again(database: Database, room_id: str, *, job_id: str, attempt: int) -> None:
    """For an answer that came too late to be stored: our mark may have gone with another's store, and what we were given with
    it. Not fenced."""
    await database.execute(LEAVE_MARK_AGAIN, {"room_id": room_id, "job_id": job_id, "attempt": attempt})


async def store_messages(
    database: Database, room_id: str, answer: MessagesAnswer, mark: Mark, *, job_id: str | None = None
) -> None:
    """Keeps the answer to the request of `mark`, what could not be read of it, and where it leaves a gap. Only inside a
    transaction: the mark goes with the answer or not at all."""
    messages = answer.items
    newest = max((message.message_id for message in messages), key=int, default=None)
    async with database.raw() as connection:
        room = await connection.fetchrow(READ, room_id, [mark.id, *mark.over], newest)
        had_gaps = room is not None and room["had_gaps"]
        await update_gaps(connection, room_id, answer, had_gaps=had_gaps, job_id=job_id)
        if messages:
            await connection.execute(UPSERT, room_id, *_columns(messages))
    await store_unreadable(database, {room_id: answer.unreadable})


async def store_failure(database: Database, room_id: str, *, status: int | None, message: str, mark: Mark) -> None:
    """Keeps on the room why it could not be read. Our own mark stays, and stands for those that were over too."""
    async with database.raw() as connection:
        await connection.execute(FAILED, room_id, list(mark.over), status, message)


async def assign_company(database: Database, room_id: str) -> None:
    """Gives the room's messages the company that the room is linked to, none where it is linked to none or to several. Inside
    the transaction that has just linked or unlinked it: a sync that stores at this moment waits, and sees the link."""
    async with database.raw() as connection:
        await connection.execute(LOCK_ROOM, room_id)
        await connection.execute(ASSIGN_COMPANY, room_id)


async def page_of_messages(database: Database, room_id: str, *, limit: int, cursor: str | None = None) -> MessagePage:
    """At most `limit` messages of a room, newest first, and where the next page begins. Raises `BadCursor`."""
    before_time, before_number = (LATEST, GREATEST_NUMBER) if cursor is None else _read_cursor(cursor)
    values: dict[str, Any] = {
        "room_id": room_id,
        "before_time": before_time,
        "before_number": before_number,
        "limit": limit + 1,
    }
    messages = [Message(**dict(row)) for row in await database.fetch_all(PAGE, values)]
    more = len(messages) > limit
    return MessagePage(messages[:limit], _cursor(messages[limit - 1]) if more else None)


def _columns(messages: Sequence[ChatworkMessage]) -> tuple[list[Any], ...]:
    return (
        [message.message_id for message in messages],
        [message.sender for message in messages],
        [message.body for message in messages],
        [message.sent_at for message in messages],
        [message.edited_at for message in messages],
    )


def _cursor(message: Message) -> str:
    return base64.urlsafe_b64encode(f"{message.sent_at.isoformat()} {message.message_id}".encode()).decode().rstrip("=")


def _read_cursor(cursor: str) -> tuple[datetime, Decimal]:
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), b"-_", validate=True).decode()
        time, _, number = text.partition(" ")
        before = datetime.fromisoformat(time)
        if before.tzinfo is None or not (number.isascii() and number.isdigit() and len(number) <= 38):
            raise BadCursor("not a cursor of this list")
        return before.astimezone(UTC), Decimal(number)
    except (ValueError, OverflowError, binascii.Error) as error:
        raise BadCursor("not a cursor of this list") from error
