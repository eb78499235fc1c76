"""The job type `chatwork_rooms_sync`: stores the rooms that Chatwork lists."""

import structlog

from events.job import JSON
from workers.chatwork.client import connected
from workers.chatwork.rooms import upsert_rooms
from workers.chatwork.waiting import waits_told
from workers.job_type import Context, JobType, Payload, Unique

log = structlog.get_logger(__name__)


class RoomsSync(Payload):
    """`{}`: no fields."""


async def sync_rooms(context: Context, payload: RoomsSync) -> JSON:
    """Stores the rooms that Chatwork lists.

    The result is `{created, updated, total}`; `updated` counts rooms that changed. If a room has no
    readable name, an error on the room says so. A room without an id is not stored; the process's
    log says how many there were.
    """
    chatwork = connected(context.resources.chatwork)
    async with waits_told(context, chatwork, dict):
        found = await chatwork.rooms()
    if found.unreadable:
        reasons = sorted({each.reason for each in found.unreadable})
        log.warning(
            "rooms without an id were left out",
            job_id=context.job_id, attempt=context.attempt, rooms=len(found.unreadable), reasons=reasons,
        )  # fmt: skip
    async with context.store():
        kept = await upsert_rooms(context.database, found.items, new_rooms_active=chatwork.settings.new_rooms_active)
    return {"created": kept.created, "updated": kept.updated, "total": kept.total}


CHATWORK_ROOMS_SYNC = JobType(
    name="chatwork_rooms_sync",
    title="Sync rooms",
    payload=RoomsSync,
    run=sync_rooms,
    deadline=10 * 60,
    unique=Unique.PER_TYPE,
    calls="Chatwork",
)
