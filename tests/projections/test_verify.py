"""A verification finds every tampering, and nothing in a sound database."""

import pytest

from events.audit_findings import FindingName
from events.database import Connection, Database
from events.job import Job
from events.store import Store
from projections.seal import seal
from projections.verify import Difference, verify
from tests.histories import (
    BOB,
)
from tests.projections.histories_in_log import found, one_of_each, under_load, unguarded


async def test_a_sound_database_has_no_findings(jobs: dict[str, Job], database: Database, superuser: Connection) -> None:
    verified = await verify(database)

    events = await superuser.fetchval("select count(*) from job_events")
    assert verified.differences == []
    assert (verified.jobs, verified.events, verified.last_position) == (6, events, events)


async def test_an_empty_database_is_sound(database: Database) -> None:
    verified = await verify(database)

    assert (verified.jobs, verified.events, verified.last_position, verified.differences) == (0, 0, 0, [])


async def test_events_that_have_no_position_yet_are_sound(store: Store, database: Database) -> None:
    await one_of_each(store)

    assert await found(database) == []


VIEW_CHANGES = {
    "type": "type = 'another'",
    "status": "status = 'queued', worker = null",
    "payload": """payload = '{"key": "another"}'""",
    "result": "result = '1'",
    "error": """error = '{"name": "a", "message": "b", "stack": null}'""",
    "user_id": f"user_id = '{BOB}'",
    "attempt": "attempt = 2",
    "max_attempts": "max_attempts = 4",
    "worker": "worker = 'w9'",
    "seq": "seq = seq + 1",
    "run_at": "run_at = run_at + interval '1 microsecond'",
    "started_at": "started_at = null",
    "finished_at": "finished_at = now()",
    "created_at": "created_at = created_at - interval '1 microsecond'",
    "updated_at": "updated_at = updated_at + interval '1 microsecond'",
}


@pytest.mark.parametrize("column", VIEW_CHANGES)
async def test_a_changed_row_of_the_view_is_found_and_the_column_named(
    jobs: dict[str, Job], database: Database, superuser: Connection, column: str
) -> None:
    changed = jobs["processing"].id
    await superuser.execute(f"update jobs set {VIEW_CHANGES[column]} where id = $1", changed)

    differences = await found(database)

    assert {difference.job_id for difference in differences} == {changed}
    assert any(column in difference.detail for difference in differences)


@pytest.mark.parametrize("result", ['{"n": true}', '{"n": 1.0}', '{"n": "1"}', '{"n": 1, "m": null}', "{}", "null"])
async def test_a_result_that_is_only_a_little_different_is_found(
    jobs: dict[str, Job], database: Database, superuser: Connection, result: str
) -> None:
    await superuser.execute("update jobs set result = $2 where id = $1", jobs["completed"].id, result)

    assert [difference.job_id for difference in await found(database)] == [jobs["completed"].id]


@pytest.mark.parametrize(
    "change",
    [
        """error = '{"nonsense": 1}'""",
        "error = '\"it broke\"'",
        "error = '[]'",
        r"""result = '"\ud800"'""",
        "result = ('[' || repeat('[', 1500) || repeat(']', 1500) || ']')::json",
    ],
)
async def test_a_row_of_the_view_that_cannot_be_read_is_found_and_hides_no_other(
    jobs: dict[str, Job], database: Database, superuser: Connection, change: str
) -> None:
    await superuser.execute(f"update jobs set {change} where id = $1", jobs["failed"].id)
    await superuser.execute("update jobs set seq = 9 where id = $1", jobs["canceled"].id)

    assert {difference.job_id for difference in await found(database)} == {jobs["failed"].id, jobs["canceled"].id}


@pytest.mark.parametrize("name", ["queued", "processing", "completed", "failed", "canceled", "retried"])
async def test_a_row_that_is_missing_in_the_view_is_found(
    jobs: dict[str, Job], database: Database, superuser: Connection, name: str
) -> None:
    await superuser.execute("delete from jobs where id = $1", jobs[name].id)

    assert await found(database) == [Difference(jobs[name].id, "is in the log and not in the view")]


