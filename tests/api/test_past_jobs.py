"""All jobs as they stood at a past moment: `rireki audit at` and `GET /api/audit/state`."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest

from events.database import Connection, Database
from events.job import Job, rfc3339
from events.store import Store
from projections import past_jobs
from projections.past_jobs import JobCounts, jobs_at
from tests.histories import completing, new, reporting, starting
from tests.process.test_plain import OWN_COLOURS, environment, in_pipe, on_terminal, run
from tests.projections.conftest import jobs, superuser
from tests.projections.histories_in_log import unguarded
from tests.service_fixture import Service, service

__all__ = ["jobs", "service", "superuser"]

MOMENTS = "select distinct at from job_events order by at"


@pytest.fixture(params=[1, 2, 7, 500])
def page(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Reads the log in pages of this many events, so that pages end at every place of a history."""
    monkeypatch.setattr(past_jobs, "AT_ONCE", request.param)
    return int(request.param)


async def stood(database: Database, at: datetime) -> list[Any]:
    return [each async for found in jobs_at(database, at) for each in found]


async def lines_of(service: Service, query: str, who: str = "auditor") -> list[Any]:
    answer = await getattr(service, f"as_{who}").get(f"/api/audit/state?{query}")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/x-ndjson"), answer.text
    return [orjson.loads(line) for line in answer.content.splitlines()]


async def test_each_job_is_as_its_own_past_state_says_at_every_moment_of_the_log(
    jobs: dict[str, Job], store: Store, database: Database, superuser: Connection, page: int
) -> None:
    """Looks at the time of each event, which counts itself, and a microsecond before."""
    times = [row["at"] for row in await superuser.fetch(MOMENTS)]
    ids = sorted(job.id for job in jobs.values())
    for at in (moment for time in times for moment in (time - timedelta(microseconds=1), time)):
        past = [await store.history.past(job_id, at=at) for job_id in ids]

        assert await stood(database, at) == [job for job in past if job is not None]
    assert len(times) > len(jobs)


async def test_a_broken_history_is_told_once_and_hides_no_other_job(
    jobs: dict[str, Job], database: Database, superuser: Connection, page: int
) -> None:
    broken = jobs["retried"]
    async with unguarded(superuser):
        await superuser.execute("delete from job_events where job_id = $1 and seq = 3", broken.id)

    found = await stood(database, datetime.now(UTC))

    counts = JobCounts()
    for each in found:
        counts.add(each)
    [fault] = [each for each in found if not isinstance(each, Job)]
    assert (fault.name, fault.job_id, fault.seq) == ("SEQ_GAP", broken.id, 4)
    assert (counts.jobs, counts.broken) == (len(jobs) - 1, 1)
    assert {job.id for job in found if isinstance(job, Job)} == {job.id for job in jobs.values()} - {broken.id}


@pytest.mark.parametrize("time", ["-infinity", "infinity", "4000-01-01 BC", "20000-01-01"])
async def test_an_event_whose_time_python_cannot_hold_breaks_its_history_only(
    jobs: dict[str, Job], database: Database, superuser: Connection, time: str
) -> None:
    async with unguarded(superuser):
        await superuser.execute(f"update job_events set at = '{time}' where job_id = $1 and seq = 2", jobs["completed"].id)

    found = await stood(database, datetime.now(UTC))

    others = [each for each in found if isinstance(each, Job) and each.id != jobs["completed"].id]
    assert len(others) == len(jobs) - 1
    assert len(found) == len(jobs)


