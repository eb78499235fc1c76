"""Jobs can be listed by id and by owner, counted by status, and downloaded as NDJSON."""

import asyncio
from datetime import timedelta
from typing import Any

import orjson

from events.database import Database
from events.job import Job, JobError, Status, cancel, complete, fail, rfc3339, start
from projections.jobs import JobFilter, JobsView
from tests.api.test_bad_input import blamed
from tests.histories import ALICE
from tests.projections.test_jobs_view import connection, jobs, looked_for, view
from tests.service_fixture import Service, service

__all__ = ["connection", "jobs", "service", "view"]

NO_JOB = "0190b1a0-0000-7000-8000-000000000000"
TYPES = ["messages", "rooms", "summary"]


def started(job: Job) -> Any:
    return start(job, attempt=job.attempt, worker="w1")


def completed(job: Job) -> Any:
    return complete(job, attempt=job.attempt, worker="w1", result={})


def failed(job: Job) -> Any:
    return fail(job, attempt=job.attempt, worker="w1", error=JobError("E", "no such room", "Traceback"), retry_in=None)


def canceled(job: Job) -> Any:
    return cancel(job, reason="x")


async def ids(client: Any, query: str) -> list[str]:
    return [job["id"] for job in (await client.get(f"/api/jobs?{query}")).json()["jobs"]]


async def test_a_list_by_ids_has_the_jobs_that_the_caller_may_see_newest_first(service: Service) -> None:
    mine, theirs, system, mine_too = [
        await service.job_of(user) for user in (service.employee, service.admin, None, service.employee)
    ]
    wanted = f"ids={mine.id},{theirs.id},{NO_JOB},{system.id.upper()},{mine_too.id},{mine.id}"

    assert await ids(service.as_admin, wanted) == [mine_too.id, system.id, theirs.id, mine.id]
    assert await ids(service.as_employee, wanted) == [mine_too.id, mine.id]
    assert await ids(service.as_other, wanted) == []


async def test_a_list_by_ids_shows_no_stack_to_an_employee(service: Service) -> None:
    job = await service.run(await service.job_of(service.employee), started, failed)

    assert "Traceback" in (await service.as_admin.get(f"/api/jobs?ids={job.id}")).text
    assert "Traceback" not in (await service.as_employee.get(f"/api/jobs?ids={job.id}")).text


async def test_an_admin_filters_the_list_by_owner(service: Service) -> None:
    mine, _, mine_too = [await service.job_of(user) for user in (service.employee, service.admin, service.employee)]
    await service.run(mine, started)

    assert await ids(service.as_admin, f"userId={service.employee.id}") == [mine_too.id, mine.id]
    assert await ids(service.as_admin, f"userId={service.employee.id}&status=processing") == [mine.id]
    assert await ids(service.as_admin, f"userId={NO_JOB}") == []


async def test_only_an_admin_may_filter_by_owner(service: Service) -> None:
    for address in ("/api/jobs", "/api/jobs/counts"):
        for owner in (service.admin, service.employee):
            assert (await service.as_employee.get(f"{address}?userId={owner.id}")).status_code == 403


async def test_bad_ids_are_refused_by_name(service: Service) -> None:
    cases = {
        "ids=": (400, "ids"),
        f"ids={NO_JOB},x": (400, "ids"),
        f"ids={','.join([NO_JOB] * 101)}": (422, "ids"),
        f"ids={NO_JOB}&status=queued": (400, "status"),
        f"ids={NO_JOB}&limit=5&userId={NO_JOB}": (400, "limit userId"),
        "userId=me": (400, "userId"),
    }

    assert {query: blamed(await service.as_admin.get(f"/api/jobs?{query}")) for query in cases} == cases
    assert blamed(await service.as_admin.get("/api/jobs/counts?status=queued")) == (422, "status")


async def test_counts_include_only_jobs_that_the_caller_may_see(service: Service) -> None:
    steps: list[tuple[Any, ...]] = [(), (), (started,), (started, completed), (started, failed), (canceled,), (canceled,)]
    for done in steps:
        await service.run(await service.job_of(service.employee), *done)
    await service.job_of(service.admin, "chatwork_messages_sync")
    await service.job_of(None)

    async def counts(client: Any, query: str = "") -> Any:
        return (await client.get(f"/api/jobs/counts{query}")).json()

    own = {"queued": 2, "processing": 1, "completed": 1, "failed": 1, "canceled": 2}
    none = dict.fromkeys(own, 0)
    assert await counts(service.as_employee) == {"counts": own, "most": 1000}
    assert await counts(service.as_other) == {"counts": none, "most": 1000}
    assert (await counts(service.as_admin))["counts"] == own | {"queued": 4}
    assert (await counts(service.as_admin, f"?userId={service.employee.id}"))["counts"] == own
    assert (await counts(service.as_admin, "?type=chatwork_messages_sync"))["counts"] == none | {"queued": 1}