@pytest.mark.parametrize("id", ["00000000-0000-0000-0000-000000000000", BOB, "ffffffff-ffff-ffff-ffff-ffffffffffff"])
async def test_a_row_of_the_view_without_events_is_found(
    jobs: dict[str, Job], database: Database, superuser: Connection, id: str
) -> None:
    await superuser.execute(
        """
        insert into jobs (id, type, status, payload, attempt, max_attempts, seq, run_at, created_at, updated_at)
        values ($1, 'rooms', 'queued', '{}', 1, 1, 1, now(), now(), now())
        """,
        id,
    )

    assert await found(database) == [Difference(id, "is in the view and not in the log")]


async def test_an_empty_view_beside_a_log_is_found(jobs: dict[str, Job], database: Database, superuser: Connection) -> None:
    await superuser.execute("delete from jobs")

    assert {difference.job_id for difference in await found(database)} == {job.id for job in jobs.values()}


@pytest.mark.parametrize("seq", [1, 2, 3, 4])
async def test_an_event_that_is_missing_is_found(
    jobs: dict[str, Job], database: Database, superuser: Connection, seq: int
) -> None:
    job = jobs["completed"]
    async with unguarded(superuser):
        await superuser.execute("delete from job_events where job_id = $1 and seq = $2", job.id, seq)

    findings = (await verify(database)).findings

    # The row that gives the position still names the job and the seq of the removed event.
    lost = {FindingName.MISSING, FindingName.TRUNCATED_TAIL}
    assert {(each.job_id, each.seq) for each in findings if each.name in lost and each.position is not None} == {(job.id, seq)}


async def test_a_history_that_was_shortened_together_with_its_view_is_found_by_its_positions(
    jobs: dict[str, Job], database: Database, superuser: Connection
) -> None:
    async with unguarded(superuser):
        await superuser.execute("delete from job_events where job_id = $1", jobs["completed"].id)
        await superuser.execute("delete from jobs where id = $1", jobs["completed"].id)

    assert {difference.job_id for difference in await found(database)} == {jobs["completed"].id}


EVENT_CHANGES = {
    "another kind of event": "type = 'canceled', data = '{\"reason\": \"x\"}' where seq = 3",
    "another result": "data = '{\"result\": 2}' where seq = 4",
    "a missing result": "data = '{}' where seq = 4",
    "no object": "data = '[]' where seq = 4",
    "nothing": "data = 'null' where seq = 2",
    "text that cannot be read": r"""data = '{"result": "\ud800"}' where seq = 4""",
    "data nested too deeply to be read": "data = ('[' || repeat('[', 1500) || repeat(']', 1500) || ']')::json where seq = 4",
    "a result nested too deeply, which a later event has replaced": """
        data = ('{"result": ' || repeat('[', 1500) || repeat(']', 1500) || '}')::json where seq = 3
    """,
    "attempts that are no number": (
        'data = \'{"reason": "new", "runAt": "2026-11-23T09:00:00Z", "maxAttempts": "3", "type": "rooms", "payload": {},'
        ' "userId": null}\' where seq = 1'
    ),
    "another attempt": "attempt = 2 where seq = 3",
    "a time before that of the previous event": "at = at - interval '1 hour' where seq = 3",
    "a time after that of the next event": "at = at + interval '1 hour' where seq = 3",
    "a start by somebody else": "actor = 'worker:w9' where seq = 2",
    "a start that names another worker": 'data = \'{"worker": "w9"}\' where seq = 2',
    "somebody else's progress": "actor = 'worker:w9' where seq = 3",
    "a user's progress": "actor = 'user:x' where seq = 3",
    "somebody else's result": "actor = 'worker:w9' where seq = 4",
}


@pytest.mark.parametrize("what", EVENT_CHANGES)
async def test_a_wrong_event_is_found_and_hides_no_other(
    jobs: dict[str, Job], database: Database, superuser: Connection, what: str
) -> None:
    wrong, other = jobs["completed"].id, jobs["queued"].id
    await superuser.execute("update jobs set seq = 7 where id = $1", other)
    async with unguarded(superuser):
        await superuser.execute(f"update job_events set {EVENT_CHANGES[what]} and job_id = $1", wrong)

    assert {difference.job_id for difference in await found(database)} == {wrong, other}


