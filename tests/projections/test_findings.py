"""Every finding has a name and a place, and a verification only reads."""

import asyncio
import json
import secrets
from pathlib import Path
from typing import Any

import pytest

from events.database import Connection, Database, connect
from events.job import Job
from events.store import Store
from projections.verify import Finding, verify
from projections.verifying import findings as findings_module
from tests.histories import BOB, completing, give_positions, new, starting
from tests.process.test_plain import environment, in_pipe, run
from tests.projections.conftest import jobs, superuser
from tests.projections.histories_in_log import unguarded
from tests.store.test_log_guard import as_role

__all__ = ["jobs", "superuser"]


async def findings(database: Database, **only: Any) -> list[Finding]:
    return (await verify(database, **only)).findings


def named(found: list[Finding]) -> set[tuple[str, int | None]]:
    return {(finding.name.value, finding.seq) for finding in found}


async def test_newest_rows_that_were_deleted_from_all_tables_are_a_truncated_tail(
    jobs: dict[str, Job], store: Store, database: Database, superuser: Connection
) -> None:
    last = await superuser.fetchval("select max(position) from job_event_log")
    job = await store.create(new(), actor="user:x")
    job = await store.append(job, starting(), actor="worker:w1")
    await store.append(job, completing(), actor="worker:w1")
    await give_positions(database)
    async with unguarded(superuser):
        await superuser.execute("delete from job_events where job_id = $1", job.id)
        await superuser.execute("delete from jobs where id = $1", job.id)
        await superuser.execute("delete from log_tail where position > $1", last)

    [finding] = await findings(database)

    assert (finding.name, finding.position) == ("TRUNCATED_TAIL", last + 1)
    assert finding.detail == f"positions {last + 1} to {last + 3} were given, and their events are not in the log"


async def test_a_whole_log_that_was_deleted_is_a_truncated_tail(
    jobs: dict[str, Job], database: Database, superuser: Connection
) -> None:
    async with unguarded(superuser):
        await superuser.execute("delete from job_events; delete from jobs; delete from log_tail")

    assert [(finding.name, finding.position) for finding in await findings(database)] == [("TRUNCATED_TAIL", 1)]


async def test_a_cursor_that_was_deleted_or_moved_is_found(
    jobs: dict[str, Job], database: Database, superuser: Connection
) -> None:
    await superuser.execute("update job_event_log_cursor set position = position - 3, turn = turn + 1")
    moved = await findings(database)
    await superuser.execute("delete from job_event_log_cursor")
    deleted = await findings(database)

    assert {finding.name for finding in moved} == {"INSERTED"}
    assert {finding.name for finding in deleted} == {"TRUNCATED_TAIL"}


async def test_a_middle_event_that_was_deleted_is_missing_and_leaves_a_gap(
    jobs: dict[str, Job], database: Database, superuser: Connection
) -> None:
    job = jobs["completed"].id
    async with unguarded(superuser):
        await superuser.execute("delete from job_events where seq = 2 and job_id = $1", job)

    found = await findings(database)

    named_and_placed = {(finding.name.value, finding.job_id, finding.seq) for finding in found}
    assert named_and_placed == {("SEQ_GAP", job, 3), ("MISSING", job, 2)}
    assert all(finding.position for finding in found)