async def test_counts_include_only_jobs_in_the_time_range(service: Service) -> None:
    first, second, third = [await service.job_of(service.employee) for _ in range(3)]
    query = {"createdAfter": rfc3339(first.created_at), "createdBefore": rfc3339(third.created_at)}

    for client in (service.as_admin, service.as_employee):
        assert (await client.get("/api/jobs/counts", params=query)).json()["counts"]["queued"] == 1
    assert second.created_at > first.created_at


async def test_each_status_is_counted_up_to_the_limit(view: JobsView, jobs: list[Job]) -> None:
    owner = next(job.user_id for job in jobs if job.user_id)
    filters = [
        JobFilter(),
        JobFilter(user_id=owner),
        *(JobFilter(type=job_type) for job_type in TYPES),
        JobFilter("rooms", None, owner),
    ]

    for wanted in filters:
        there = looked_for(jobs, wanted)
        whole = {status: sum(job.status is status for job in there) for status in Status}

        assert await view.capped_counts(wanted, most=1000) == whole
        assert await view.capped_counts(wanted, most=7) == {status: min(count, 7) for status, count in whole.items()}


async def test_no_count_scans_the_whole_table(view: JobsView, database: Database, jobs: list[Job]) -> None:
    """The counts of all users' jobs read an index and stop at the limit."""
    await many_like(database, jobs)

    before = await scanned(database)
    await view.capped_counts(JobFilter(), most=10)
    await view.capped_counts(JobFilter(user_id=NO_JOB), most=10)
    await view.counts(most=10)

    assert await scanned(database) == before


async def test_a_page_or_a_count_reads_few_rows_that_do_not_match(view: JobsView, database: Database, jobs: list[Job]) -> None:
    """This holds even if many jobs are newer, or if many jobs of the same owner do not match."""
    await many_like(database, jobs)
    rare = await database.fetch_val("select id from jobs where user_id = :owner order by created_at limit 1", {"owner": ALICE})
    await database.execute("update jobs set type = 'rare', status = 'canceled', worker = null where id = :id", {"id": rare})
    early = min(job.created_at for job in jobs) + timedelta(seconds=5)
    filters = [
        JobFilter(created_before=early),
        JobFilter("rooms", created_before=early),
        JobFilter(user_id=ALICE, created_before=early),
        JobFilter("rare", user_id=ALICE),
        JobFilter("rare", Status.CANCELED, ALICE),
    ]

    walked = {}
    for number, wanted in enumerate(filters):
        before = await walked_past(database)
        assert (await view.page(wanted, limit=5)).jobs
        await view.capped_counts(wanted, most=10)
        walked[number] = await walked_past(database) - before

    # For each of four types and five statuses there is one scan. It reads at most 6 rows for a page
    # and 10 for a count.
    assert max(walked.values()) < 20 * (6 + 10) + 50, walked


async def many_like(database: Database, jobs: list[Job]) -> None:
    await database.execute("insert into jobs select (x.j).* from (select jsonb_populate_record(j, jsonb_build_object("
        "'id', gen_random_uuid())) as j from jobs j, generate_series(1, 60)) as x")  # fmt: skip
    await database.execute("analyze jobs")


async def walked_past(database: Database) -> int:
    """Returns how many index entries of the view have been read so far."""
    await database.fetch_val("select pg_stat_force_next_flush()")
    return int(await database.fetch_val("select sum(idx_tup_read) from pg_stat_user_indexes where relname = 'jobs'"))


async def scanned(database: Database) -> int:
    """Returns how many full scans of the view's table there have been so far."""
    await database.fetch_val("select pg_stat_force_next_flush()")
    return int(await database.fetch_val("select seq_scan from pg_stat_user_tables where relname = 'jobs'"))


async def test_a_history_is_downloaded_as_ndjson(service: Service) -> None:
    job = await service.run(await service.job_of(service.employee), started, failed)
    lines = {"Accept": "application/x-ndjson"}

    admins, employees, others = await asyncio.gather(
        *(client.get(f"/api/jobs/{job.id}/events", headers=lines)
          for client in (service.as_admin, service.as_employee, service.as_other))
    )  # fmt: skip

    events = (await service.as_employee.get(f"/api/jobs/{job.id}/events")).json()["events"]
    assert employees.headers["content-type"] == "application/x-ndjson"
    assert employees.headers["content-disposition"] == f'attachment; filename="job-{job.id}.ndjson"'
    assert [orjson.loads(line) for line in employees.text.splitlines()] == events
    assert ("Traceback" in admins.text, "Traceback" in employees.text) == (True, False)
    assert others.status_code == 404
