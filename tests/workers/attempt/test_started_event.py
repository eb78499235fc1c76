"""A handler knows the `started` event of its attempt.

It names this event as the cause of the jobs that it queues.
"""

from typing import Any

from events.bus import Bus
from events.database import Database
from events.job import JSON
from events.store import Store
from tests.job_types import AT_ONCE, QUICK, Numbered, ended, job_type, queue, working
from workers.delivery.enqueue import enqueue, enqueue_many
from workers.delivery.wire import LocalWire
from workers.job_type import Context

CAUSE = "select cause from job_events where job_id = :job_id and seq = 1"


async def test_a_job_queued_by_a_handler_names_the_start_of_the_attempt_that_queued_it(
    database: Database, store: Store, bus: Bus, wire: LocalWire
) -> None:
    queued: list[str] = []

    async def fan_out(context: Context, payload: Any) -> JSON:
        if context.attempt == 1:
            raise RuntimeError("the second attempt queues the jobs")
        cause = context.started_event
        one = await enqueue(store, wire, QUICK, {"n": 1}, user_id=None, actor="system:test", cause=cause)
        more = await enqueue_many(store, wire, QUICK, [{"n": 2}, {"n": 3}], user_id=None, actor="system:test", cause=cause)
        queued.extend(job.id for job in (one, *more))
        return None

    fans_out = job_type("fans_out", fan_out, payload=Numbered, backoff=AT_ONCE)
    async with working(database, store, bus, wire, [fans_out, QUICK]):
        job = await ended(database, await queue(store, wire, fans_out))

    started = next(event for event in await store.history.events(job.id) if event.attempt == 2 and event.seq > 4)
    assert len(queued) == 3
    for job_id in queued:
        assert await database.fetch_val(CAUSE, {"job_id": job_id}) == f"{job.id}/{started.seq}"
