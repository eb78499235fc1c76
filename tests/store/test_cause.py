"""The cause of an event: a later `queued` names the event that caused it.

A new job names the cause that it was given.
"""

import asyncio

from events.database import Connection
from events.job import JobError, hand_back, rescue, retry
from events.statements import CREATE_JOBS
from events.store import Store
from tests.histories import RETRY_AT_ONCE, canceling, completing, failing, new, reporting, starting
from tests.proxy import Fault, Proxy

CAUSES = "select cause from job_events where job_id = $1 order by seq"


async def causes(connection: Connection, job_id: str) -> list[str | None]:
    return [row["cause"] for row in await connection.fetch(CAUSES, job_id)]


async def test_a_retry_names_the_failure_and_a_manual_retry_the_event_that_it_follows(
    store: Store, connection: Connection
) -> None:
    job = await store.create(new(), actor="user:x")
    for step in (
        starting(), reporting(1), failing(), starting("w2", 2), canceling, retry, starting("w3", 3),
        failing("w3", 3, None), retry, starting("w4", 4), completing({}, "w4", 4),
    ):  # fmt: skip
        job = await store.append(job, step, actor="worker:w1")

    read = await store.history.events(job.id)

    failed, canceled, failed_for_good = (f"{job.id}/{seq}" for seq in (4, 7, 10))
    expected = [None] * 4 + [failed, None, None, canceled, None, None, failed_for_good, None, None]
    assert await causes(connection, job.id) == expected
    assert [event.cause for event in read] == expected


async def test_a_rescue_names_the_failure_and_a_hand_back_has_no_cause(store: Store, connection: Connection) -> None:
    job = await store.create(new(), actor="user:x")
    job = await store.append(job, starting(), actor="worker:w1")
    job = await store.append(job, lambda job: hand_back(job, attempt=1, worker="w1"), actor="worker:w1")
    job = await store.append(job, starting("w2", 2), actor="worker:w2")
    error = JobError("WorkerLost", "gone")

    job = await store.append(
        job, lambda job: rescue(job, attempt=2, worker="w2", error=error, retry_in=RETRY_AT_ONCE), actor="system:rescue"
    )

    assert await causes(connection, job.id) == [None, None, None, None, None, f"{job.id}/5"]


async def test_each_event_of_a_batch_keeps_its_own_cause(store: Store, connection: Connection) -> None:
    jobs = await asyncio.gather(
        *(store.create(new(cause=f"schedule:s/{n}" if n % 3 else None), actor="system:t") for n in range(60))
    )
    jobs = await asyncio.gather(*(store.append(job, starting(), actor="worker:w1") for job in jobs))

    await asyncio.gather(
        *(store.append(job, failing() if n % 2 else reporting(n), actor="worker:w1") for n, job in enumerate(jobs))
    )

    for n, job in enumerate(jobs):
        first = f"schedule:s/{n}" if n % 3 else None
        assert await causes(connection, job.id) == [first, None, None, *([f"{job.id}/3"] if n % 2 else [])]


async def test_many_jobs_queued_together_have_one_cause(store: Store) -> None:
    jobs = await store.create_many([new(cause="webhook:1"), new(cause="webhook:1")], actor="system:webhook")

    assert [(await store.history.events(job.id))[0].cause for job in jobs] == ["webhook:1"] * 2


async def test_a_write_that_is_sent_again_writes_its_cause_once(far_store: Store, proxy: Proxy, connection: Connection) -> None:
    job = await far_store.create(new(), actor="user:x")
    job = await far_store.append(job, starting(), actor="worker:w1")
    proxy.once("to be sent again", Fault.CUT_AFTER)

    job = await far_store.append(job, failing(), actor="worker:w1", request_id="to be sent again")

    assert proxy.faults_met
    assert await causes(connection, job.id) == [None, None, None, f"{job.id}/3"]


async def test_a_process_of_the_last_release_goes_on_writing_events_without_a_cause(connection: Connection) -> None:
    """The last release sends the same row types, and no array of causes."""
    last_release = (
        CREATE_JOBS.replace("request_id, cause, at", "request_id, at")
        .replace("e.request_id, e.cause, e.at", "e.request_id, e.at")
        .replace("unnest($2::job_event_row[], $3::text[])", "unnest($2::job_event_row[])")
        .replace("as e(job_id, seq, attempt, type, data, salt, actor, request_id, at, cause)", "as e")
    )
    assert "cause" not in last_release
    job_id = "01990000-0000-7000-8000-000000000001"
    now = await connection.fetchval("select now()")
    job = (job_id, "rooms", "{}", None, 3, now, now, None, None, None)
    event = (job_id, 1, 1, "queued", "{}", bytes(16), "user:x", "r1", now)

    created = await connection.fetch(last_release, [job], [event])

    assert [row["id"] for row in created] == [job_id]
    assert await causes(connection, job_id) == [None]
