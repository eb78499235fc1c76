"""LIMIT_ACTIVE_JOBS and LIMIT_PAID_JOBS limit the jobs of a person over all processes."""

import asyncio
from collections import Counter
from typing import Any

import httpx2 as httpx
import pytest

from events.database import Database
from events.job import Job, cancel
from events.store import Store
from events.writes import NewJob
from service.accounts.users import User
from service.limit_values import Rate
from service.limits.active_jobs import COUNT, ActiveJobs
from service.limits.over_limit import OverLimit
from service.limits.paid_jobs import PaidJobs
from tests.api.limited import limited, refusals
from tests.service_fixture import Service, service, user_of

__all__ = ["service"]

SYNC = "/api/chatwork/messages/sync"
DRAFT = "summary_draft"
ACTIVE = (
    "LIMIT_ACTIVE_JOBS allows one person at most {} jobs that are queued or processing. "
    "Wait until some have ended, or cancel some."
)


def canceled(job: Job) -> Any:
    return cancel(job, reason="x")


def draft_of(month: int) -> dict[str, str]:
    return {"periodStart": f"2026-{month:02}-01T00:00:00Z", "periodEnd": f"2026-{month:02}-02T00:00:00Z"}


async def sync(client: httpx.AsyncClient, room: int, **headers: str) -> httpx.Response:
    return await client.post(SYNC, params={"roomId": str(room)}, headers=headers)


async def active(service: Service, owner: User) -> int:
    count = "select count(*) from jobs where user_id = :id and status in ('queued', 'processing')"
    return int(await service.context.database.fetch_val(count, {"id": owner.id}))


async def company(service: Service) -> str:
    answer = await service.as_admin.post("/api/companies", json={"name": "Company"})
    return str(answer.json()["company"]["id"])


async def test_a_job_too_many_is_refused_until_another_has_ended(service: Service) -> None:
    async with limited(service, limit_active_jobs="3") as api:
        answers = [await sync(api.as_admin, room) for room in range(1, 5)]
        await api.as_admin.post(f"/api/jobs/{answers[0].json()['jobId']}/cancel")
        again = await sync(api.as_admin, 4)
        counted = await refusals(api)

    assert [answer.status_code for answer in answers] == [202, 202, 202, 429]
    assert answers[-1].json()["detail"] == ACTIVE.format(3)
    assert answers[-1].headers["retry-after"] == "5"
    assert again.status_code == 202
    assert counted == {"LIMIT_ACTIVE_JOBS": 1}


async def test_jobs_of_others_and_of_nobody_are_not_counted(service: Service) -> None:
    for owner in (None, None, service.employee, service.employee):
        await service.job_of(owner)
    ended = await service.job_of(service.admin)
    await service.run(ended, canceled)

    async with limited(service, limit_active_jobs="1") as api:
        assert (await sync(api.as_admin, 1)).status_code == 202
        assert (await sync(api.as_admin, 2)).status_code == 429


async def test_jobs_of_every_type_are_counted_and_also_while_they_run(service: Service) -> None:
    for job_type in ("a", "arq:b", "chatwork_rooms_sync", "zzz"):
        await service.job_of(service.admin, job_type)
    await service.context.database.execute("update jobs set status = 'processing', worker = 'w1' where type = 'zzz'")

    async with limited(service, limit_active_jobs="5") as api:
        assert [(await sync(api.as_admin, room)).status_code for room in (1, 2)] == [202, 429]


async def test_a_repeated_request_gets_its_job_though_the_limit_is_reached(service: Service) -> None:
    async with limited(service, limit_active_jobs="1") as api:
        first = await sync(api.as_admin, 1, **{"Idempotency-Key": "k"})
        repeated = await sync(api.as_admin, 1, **{"Idempotency-Key": "k"})
        refused = await sync(api.as_admin, 2, **{"Idempotency-Key": "other"})

    assert first.status_code == repeated.status_code == 202
    assert first.json() == repeated.json()
    assert refused.status_code == 429


async def test_requests_with_one_key_at_the_same_time_are_one_job_though_the_limit_is_one(service: Service) -> None:
    async with limited(service, limit_active_jobs="1") as api:
        answers = await asyncio.gather(*(sync(api.as_admin, 1, **{"Idempotency-Key": "k"}) for _ in range(10)))

    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["jobId"] for answer in answers}) == 1


async def test_a_second_request_gets_the_active_job_of_its_kind_though_the_limit_is_reached(service: Service) -> None:
    async with limited(service, limit_active_jobs="1") as api:
        first = await sync(api.as_admin, 1)
        second = await sync(api.as_admin, 1)

    assert (first.status_code, second.status_code) == (202, 202)
    assert first.json() == second.json()