EVENTS = {
    "an unknown key": ('data = \'{"worker": "w1", "more": 1}\' where seq = 2', {("MODIFIED", 2)}),
    "an unknown key of an error": ('data = \'{"result": {"n": 1}, "error": null}\' where seq = 4', {("MODIFIED", 4)}),
    "a key that stands twice": ('data = \'{"worker": "w1", "worker": "w1"}\' where seq = 2', {("MODIFIED", 2)}),
    "a missing key that means null": (
        "data = (data::jsonb - 'payload')::json where seq = 1",
        {("MODIFIED", 1), ("VIEW_DRIFT", None)},
    ),
    "a user that is missing": ("data = (data::jsonb - 'userId')::json where seq = 1", {("MODIFIED", 1), ("VIEW_DRIFT", None)}),
    "a key that is gone": ("data = '{}' where seq = 2", {("MODIFIED", 2)}),
    "a time in another form": ("data = replace(data::text, 'Z\"', '+00:00\"')::json where seq = 1", {("MODIFIED", 1)}),
    "a kind that is unknown": ("type = 'paused' where seq = 3", {("MODIFIED", 3)}),
    "another kind": (
        "type = 'canceled', data = '{\"reason\": \"x\"}' where seq = 3",
        {("MODIFIED", 3), ("ILLEGAL_TRANSITION", 4)},
    ),
    "another attempt": ("attempt = 2 where seq = 3", {("MODIFIED", 3), ("ILLEGAL_TRANSITION", 3)}),
    "another number": ("seq = 9 where seq = 4", {("SEQ_GAP", 9), ("MISSING", 4), ("INSERTED", 9)}),
    "an earlier time": ("at = at - interval '1 hour' where seq = 3", {("MODIFIED", 3), ("BACKDATED", 3)}),
    "an infinite time": ("at = 'infinity' where seq = 4", {("MODIFIED", 4), ("VIEW_DRIFT", None)}),
    "another worker": ("actor = 'worker:w9' where seq = 4", {("MODIFIED", 4), ("ILLEGAL_TRANSITION", 4)}),
    "a first event with a later number": (
        "seq = 2 + 10 where seq = 1",
        {("SEQ_GAP", 2), ("SEQ_GAP", 12), ("BACKDATED", 12), ("MISSING", 1), ("INSERTED", 12)},
    ),
}


@pytest.mark.parametrize("what", EVENTS)
async def test_a_changed_event_is_found_by_name_and_place(
    jobs: dict[str, Job], database: Database, superuser: Connection, what: str
) -> None:
    change, expected = EVENTS[what]
    async with unguarded(superuser):
        await superuser.execute("alter table job_events drop constraint an_event_is_one_of_six")
        await superuser.execute("alter table job_events drop constraint a_history_begins_with_queued")
        await superuser.execute(f"update job_events set {change} and job_id = $1", jobs["completed"].id)

    found = [finding for finding in await findings(database) if finding.name != "GUARD_MISSING"]

    assert named(found) == expected
    assert {finding.job_id for finding in found} == {jobs["completed"].id}
    assert all(finding.position for finding in found if finding.seq not in (None, 9, 12))  # events 9 and 12 have no position


async def test_an_event_that_was_written_past_the_sealer_is_found(
    jobs: dict[str, Job], database: Database, superuser: Connection
) -> None:
    insert = """
        insert into job_events (job_id, seq, attempt, type, data, salt, actor, at, xid)
        select job_id, seq + 1, attempt, 'progress', '{"result": 1}', salt, actor, at, $2::text::xid8
        from job_events where job_id = $1 and type = 'progress'
    """
    await superuser.execute(insert, jobs["processing"].id, "1")
    below = await findings(database, job_id=None)
    await superuser.execute("delete from jobs where id = $1", jobs["processing"].id)
    async with unguarded(superuser):
        await superuser.execute("update job_events set xid = '9223372036854775000' where xid = '1'")
    above = await findings(database)

    assert ("INSERTED", 4) in named(below)
    assert ("INSERTED", 4) in named(above)


async def test_doubled_rows_are_found_where_no_index_forbids_them(
    jobs: dict[str, Job], database: Database, superuser: Connection
) -> None:
    await superuser.execute("""
        alter table job_events drop constraint an_event_has_its_own_place_in_the_history;
        drop index job_events_by_event_id; drop index an_attempt_starts_once;
        insert into job_events select * from job_events where type = 'completed'
    """)

    found = await findings(database)

    assert ("INSERTED", 4) in named(found)
    assert any("events have the id" in finding.detail for finding in found)


async def test_a_changed_unique_key_is_drift(jobs: dict[str, Job], database: Database, superuser: Connection) -> None:
    await superuser.execute("update jobs set unique_key = 'another' where id = $1", jobs["queued"].id)
    another = await findings(database)
    await superuser.execute("update jobs set unique_key = null where id = $1", jobs["queued"].id)
    gone = await findings(database)

    for found in (another, gone):
        assert [(each.name.value, each.job_id) for each in found] == [("VIEW_DRIFT", jobs["queued"].id)]
        assert found[0].detail.startswith("unique_key is ")


async def test_a_key_without_an_event_is_drift_unless_the_rule_gives_it(
    store: Store, database: Database, superuser: Connection
) -> None:
    job = await store.create(new(), actor="user:x")
    await superuser.execute("update jobs set unique_key = 'rooms'")

    assert [each.name.value for each in await findings(database)] == ["VIEW_DRIFT"]
    assert await findings(database, unique_key=lambda type, payload, user_id: "rooms") == []
    assert (await findings(database, unique_key=lambda type, payload, user_id: "x"))[0].job_id == job.id