async def test_no_page_holds_more_events_than_it_may_however_long_a_history_is(
    store: Store, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(past_jobs, "AT_ONCE", 5)
    job = await store.create(new(), actor="user:x")
    job = await store.append(job, starting(), actor="worker:w1")
    for n in range(12):
        job = await store.append(job, reporting(n), actor="worker:w1")
    job = await store.append(job, completing({"n": 12}), actor="worker:w1")
    sizes: list[int] = []
    take = past_jobs._Folding.take

    def counted(self: Any, rows: Any) -> Any:
        sizes.append(len(rows))
        return take(self, rows)

    monkeypatch.setattr(past_jobs._Folding, "take", counted)

    assert await stood(database, datetime.now(UTC)) == [job]
    assert sizes == [5, 5, 5, 0]


async def test_the_api_streams_all_jobs_of_that_moment_to_auditors_and_puts_it_on_record(service: Service) -> None:
    first = await service.job_of(service.employee)
    second = await service.job_of(service.admin, "summary_draft")
    later = await service.run(first, starting())
    at = rfc3339(second.created_at)

    lines = await lines_of(service, f"at={at}")
    now = await lines_of(service, f"at={rfc3339(later.updated_at)}", "admin")

    assert [(line["id"], line["status"]) for line in lines] == [(first.id, "queued"), (second.id, "queued")]
    assert [(line["id"], line["status"], line["worker"]) for line in now] == [
        (first.id, "processing", "w1"), (second.id, "queued", None),
    ]  # fmt: skip
    shown = (await service.as_auditor.get(f"/api/jobs/{first.id}?at={at}")).json()["job"]
    assert lines[0] == {name: value for name, value in shown.items() if name != "description"}
    records = (await service.as_auditor.get("/api/audit/access?action=read_state")).json()["records"]
    assert [(record["actor"], record["target"]) for record in reversed(records)] == [
        (f"user:{service.auditor.id}", f"state?at={at}"),
        (f"user:{service.admin.id}", f"state?at={rfc3339(later.updated_at)}"),
    ]


async def test_the_api_counts_jobs_by_type_and_status(service: Service) -> None:
    for user in (service.employee, service.admin):
        await service.job_of(user)
    last = await service.run(await service.job_of(None, "summary_draft"), starting())
    at = rfc3339(last.updated_at)

    assert await lines_of(service, f"at={at}&counts=1") == [
        {"type": "chatwork_rooms_sync", "status": "queued", "jobs": 2},
        {"type": "summary_draft", "status": "processing", "jobs": 1},
        {"at": at, "jobs": 3, "broken": 0},
    ]


async def test_a_moment_that_has_not_come_or_cannot_be_read_is_refused_by_name(service: Service) -> None:
    for query, status, path, detail in (
        ("", 422, "at", "is required"),
        ("at=yesterday", 400, "at", "must be a time like"),
        ("at=2999-01-01T00:00:00Z", 422, "at", "must not be in the future"),
        ("at=2026-11-01T00:00:00Z&counts=many", 400, "counts", "must be"),
    ):
        answer = await service.as_auditor.get(f"/api/audit/state?{query}")

        [error] = answer.json()["errors"]
        assert (answer.status_code, error["path"]) == (status, path), query
        assert detail in error["detail"], answer.text


async def test_nobody_takes_a_list_that_was_cut_by_the_end_of_a_session_for_a_whole_one(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(past_jobs, "AT_ONCE", 1)
    job = await service.job_of(service.employee)
    await service.job_of(service.employee)

    async def ended(call: Any) -> bool:
        return False

    monkeypatch.setattr("service.http.endpoint.Call.still_allowed", ended)

    with pytest.raises(Exception, match=r"peer closed|incomplete|closed"):
        await service.as_auditor.get(f"/api/audit/state?at={rfc3339(job.created_at)}")


async def test_the_command_prints_counts_json_and_rows(jobs: dict[str, Job], database: Database, tmp_path: Path) -> None:
    variables = environment(database, tmp_path)
    at = rfc3339(max(job.updated_at for job in jobs.values()))

    text = await run(in_pipe, variables, "audit", "at", at)
    as_json = await run(in_pipe, variables, "audit", "at", at, "--json")
    rows = await run(in_pipe, variables, "audit", "at", at, "--rows")
    none = await run(in_pipe, variables, "audit", "at", "2020-01-01T00:00:00+09:00", "--rows")
    status, table = await run(on_terminal, variables, "audit", "at", at)

    assert [each.returncode for each in (text, as_json, rows, none)] == [0] * 4, text.stderr
    expected = {"queued": 2, "processing": 1, "completed": 1, "failed": 1, "canceled": 1}
    assert dict(line.split("\t")[1:] for line in text.stdout.decode().splitlines()) == {
        status: str(count) for status, count in expected.items()
    }
    counted = json.loads(as_json.stdout)
    assert (counted["at"], counted["jobs"], counted["broken"]) == (at, 6, 0)
    assert {line["status"]: line["jobs"] for line in counted["counts"]} == expected
    assert [json.loads(line)["id"] for line in rows.stdout.splitlines()] == sorted(job.id for job in jobs.values())
    assert none.stdout == b""
    assert (status, "rooms" in table, max(map(len, OWN_COLOURS.sub("", table).splitlines())) <= 80) == (0, True, True)


async def test_the_command_refuses_a_moment_in_the_future_and_tells_a_broken_history_by_its_status(
    jobs: dict[str, Job], database: Database, superuser: Connection, tmp_path: Path
) -> None:
    variables = environment(database, tmp_path)
    async with unguarded(superuser):
        await superuser.execute("delete from job_events where job_id = $1 and seq = 2", jobs["completed"].id)
    now = datetime.now(UTC).isoformat()

    future = await run(in_pipe, variables, "audit", "at", "2999-01-01T00:00:00Z")
    no_zone = await run(in_pipe, variables, "audit", "at", "2026-01-01T00:00:00")
    counts = await run(in_pipe, variables, "audit", "at", now)
    rows = await run(in_pipe, variables, "audit", "at", now, "--rows")

    assert (future.returncode, no_zone.returncode, counts.returncode, rows.returncode) == (2, 2, 1, 1)
    assert b"in the future" in future.stderr
    assert b"TIME needs a time zone" in no_zone.stderr
    assert counts.stderr.decode().startswith(f"SEQ_GAP: {jobs['completed'].id}, event 3: ")
    [broken] = [line["broken"] for line in map(json.loads, rows.stdout.splitlines()) if "broken" in line]
    assert (broken["name"], broken["jobId"], broken["seq"]) == ("SEQ_GAP", jobs["completed"].id, 3)
