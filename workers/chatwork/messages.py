"""Tables `chatwork_messages` and `chatwork_reads`: messages, and marks of open requests.

A request with `force=0` gets only messages that Chatwork has not given before, so a message whose
answer was lost does not come again. A mark on a room (a row of `chatwork_reads`) stands for a
request whose answer is not stored yet. The invariant: **if Chatwork has given a message and the
message is not stored here, its room has a mark.** While a room has a mark, every sync asks for the
newest 100 (`force=1`) and so gets that message again. Therefore:

- A mark is committed before its request is sent. An attempt that is over gets no mark and sends no
  request.
- A mark is removed only in the transaction that stores the answer to its request, so a crash leaves
  the mark in place.
- A sync also removes the marks of other attempts that were over when the sync left its own mark. The
  messages behind those marks are in the `force=1` answer of this sync. If the request of this sync
  fails, the mark of this sync stays. The sync does not remove the marks of attempts that ended or
  began later, because those attempts may have been given messages after the sync's answer was made.
- A mark is removed by its id, and leaving a mark again gives it a new id. So a sync removes only
  marks that it has seen.
- The transaction that stores an answer also names the answer's unreadable messages in
  `chatwork_unreadable` and removes the mark, because a second request would bring the same
  unreadable messages.

Two syncs that do not see each other's mark may both ask with `force=0`. The mark of each sync covers
the messages that this sync is given.
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

# Every transaction that writes marks, messages or their company locks the room first, because two
# transactions that lock in different orders could deadlock.
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

# This statement runs after the statement that takes the lock. It must see a link between room and
# company that was committed while the other statement waited.
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
    """The mark of a request that is about to be sent.

    `over` holds the ids of other marks on the room whose attempts were over when this mark was
    left. If there are any, `needs_force` is true.
    """

    id: int
    over: tuple[int, ...]
    needs_force: bool


@dataclass(frozen=True, slots=True)
class Message:
    """A stored message.

    `company_id` is None if its room is linked to no company or to several.
    """

    message_id: str
    sender: str | None
    body: str
    sent_at: datetime
    company_id: str | None


@dataclass(frozen=True, slots=True)
class MessagePage:
    """A page of a room's messages, newest first. `next_cursor` is None on the last page."""

    messages: list[Message]
    next_cursor: str | None


class BadCursor(ValueError):
    """The text is not a cursor that `page_of_messages` returned."""


async def leave_mark(database: Database, room_id: str, *, job_id: str, attempt: int) -> Mark | None:
    """Leaves a mark on a room before a request.

    Returns None if the attempt is over: then no request may be sent.
    """
    async with database.raw() as connection:
        row = await connection.fetchrow(LEAVE_MARK, room_id, job_id, attempt)
    return None if row is None else Mark(row["id"], tuple(row["over"]), row["needs_force"])


async def leave_mark_again(database: Database, room_id: str, *, job_id: str, attempt: int) -> None:
    """Leaves a mark for an answer that came too late to be stored.

    The mark is left although the attempt is over. Another sync may have removed the first mark, and
    only a mark brings back the messages that Chatwork gave and that were not stored.
    """
    await database.execute(LEAVE_MARK_AGAIN, {"room_id": room_id, "job_id": job_id, "attempt": attempt})


async def store_messages(
    database: Database, room_id: str, answer: MessagesAnswer, mark: Mark, *, job_id: str | None = None
) -> None:
    """Stores an answer, its unreadable messages and its gap, and removes `mark`.

    Call it inside a transaction, because the answer and the removal must be committed together.
    """
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
    """Stores on a room the error of a sync that could not read the room.

    `mark` stays. The marks in `mark.over` are removed, because `mark` covers their messages too.
    """
    async with database.raw() as connection:
        await connection.execute(FAILED, room_id, list(mark.over), status, message)


async def assign_company(database: Database, room_id: str) -> None:
    """Gives a room's messages the company that the room is linked to.

    The messages get no company if the room is linked to none or to several.

    Call it inside the transaction that links or unlinks the room. A sync that stores messages at
    this moment waits for the lock on the room and then sees the change.
    """
    async with database.raw() as connection:
        await connection.execute(LOCK_ROOM, room_id)
        await connection.execute(ASSIGN_COMPANY, room_id)


async def page_of_messages(database: Database, room_id: str, *, limit: int, cursor: str | None = None) -> MessagePage:
    """Returns at most `limit` messages of a room, newest first, from `cursor` on.

    Raises:
        BadCursor: `cursor` is not a `next_cursor` of this function.
    """
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
            raise BadCursor("`cursor` must be a `nextCursor` of this list")
        return before.astimezone(UTC), Decimal(number)
    except (ValueError, OverflowError, binascii.Error) as error:
        raise BadCursor("`cursor` must be a `nextCursor` of this list") from error