async def test_of_very_many_findings_the_first_are_kept_and_all_are_counted(
    jobs: dict[str, Job], database: Database, superuser: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(findings_module, "MOST_KEPT", 2)
    await superuser.execute("update jobs set max_attempts = 99; drop index an_attempt_starts_once")

    verified = await verify(database)

    assert verified.counts == {"VIEW_DRIFT": 6, "GUARD_MISSING": 1}
    assert [finding.name.value for finding in verified.findings] == ["GUARD_MISSING", "VIEW_DRIFT"]
    assert verified.count == 7


async def test_events_without_a_position_are_counted_and_compared_and_none_is_given(
    store: Store, database: Database, superuser: Connection
) -> None:
    await store.create(new(), actor="user:x")
    job = await store.create(new(), actor="user:x")
    await superuser.execute("update jobs set seq = 2 where id = $1", job.id)

    verified = await verify(database)

    assert (verified.unsealed, verified.last_position) == (2, 0)
    assert [finding.job_id for finding in verified.findings] == [job.id]


async def test_the_command_prints_each_finding_and_its_exit_status_gives_the_result(
    jobs: dict[str, Job], database: Database, superuser: Connection, tmp_path: Path
) -> None:
    variables = environment(database, tmp_path)
    clean = await run(in_pipe, variables, "audit", "verify", "--json")
    await superuser.execute("update jobs set attempt = 3 where id = $1", jobs["retried"].id)
    found = await run(in_pipe, variables, "audit", "verify", "--json")
    as_text = await run(in_pipe, variables, "audit", "verify")
    unknown = await run(in_pipe, variables, "audit", "verify", "--job", BOB)
    await superuser.execute("alter table log_tail rename to elsewhere")
    unable = await run(in_pipe, variables, "audit", "verify")
    away = await run(in_pipe, variables | {"DATABASE_URL": "postgresql://127.0.0.1:9/x"}, "audit", "verify")

    assert [done.returncode for done in (clean, found, as_text, unknown, unable, away)] == [0, 1, 1, 2, 2, 2]
    said = json.loads(found.stdout)
    assert said["findings"] == [
        {
            "name": "VIEW_DRIFT", "jobId": jobs["retried"].id, "seq": None, "position": None,
            "detail": "attempt is 3 in the view and 5 by the log",
        }
    ]  # fmt: skip
    assert said["differences"] == [{"jobId": jobs["retried"].id, "detail": "attempt is 3 in the view and 5 by the log"}]
    assert as_text.stdout.decode().startswith(f"VIEW_DRIFT: {jobs['retried'].id}: attempt is 3")
    assert unable.stderr.count(b"\n") == away.stderr.count(b"\n") == 1


async def test_a_role_that_may_only_read_verifies_replays_and_exports(
    jobs: dict[str, Job], store: Store, database: Database, superuser: Connection, database_url: str, tmp_path: Path
) -> None:
    await store.create(new(), actor="user:x")
    role = f"rireki_reader_{secrets.token_hex(4)}"
    await superuser.execute(f"create role {role}; grant pg_read_all_data to {role}")
    try:
        variables = environment(database, tmp_path) | {"DATABASE_URL": as_role(database_url, role)}
        verified = await run(in_pipe, variables, "audit", "verify", "--json")
        replayed = await run(in_pipe, variables, "audit", "replay", jobs["completed"].id)
        exported = await run(in_pipe, variables, "audit", "export")
    finally:
        await superuser.execute(f"drop owned by {role}; drop role {role}")

    assert (verified.returncode, replayed.returncode, exported.returncode) == (0, 0, 0), exported.stderr
    assert json.loads(verified.stdout)["unsealed"] == 1
    assert len(exported.stdout.splitlines()) == json.loads(verified.stdout)["lastPosition"]
    assert b"1 events have no position yet" in exported.stderr


async def test_a_verification_does_not_wait_for_writers(jobs: dict[str, Job], database: Database, database_url: str) -> None:
    writer = await connect(database_url, idle_in_transaction_session_timeout="0")
    async with writer.transaction():
        await writer.execute("update jobs set updated_at = updated_at")
        async with asyncio.timeout(20):
            assert await findings(database) == []
    await writer.close()
