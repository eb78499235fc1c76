"""Table `chatwork_unreadable`: items of Chatwork's answers that could not be read.

The items are shown as the room's error until a person has seen them. An item that was seen becomes
an error again only if its reason changes, because each sync of the newest 100 reads it again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from events.database import Database, Row
from workers.chatwork.answers import WITHOUT_ID, Unreadable, complaint

# A message without an id always counts as new, because two such messages look alike. Rows are
# written in key order, because two transactions with different orders could deadlock.
ADD = f"""
insert into chatwork_unreadable as u (room_id, item, reason)
select distinct on (a.room_id, a.item) a.room_id, a.item, a.reason
from unnest(cast(:room_ids as text[]), cast(:items as text[]), cast(:reasons as text[])) as a(room_id, item, reason)
order by a.room_id, a.item
on conflict on constraint an_unreadable_item_is_kept_once do update
set reason = excluded.reason, found_at = excluded.found_at, seen_at = null
where u.reason <> excluded.reason or u.item = '{WITHOUT_ID}'
"""

UNSEEN = """
select room_id, item, reason, found_at from chatwork_unreadable
where seen_at is null and (cast(:room_id as text) is null or room_id = :room_id)
order by found_at desc, item
"""

SEEN = """
update chatwork_unreadable set seen_at = now() where room_id = :room_id and seen_at is null and found_at <= :until
"""


@dataclass(frozen=True, slots=True)
class Unseen:
    """The error of a room because of its unreadable items that nobody has seen.

    `found_at` is the time at which the newest such item was found.
    """

    message: str
    found_at: datetime


async def store_unreadable(database: Database, found: Mapping[str, Sequence[Unreadable]]) -> None:
    """Stores unreadable items. `found` holds them by Chatwork's room id."""
    rows = [(room_id, each.item, each.reason) for room_id, several in found.items() for each in several]
    if rows:
        room_ids, items, reasons = (list(column) for column in zip(*rows, strict=True))
        await database.execute(ADD, {"room_ids": room_ids, "items": items, "reasons": reasons})


async def unseen_by_room(database: Database, room_id: str | None = None) -> dict[str, Unseen]:
    """Returns the unseen items of all rooms, or of one room, by Chatwork's room id."""
    rows: dict[str, list[Row]] = {}
    for row in await database.fetch_all(UNSEEN, {"room_id": room_id}):
        rows.setdefault(row["room_id"], []).append(row)
    return {
        room_id: Unseen(complaint([Unreadable(row["item"], row["reason"]) for row in unseen]), unseen[0]["found_at"])
        for room_id, unseen in rows.items()
    }


async def mark_as_seen(database: Database, room_id: str, *, until: datetime) -> None:
    """Marks the items of a room that were found up to `until` as seen."""
    await database.execute(SEEN, {"room_id": room_id, "until": until})