async def test_a_retry_makes_a_job_active_again_and_counts(service: Service) -> None:
    failed = await service.run(await service.job_of(service.admin), canceled)

    async with limited(service, limit_active_jobs="1") as api:
        await sync(api.as_admin, 1)
        refused = await api.as_admin.post(f"/api/jobs/{failed.id}/retry")

    assert (refused.status_code, refused.json()["detail"]) == (429, ACTIVE.format(1))


async def test_a_job_that_cannot_be_retried_says_so_though_the_limit_is_reached(service: Service) -> None:
    job = await service.job_of(service.admin)

    async with limited(service, limit_active_jobs="1") as api:
        answer = await api.as_admin.post(f"/api/jobs/{job.id}/retry")

    assert answer.status_code == 409


async def test_a_job_retried_by_an_admin_counts_for_its_owner(service: Service) -> None:
    of_employee = await service.run(await service.job_of(service.employee), canceled)
    of_nobody = await service.run(await service.job_of(None), canceled)
    await service.job_of(service.employee)

    async with limited(service, limit_active_jobs="1") as api:
        refused = await api.as_admin.post(f"/api/jobs/{of_employee.id}/retry")
        retried = await api.as_admin.post(f"/api/jobs/{of_nobody.id}/retry")
        own = await sync(api.as_admin, 1)

    assert [answer.status_code for answer in (refused, retried, own)] == [429, 200, 202]


async def test_of_a_bulk_retry_the_excess_is_refused_one_by_one(service: Service) -> None:
    jobs = [await service.run(await service.job_of(service.admin), canceled) for _ in range(8)]

    async with limited(service, limit_active_jobs="5") as api:
        answer = await api.as_admin.post("/api/jobs/bulk", json={"action": "retry", "ids": [job.id for job in jobs]})
        counted = await refusals(api)

    done = answer.json()
    assert (answer.status_code, done["matched"], done["done"], len(done["refused"])) == (200, 8, 5, 3)
    assert {each["detail"] for each in done["refused"]} == {ACTIVE.format(5)}
    assert await active(service, service.admin) == 5
    assert counted == {"LIMIT_ACTIVE_JOBS": 3}


async def test_one_process_never_exceeds_the_limit(service: Service) -> None:
    async with limited(service, limit_active_jobs="130") as api:
        answers = await asyncio.gather(*(sync(api.as_admin, room) for room in range(1, 171)))

    assert Counter(answer.status_code for answer in answers) == {202: 130, 429: 40}
    assert await active(service, service.admin) == 130


async def test_each_further_process_exceeds_the_limit_by_what_it_has_ahead_at_most(database: Database, store: Store) -> None:
    owner, most = await user_of(database, "a@example.com", "admin", "a"), 300
    processes = [ActiveJobs(most, database) for _ in range(3)]

    async def queue(process: ActiveJobs) -> bool:
        try:
            async with process.place(owner.id):
                await store.create(NewJob("t", {}, owner.id, max_attempts=1), actor="system:test")
        except OverLimit:
            return False
        return True

    done = sum(await asyncio.gather(*(queue(process) for process in processes for _ in range(150))))

    assert most <= done <= most + 2 * (most - 100) // 16


async def test_a_process_has_no_more_under_way_than_it_may_exceed_the_limit_by(database: Database) -> None:
    owner, most = await user_of(database, "a@example.com", "admin", "a"), 300
    process, under_way, queued = ActiveJobs(most, database), 0, asyncio.Event()

    async def queue() -> None:
        nonlocal under_way
        async with process.place(owner.id):
            under_way += 1
            await queued.wait()

    requests = [asyncio.create_task(queue()) for _ in range(50)]
    await asyncio.wait(requests, timeout=0.5)
    at_once = under_way
    queued.set()
    await asyncio.gather(*requests)

    assert at_once == (most - 100) // 16
    assert under_way == 50


async def test_a_multiple_of_the_limit_may_be_active(database: Database) -> None:
    owner = await user_of(database, "a@example.com", "admin", "a")
    jobs = ActiveJobs(1, database)
    await database.execute(
        "insert into jobs (id, type, status, payload, user_id, attempt, max_attempts, seq, run_at, created_at, updated_at)"
        " select gen_random_uuid(), 't', 'queued', '{}', cast(:id as uuid), 1, 1, 1, now(), now(), now()"
        " from generate_series(1, 9)",
        {"id": owner.id},
    )

    with pytest.raises(OverLimit):
        await jobs.place(owner.id).__aenter__()
    async with jobs.place(owner.id, times=10):
        pass