async def test_a_failure_that_another_worker_wrote_is_found(
    jobs: dict[str, Job], database: Database, superuser: Connection
) -> None:
    async with unguarded(superuser):
        await superuser.execute(
            "update job_events set actor = 'worker:w9' where type = 'failed' and job_id = $1", jobs["failed"].id
        )

    assert {difference.job_id for difference in await found(database)} == {jobs["failed"].id}


async def test_a_hand_back_by_another_worker_is_found(jobs: dict[str, Job], database: Database, superuser: Connection) -> None:
    async with unguarded(superuser):
        await superuser.execute("""
            update job_events set actor = 'worker:w9' where type = 'queued' and data->>'reason' = 'worker_shutdown'
        """)

    assert {difference.job_id for difference in await found(database)} == {jobs["retried"].id}


async def test_one_job_is_verified_by_itself(jobs: dict[str, Job], database: Database, superuser: Connection) -> None:
    await superuser.execute("update jobs set max_attempts = 9 where id = any($1)", [jobs["failed"].id, jobs["queued"].id])

    verified = await verify(database, job_id=jobs["failed"].id)

    assert (verified.jobs, verified.events) == (1, 4)
    assert [difference.job_id for difference in verified.differences] == [jobs["failed"].id]
    assert await found(database, job_id=jobs["completed"].id) == []
    assert (await verify(database, job_id=BOB)).jobs == 0


LAST = "(select max(position) from log_tail)"
ORDER_CHANGES = {
    "a hole at the beginning": "delete from log_tail where position = 1",
    "a hole in the middle": "delete from log_tail where position = 5",
    "a hole of several": "delete from log_tail where position between 5 and 8",
    "positions that were raised by 1000": "update log_tail set position = position + 1000 where position > 4",
    "a hole at the end": f"delete from log_tail where position = {LAST}",
    "no order at all": "delete from log_tail",
    "a position that leads nowhere": "update log_tail set job_id = gen_random_uuid() where position = 5",
    "a position without an event": "update log_tail set job_id = null, seq = null where position = 5",
    "a position beyond the last": f"""
        insert into log_tail (position, job_id, seq, leaf) select {LAST} + 1, gen_random_uuid(), 1, leaf from log_tail limit 1
    """,
    "two events of a job that exchanged positions": """
        with own as (
            delete from log_tail where seq in (2, 3) and job_id = (select job_id from job_events where type = 'completed')
            returning position, job_id, seq, leaf
        )
        select a.position as here, b.position as there, a.job_id, a.leaf from own a, own b where a.seq = 2 and b.seq = 3
    """,
}


ORDER_FINDINGS = {
    "a hole at the beginning": "MISSING INSERTED",
    "a hole in the middle": "MISSING INSERTED",
    "a hole of several": "MISSING INSERTED",
    "positions that were raised by 1000": "MISSING INSERTED",
    "a hole at the end": "TRUNCATED_TAIL INSERTED",
    "no order at all": "TRUNCATED_TAIL INSERTED",
    "a position that leads nowhere": "MISSING INSERTED",
    "a position without an event": "MISSING INSERTED",
    "a position beyond the last": "TRUNCATED_TAIL INSERTED",
    "two events of a job that exchanged positions": "REORDERED MODIFIED",
}


@pytest.mark.parametrize("what", ORDER_CHANGES)
async def test_a_disturbed_order_of_the_log_is_found(
    jobs: dict[str, Job], database: Database, superuser: Connection, what: str
) -> None:
    async with unguarded(superuser):
        for here, there, job_id, leaf in await superuser.fetch(ORDER_CHANGES[what]):
            insert = "insert into log_tail (position, job_id, seq, leaf) values ($1, $3, 3, $4), ($2, $3, 2, $4)"
            await superuser.execute(insert, here, there, job_id, leaf)

    findings = (await verify(database)).findings

    assert {finding.name.value for finding in findings} == set(ORDER_FINDINGS[what].split())


async def test_nothing_is_found_in_a_sound_database_under_load(database_url: str, database: Database) -> None:
    async with under_load(database_url) as load:
        for _ in range(5):
            await seal(database)
            verified = await verify(database)
            await load.moved_on(50)

            assert verified.differences == []
            assert verified.jobs > 10
