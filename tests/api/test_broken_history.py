"""A job with a broken history is shown up to the broken event, and affects no other job."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest

from events.audit_findings import FindingName
from events.database import Connection, Database
from events.job import BrokenHistory, Job, rfc3339
from events.store import Store
from events.writes import NewJob
from projections.changes import changes
from projections.jobs import JobsView
from projections.rebuild import BrokenHistories, rebuild, rebuild_view
from projections.verify import verify
from tests.histories import canceling, completing, give_positions, new, reporting, starting, until
from tests.process.test_plain import environment, in_pipe, run
from tests.projections.conftest import jobs, superuser
from tests.projections.histories_in_log import unguarded, unique_key
from tests.projections.test_rebuild import whole_view
from tests.service_fixture import Service, service

__all__ = ["jobs", "service", "superuser"]

BREAKS = {
    "a middle event is missing": "delete from job_events where seq = 3",
    "the second event is missing": "delete from job_events where seq = 2",
    "the first event is missing": "delete from job_events where seq = 1",
    "an event has an unknown kind": "update job_events set type = 'paused' where seq = 3",
    "an event's data lack a key": "update job_events set data = '{}' where seq = 3",
    "an event's data are a list": "update job_events set data = '[1]' where seq = 3",
    "data are null": "update job_events set data = 'null' where seq = 3",
    "an event's data cannot be decoded": r"""update job_events set data = '{"result": "\ud800"}' where seq = 3""",
    "an event's data are nested too deeply to be shown": """
        update job_events set data = ('{"result": ' || repeat('[', 600) || repeat(']', 600) || '}')::json where seq = 3
    """,
    "an event's data are nested too deeply to be parsed": """
        update job_events set data = ('{"result": ' || repeat('[', 2000) || repeat(']', 2000) || '}')::json where seq = 3
    """,
    "two ends": "update job_events set type = 'canceled', data = '{\"reason\": \"x\"}' where seq = 3",
    "an attempt is skipped": "update job_events set attempt = 7 where seq = 3",
    "times run backwards": "update job_events set at = at - interval '1 day' where seq = 3",
    "a failure without an error": "update job_events set type = 'failed', data = '{\"willRetry\": 3}' where seq = 3",
    "an event's time is out of range": """
        update job_events set data = (data::jsonb || '{"runAt": "9999-12-31T23:59:59-12:00"}')::json where seq = 1
    """,
}
FIRST = {"the first event is missing", "an event's time is out of range"}


async def broken(store: Store, superuser: Connection, what: str, **more: Any) -> Job:
    """Makes a job that completed at `seq` 5, and then breaks its history with this statement."""
    job = await store.create(new(payload={"key": "broken"}, unique_key="broken", **more), actor="user:x")
    for step in (starting(), reporting({"n": 1}), reporting({"n": 2}), completing({"n": 3})):
        job = await store.append(job, step, actor="worker:w1")
    async with tampering(superuser):
        await superuser.execute(f"{BREAKS[what]} and job_id = $1", job.id)
    return job


@asynccontextmanager
async def tampering(superuser: Connection) -> AsyncIterator[None]:
    async with unguarded(superuser):
        await superuser.execute("alter table job_events drop constraint if exists an_event_is_one_of_six")
        yield


async def test_a_replay_prints_the_events_before_the_break_and_names_the_break(
    store: Store, database: Database, superuser: Connection, tmp_path: Path
) -> None:
    job = await broken(store, superuser, "a middle event is missing")
    variables = environment(database, tmp_path)

    text = await run(in_pipe, variables, "audit", "replay", job.id)
    as_json = await run(in_pipe, variables, "audit", "replay", job.id, "--json")
    before = await run(in_pipe, variables, "audit", "replay", job.id, "--until", "2")

    lines = text.stdout.decode().splitlines()
    assert (text.returncode, as_json.returncode, before.returncode) == (1, 1, 0)
    assert [line.split("\t")[0] for line in lines[:2]] == ["1", "2"]
    assert lines[2].startswith("the history is broken at event 4: SEQ_GAP: ")
    assert len(lines) == 3
    *steps, last = map(json.loads, as_json.stdout.splitlines())
    assert [step["job"]["seq"] for step in steps] == [1, 2]
    assert (last["broken"]["name"], last["broken"]["jobId"], last["broken"]["seq"]) == ("SEQ_GAP", job.id, 4)
    assert len(before.stdout.splitlines()) == 2
    assert text.stderr == as_json.stderr == b""


async def test_a_rebuild_stops_at_broken_jobs_and_names_the_option_to_skip_them(
    jobs: dict[str, Job], store: Store, database: Database, superuser: Connection, tmp_path: Path
) -> None:
    job = await broken(store, superuser, "an event has an unknown kind")
    variables = environment(database, tmp_path)
    await superuser.execute("update jobs set max_attempts = 9 where id = any($1)", [job.id, jobs["queued"].id])

    refused = await run(in_pipe, variables, "projections", "rebuild")
    unchanged = await superuser.fetchval("select count(*) from jobs where max_attempts = 9")
    done = await run(in_pipe, variables, "projections", "rebuild", "--skip-broken")

    assert (refused.returncode, done.returncode) == (1, 0)
    assert b"--skip-broken" in refused.stderr
    assert f"{job.id}: MODIFIED at event 3".encode() in refused.stderr
    assert b"Traceback" not in refused.stderr
    assert unchanged == 2
    assert f"{job.id}: MODIFIED at event 3".encode() in done.stdout
    assert [row["id"] for row in await superuser.fetch("select id from jobs where max_attempts = 9")] == [job.id]


@pytest.mark.parametrize("what", BREAKS)
async def test_a_rebuild_that_skips_broken_jobs_keeps_their_rows(
    jobs: dict[str, Job], store: Store, database: Database, superuser: Connection, what: str
) -> None:
    job = await broken(store, superuser, what)
    before = await whole_view(superuser)

    with pytest.raises(BrokenHistories) as refused:
        await rebuild(database, unique_key)
    rebuilt = await rebuild_view(database, unique_key, skip_broken=True)

    assert list(refused.value.jobs) == list(rebuilt.broken) == [job.id]
    assert rebuilt.jobs == 7
    assert await whole_view(superuser) == before
    assert await superuser.fetchval("select to_regclass('jobs_rebuilt')") is None


async def test_a_broken_job_without_a_row_in_the_view_gets_none_from_a_rebuild(
    jobs: dict[str, Job], store: Store, database: Database, superuser: Connection
) -> None:
    job = await broken(store, superuser, "the first event is missing")
    await superuser.execute("delete from jobs where id = $1", job.id)

    rebuilt = await rebuild_view(database, unique_key, skip_broken=True)

    assert (rebuilt.jobs, list(rebuilt.broken)) == (6, [job.id])


async def test_the_older_of_two_active_jobs_keeps_the_key_after_a_rule_change(
    store: Store, database: Database, superuser: Connection
) -> None:
    older, younger, youngest = [await store.create(new(payload={"n": n}), actor="user:x") for n in range(3)]
    ended = await store.append(await store.create(new(), actor="user:x"), canceling, actor="user:x")

    rebuilt = await rebuild_view(database, lambda type, payload, user_id: "one at a time")

    assert rebuilt.without_key == {younger.id: "one at a time", youngest.id: "one at a time"}
    keys = {row["id"]: row["unique_key"] for row in await superuser.fetch("select id, unique_key from jobs")}
    assert keys == {older.id: "one at a time", younger.id: None, youngest.id: None, ended.id: "one at a time"}
    assert await JobsView(database).get(younger.id) == younger


async def test_the_command_names_the_jobs_that_lost_their_key(
    store: Store, database: Database, superuser: Connection, tmp_path: Path
) -> None:
    older, younger = [
        await store.create(NewJob("chatwork_rooms_sync", {}, None, max_attempts=5), actor="user:x") for _ in range(2)
    ]

    done = await run(in_pipe, environment(database, tmp_path), "projections", "rebuild")

    assert done.returncode == 0
    assert f"job {younger.id} no longer has a unique key".encode() in done.stdout
    assert older.id.encode() not in done.stdout
    assert await superuser.fetchval("select id from jobs where unique_key = 'chatwork_rooms_sync'") == older.id


async def test_the_older_job_keeps_the_key_whichever_job_is_folded_first(
    store: Store, database: Database, superuser: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("projections.rebuild.BATCH", 1)
    made = [await store.create(new(payload={"n": n}), actor="user:x") for n in range(4)]
    async with unguarded(superuser):
        await superuser.execute("update job_events set at = at - interval '1 day' where job_id = $1", made[2].id)

    rebuilt = await rebuild_view(database, lambda type, payload, user_id: "one")

    assert set(rebuilt.without_key) == {job.id for job in made} - {made[2].id}
    assert await superuser.fetchval("select id from jobs where unique_key = 'one'") == made[2].id


async def test_a_unique_key_in_the_log_wins_over_the_present_rule_of_the_type(
    jobs: dict[str, Job], store: Store, database: Database, superuser: Connection
) -> None:
    before = await whole_view(superuser)

    rebuilt = await rebuild_view(database, lambda type, payload, user_id: None)

    assert (rebuilt.without_key, rebuilt.broken) == ({}, {})
    assert await whole_view(superuser) == before


async def test_jobs_of_an_unregistered_type_are_rebuilt_and_verified(store: Store, database: Database, tmp_path: Path) -> None:
    await store.create(new("long gone"), actor="user:x")

    rebuilt = await run(in_pipe, environment(database, tmp_path), "projections", "rebuild")
    verified = await run(in_pipe, environment(database, tmp_path), "audit", "verify")

    assert (rebuilt.returncode, verified.returncode) == (0, 0)


async def statuses(client: httpx.AsyncClient, job: Job, *queries: str) -> list[int]:
    return [(await client.get(f"/api/jobs/{job.id}{query}")).status_code for query in queries]


@pytest.mark.parametrize("what", BREAKS)
async def test_reading_a_broken_history_is_never_a_500(
    service: Service, superuser: Connection, database: Database, what: str
) -> None:
    job = await broken(service.context.store, superuser, what, user_id=service.employee.id)
    await give_positions(database)
    queries = ("?seq=1", "?seq=2", "?seq=3", "?seq=4", "?seq=5", f"?at={rfc3339(job.updated_at)}", "?seq=6", "")

    for client in (service.as_admin, service.as_employee):
        first, second, *rest, now, beyond, view = await statuses(client, job, *queries)

        assert first == (409 if what in FIRST else 200)
        assert second == (409 if what in FIRST | {"the second event is missing"} else 200)
        # With "two ends" the second end breaks the history. It comes after the third event, so the
        # state after that event can be shown.
        third = 200 if what == "two ends" else 409
        assert (rest, now, beyond, view) == ([third, 409, 409], 409, 404, 200)
    problem = (await service.as_admin.get(f"/api/jobs/{job.id}?seq=5")).json()
    assert problem["title"] == "Conflict"
    assert "broken history" in problem["detail"]


@pytest.mark.parametrize("what", BREAKS)
async def test_the_events_of_a_broken_history_are_listed_as_they_are(
    service: Service, superuser: Connection, database: Database, what: str
) -> None:
    job = await broken(service.context.store, superuser, what, user_id=service.employee.id)
    await give_positions(database)
    stored = [row["seq"] for row in await superuser.fetch("select seq from job_events order by seq")]
    address = f"/api/jobs/{job.id}/events"

    for client in (service.as_admin, service.as_employee):
        listed = (await client.get(address)).json()["events"]
        lines = (await client.get(address, headers={"Accept": "application/x-ndjson"})).text.splitlines()
        streamed = (await client.get(address, headers={"Accept": "text/event-stream"})).text

        assert [event["seq"] for event in listed] == stored
        assert [json.loads(line) for line in lines] == listed
        assert [json.loads(line[6:]) for line in streamed.splitlines() if line.startswith("data: ")] == listed
    log = (await service.as_admin.get("/api/events")).json()["events"]
    found = (await service.as_admin.get(f"/api/events?jobId={job.id}&latest=true")).json()["events"]
    lines = (await service.as_admin.get("/api/events", headers={"Accept": "application/x-ndjson"})).text.splitlines()
    assert [event["seq"] for event in log] == [event["seq"] for event in found] == stored
    assert len(lines) == len(stored)
    assert len(await changes(database, after=0, until=100)) >= len(stored) - 2


async def test_an_employee_sees_no_stack_in_unreadable_events(service: Service, superuser: Connection) -> None:
    job = await broken(service.context.store, superuser, "an event has an unknown kind", user_id=service.employee.id)
    async with tampering(superuser):
        await superuser.execute("""update job_events set data = '{"error": {"stack": "secret"}}' where seq = 3""")

    as_admin = await service.as_admin.get(f"/api/jobs/{job.id}/events")
    as_employee = await service.as_employee.get(f"/api/jobs/{job.id}/events")

    assert as_admin.json()["events"][2]["data"] == {"error": {"stack": "secret"}}
    assert as_employee.json()["events"][2]["data"] == {"unreadable": None}


async def test_a_history_that_lost_its_last_events_is_reported_and_its_stream_ends(
    service: Service, superuser: Connection
) -> None:
    job = await broken(service.context.store, superuser, "a middle event is missing", user_id=service.employee.id)
    async with tampering(superuser):
        await superuser.execute("delete from job_events where job_id = $1 and seq > 2", job.id)
    address = f"/api/jobs/{job.id}/events"

    answers = await statuses(service.as_admin, job, "?seq=2", "?seq=3", "?seq=5", f"?at={rfc3339(job.updated_at)}")
    streamed = (await service.as_employee.get(address, headers={"Accept": "text/event-stream"})).text

    assert answers == [200, 409, 409, 409]
    assert streamed.count("data: ") == 2


async def test_a_row_without_events_is_shown_and_events_without_a_row_are_not_found(
    service: Service, superuser: Connection
) -> None:
    without_events, without_row = [
        await broken(service.context.store, superuser, "a middle event is missing"), await service.job_of(service.employee)
    ]  # fmt: skip
    async with tampering(superuser):
        await superuser.execute("delete from job_events where job_id = $1", without_events.id)
    await superuser.execute("delete from jobs where id = $1", without_row.id)
    now = f"?at={rfc3339(without_events.updated_at)}"

    assert await statuses(service.as_admin, without_events, "", "?seq=1", now, "/events") == [200, 409, 409, 200]
    assert await statuses(service.as_admin, without_row, "", "?seq=1", "/events") == [404, 404, 404]


@pytest.mark.parametrize("change", ["error = '[]'", r"""result = '"\ud800"'""", "error = '{\"x\": 1}'"])
async def test_an_unreadable_row_of_the_view_is_never_a_500(service: Service, superuser: Connection, change: str) -> None:
    job = await service.job_of(service.employee)
    await superuser.execute(f"update jobs set {change}")

    assert await statuses(service.as_admin, job, "", "?seq=1", "/events") == [409, 409, 409]
    assert (await service.as_admin.get("/api/jobs")).status_code == 409
    assert (await service.as_admin.post(f"/api/jobs/{job.id}/cancel")).status_code == 409


async def test_a_change_of_a_job_whose_view_lags_behind_its_log_is_refused(service: Service, superuser: Connection) -> None:
    job = await service.run(await service.job_of(service.employee), starting())
    await superuser.execute("update jobs set seq = 1, status = 'queued', worker = null, started_at = null")

    refused = await service.as_admin.post(f"/api/jobs/{job.id}/cancel")

    assert refused.status_code == 409
    assert "VIEW_DRIFT" in refused.json()["detail"]


async def test_a_broken_history_does_not_stop_the_streams_of_other_jobs(
    service: Service, store: Store, superuser: Connection, database: Database
) -> None:
    seen: list[str] = []

    async with service.as_admin.stream("GET", "/api/jobs/stream") as stream:
        lines = stream.aiter_lines()
        job = await broken(service.context.store, superuser, "a failure without an error")
        async with tampering(superuser):
            await superuser.execute("update job_events set type = 'paused' where seq = 2 and job_id = $1", job.id)
        await give_positions(database)
        other = await service.job_of(service.employee)

        async def told() -> bool:
            async for line in lines:
                seen.append(line)
                if other.id in line:
                    return True
            return False

        await until(told)
    found = await verify(database)
    assert FindingName.MODIFIED in found.counts
    assert any(other.id in line for line in seen)


async def test_a_fold_of_a_broken_history_names_the_broken_event(store: Store, superuser: Connection) -> None:
    job = await broken(store, superuser, "times run backwards")

    with pytest.raises(BrokenHistory) as refused:
        await store.history.past(job.id, seq=5)

    assert (refused.value.name, refused.value.job_id, refused.value.seq) == (FindingName.BACKDATED, job.id, 3)