async def test_the_count_reads_the_owners_index_and_no_more_than_the_limit(database: Database) -> None:
    owner = await user_of(database, "a@example.com", "admin", "a")
    await database.execute(
        "insert into jobs (id, type, status, payload, user_id, attempt, max_attempts, seq, run_at, created_at, updated_at)"
        " select gen_random_uuid(), 't' || n % 5, (array['queued', 'completed'])[1 + n % 2], '{}',"
        " case when n % 10 = 0 then cast(:id as uuid) else gen_random_uuid() end, 1, 1, 1, now(), now(), now()"
        " from generate_series(1, 5000) n",
        {"id": owner.id},
    )
    await database.execute("analyze jobs")
    values = {"owners": [owner.id], "statuses": ["queued", "processing"], "most": 20}

    plan = "\n".join(row["QUERY PLAN"] for row in await database.fetch_all(f"explain {COUNT}", values))

    assert "jobs_of_owner" in plan
    assert "Seq Scan on jobs" not in plan
    assert [row["number"] for row in await database.fetch_all(COUNT, values)] == [20]


async def test_a_paid_job_too_many_is_refused_and_others_may_still_be_queued(service: Service) -> None:
    path = f"/api/companies/{await company(service)}/summaries/draft"
    async with limited(service, limit_paid_jobs="2/day") as api:
        answers = [await api.as_admin.post(path, json=draft_of(month)) for month in (1, 2, 3)]
        repeated = await api.as_admin.post(path, json=draft_of(1))
        others = await api.as_employee.post(path, json=draft_of(3))
        unpaid = await sync(api.as_admin, 1)
        counted = await refusals(api)

    assert [answer.status_code for answer in answers] == [202, 202, 429]
    assert 86300 < int(answers[-1].headers["retry-after"]) <= 86400
    assert (
        answers[-1].json()["detail"].startswith("LIMIT_PAID_JOBS allows one person to queue at most 2 paid jobs in any day. ")
    )
    assert repeated.json()["jobId"] == answers[0].json()["jobId"]
    assert (others.status_code, unpaid.status_code) == (202, 202)
    assert counted == {"LIMIT_PAID_JOBS": 1}


async def test_an_ended_paid_job_still_counts_and_so_does_its_retry(service: Service) -> None:
    job = await service.run(await service.job_of(service.employee, DRAFT), canceled)
    async with limited(service, limit_paid_jobs="2/day") as api:
        answers = []
        for _ in range(3):
            answers.append(await api.as_employee.post(f"/api/jobs/{job.id}/retry"))
            await api.as_employee.post(f"/api/jobs/{job.id}/cancel")

    assert [answer.status_code for answer in answers] == [200, 200, 429]


async def test_a_paid_job_that_was_not_queued_is_not_counted(service: Service) -> None:
    path = f"/api/companies/{await company(service)}/summaries/draft"
    async with limited(service, limit_paid_jobs="2/day") as api:
        first = [await api.as_admin.post(path, json=draft_of(1)) for _ in range(5)]
        second = await api.as_admin.post(path, json=draft_of(2))
        third = await api.as_admin.post(path, json=draft_of(3))

    assert len({answer.json()["jobId"] for answer in first}) == 1
    assert (second.status_code, third.status_code) == (202, 429)


async def test_two_processes_that_race_queue_exactly_the_limit_of_paid_jobs(database: Database) -> None:
    owner = await user_of(database, "a@example.com", "employee", "a")
    processes = [PaidJobs(Rate(7, 86400), database) for _ in range(2)]

    async def queue(process: PaidJobs) -> bool:
        try:
            async with process.place(owner.id):
                return True
        except OverLimit:
            return False

    assert sum(await asyncio.gather(*(queue(process) for process in processes for _ in range(20)))) == 7


async def test_the_window_of_paid_jobs_slides_and_a_refused_one_is_not_counted(database: Database) -> None:
    owner = await user_of(database, "a@example.com", "employee", "a")
    jobs = PaidJobs(Rate(2, 86400), database)

    async def age(hours: int) -> None:
        times = "(select array_agg(at - make_interval(hours => :hours) order by at) from unnest(queued_at) as at)"
        await database.execute(f"update paid_jobs set queued_at = {times}", {"hours": hours})

    async with jobs.place(owner.id):
        await age(0)
    await age(20)
    async with jobs.place(owner.id):
        pass
    for _ in range(3):
        with pytest.raises(OverLimit) as refused:
            await jobs.place(owner.id).__aenter__()
    assert 4 * 3600 - 60 < refused.value.retry_after <= 4 * 3600
    await age(5)

    async with jobs.place(owner.id):
        pass
    with pytest.raises(OverLimit):
        await jobs.place(owner.id).__aenter__()


async def test_a_paid_job_stays_counted_if_nobody_knows_whether_it_was_queued(database: Database) -> None:
    owner = await user_of(database, "a@example.com", "employee", "a")
    jobs = PaidJobs(Rate(1, 86400), database)

    with pytest.raises(ValueError, match="refused"):
        async with jobs.place(owner.id):
            raise ValueError("refused")
    with pytest.raises(TimeoutError):
        async with jobs.place(owner.id):
            raise TimeoutError
    with pytest.raises(OverLimit):
        await jobs.place(owner.id).__aenter__()
