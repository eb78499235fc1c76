"""Table `chatwork_rooms`: the rooms that the token can see, and when each was last read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from events.database import Database, Row
from workers.chatwork.answers import ChatworkRoom, Unreadable
from workers.chatwork.gaps import Gap, gaps_by_room
from workers.chatwork.unreadable import Unseen, mark_as_seen, store_unreadable, unseen_by_room

LONGEST_ERROR = 500  # characters
NO_NAME = Unreadable("the room's name", "`name` is missing or not text")

ROOM_COLUMNS = """
r.id, r.room_id, r.name, r.description, r.is_active, r.last_sync_at, r.last_message_id, r.last_error_at, r.last_error_status,
r.last_error_message, r.created_at, r.updated_at
"""

LIST = f"""
select {ROOM_COLUMNS}, coalesce(m.messages, 0) as message_count
from chatwork_rooms r
left join (select room_id, count(*) as messages from chatwork_messages group by room_id) m on m.room_id = r.room_id
order by r.name, r.room_id
"""

GET = f"""
select {ROOM_COLUMNS}, (select count(*) from chatwork_messages m where m.room_id = r.room_id) as message_count
from chatwork_rooms r
where r.id = :id
"""

SET_ACTIVE = """
update chatwork_rooms set is_active = :is_active, updated_at = now() where id = :id and is_active <> :is_active
"""

# Unchanged rooms are left out first, because `on conflict do update` would lock and rewrite them
# too. Rows are written in the order of room_id, because two syncs with different orders could
# deadlock. A room without a readable name keeps its old name; a new room is named `#` and its id.
UPSERT = """
with asked as (
    select a.room_id, coalesce(a.name, known.name, '#' || a.room_id) as name, a.description,
        known.room_id is null as is_new, known.name as known_name, known.description as known_description
    from unnest(
        cast(:room_ids as text[]), cast(:names as text[]), cast(:descriptions as text[])
    ) as a(room_id, name, description)
    left join chatwork_rooms known on known.room_id = a.room_id
), written as (
    insert into chatwork_rooms as r (room_id, name, description, is_active)
    select room_id, name, description, :is_active
    from asked
    where is_new or (known_name, known_description) is distinct from (name, description)
    order by room_id
    on conflict (room_id) do update
    set name = excluded.name, description = excluded.description, updated_at = now()
    where (r.name, r.description) is distinct from (excluded.name, excluded.description)
    returning r.xmax = 0 as created
)
select count(*) filter (where created) as created, count(*) filter (where not created) as updated from written
"""

TO_SYNC = """
select room_id from chatwork_rooms
where is_active
order by last_sync_at nulls first, created_at, cast(room_id as numeric)
limit :limit
"""

NAMES = "select room_id, name from chatwork_rooms where room_id = any(cast(:room_ids as text[]))"
EXISTS = "select exists (select from chatwork_rooms where room_id = :room_id)"


@dataclass(frozen=True, slots=True)
class Room:
    """A room with its last error and its gaps.

    `id` is our id. `room_id` and `last_message_id` are Chatwork's, strings of digits.
    `error_needs_review` says that the last error names unreadable items. That error stays until a
    person has seen it (`see_error`).
    """

    id: str
    room_id: str
    name: str
    description: str | None
    is_active: bool
    last_sync_at: datetime | None
    last_message_id: str | None
    last_error_at: datetime | None
    last_error_status: int | None
    last_error_message: str | None
    created_at: datetime
    updated_at: datetime
    message_count: int
    error_needs_review: bool
    gaps: tuple[Gap, ...]


@dataclass(frozen=True, slots=True)
class Upserted:
    """How many rooms were created and changed, out of `total` rooms in Chatwork's answer."""

    created: int
    updated: int
    total: int


async def list_rooms(database: Database) -> list[Room]:
    """Returns every room, in the order of their names."""
    rows, unseen, gaps = await database.fetch_all(LIST), await unseen_by_room(database), await gaps_by_room(database)
    return [_room(row, unseen, gaps) for row in rows]


async def get_room(database: Database, internal_id: str) -> Room | None:
    """Returns the room with our id, or None if there is none."""
    row = await database.fetch_one(GET, {"id": internal_id})
    if row is None:
        return None
    room_id = row["room_id"]
    return _room(row, await unseen_by_room(database, room_id), await gaps_by_room(database, room_id))


async def see_error(database: Database, internal_id: str, *, until: datetime) -> Room | None:
    """Marks the unreadable items that were found up to `until` as seen by a person.

    Returns the room after that change, or None if there is no such room.
    """
    room = await get_room(database, internal_id)
    if room is None:
        return None
    await mark_as_seen(database, room.room_id, until=until)
    return await get_room(database, internal_id)


async def set_active(database: Database, internal_id: str, is_active: bool) -> Room | None:
    """Includes a room in the sync of all rooms, or excludes it.

    Returns the room after that change, or None if there is no such room.
    """
    await database.execute(SET_ACTIVE, {"id": internal_id, "is_active": is_active})
    return await get_room(database, internal_id)


async def upsert_rooms(database: Database, found: Sequence[ChatworkRoom], *, new_rooms_active: bool) -> Upserted:
    """Stores the rooms of an answer. No room may be in `found` twice.

    If a room has no readable name, an error on the room says so.
    """
    values: dict[str, Any] = {
        "room_ids": [room.room_id for room in found],
        "names": [room.name for room in found],
        "descriptions": [room.description for room in found],
        "is_active": new_rooms_active,
    }
    row = await database.fetch_one(UPSERT, values)
    assert row is not None
    await store_unreadable(database, {room.room_id: [NO_NAME] for room in found if room.name is None})
    return Upserted(row["created"], row["updated"], len(found))


def shortened(message: str) -> str:
    """Returns an error message, cut to the length that a room stores."""
    return message if len(message) <= LONGEST_ERROR else message[: LONGEST_ERROR - 1] + "…"


async def rooms_to_sync(database: Database, *, limit: int | None = None) -> list[str]:
    """Returns the `room_id`s of active rooms, the longest unread first.

    Rooms that were never read come before all others.
    """
    return [row["room_id"] for row in await database.fetch_all(TO_SYNC, {"limit": limit})]


async def names_of_rooms(database: Database, room_ids: Sequence[str]) -> dict[str, str]:
    """Returns the names of the known rooms, by Chatwork's ids."""
    return {row["room_id"]: row["name"] for row in await database.fetch_all(NAMES, {"room_ids": room_ids})}


async def room_exists(database: Database, room_id: str) -> bool:
    """Returns whether a `chatwork_rooms_sync` has found this room."""
    return bool(await database.fetch_val(EXISTS, {"room_id": room_id}))


def _room(row: Row, unseen: Mapping[str, Unseen], gaps: Mapping[str, tuple[Gap, ...]]) -> Room:
    """Makes a room from its row. An error of the last sync hides the unreadable items."""
    values, room_id = dict(row), row["room_id"]
    needs_review = values["last_error_at"] is None and room_id in unseen
    if needs_review:
        values["last_error_at"] = unseen[room_id].found_at
        values["last_error_message"] = shortened(unseen[room_id].message)
    return Room(**values, error_needs_review=needs_review, gaps=gaps.get(room_id, ()))
