"""The job type `chatwork_rooms_sync`: the rooms as Chatwork lists them."""

from events.job import JSON
from workers.chatwork.client import connected
from workers.chatwork.rooms import upsert_rooms
from workers.job_type import Context, JobType, Payload, Unique


class RoomsSync(Payload):
    """`{}`"""


async def sync_rooms(context: Context, payload: RoomsSync) -> JSON:
    """The result: `{created, updated, total}`, of which `updated` counts only rooms that changed."""
    chatwork = connected(context.resources.chatwork)
    found = await chatwork.rooms()
    async with context.store():
        kept = await upsert_rooms(context.database, found, new_rooms_active=chatwork.settings.new_rooms_active)
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
