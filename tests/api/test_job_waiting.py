"""The API tells the owner of a queued job why the job waits."""

from datetime import timedelta
from typing import Any

from events.database import Database
from events.job import Job, JobError, cancel, fail, rfc3339, start
from service.api import job_waiting as waiting
from tests.service_fixture import Service, service
from workers.pauses import Pauses

__all__ = ["service"]

WORKER = """
insert into workers (id, host, pid, job_types, slots, last_seen, gone_at)
values (:id, 'here', 1, array['chatwork_rooms_sync', 'summary_draft'], 1, now() - cast(:silent as interval),
        case when :gone then now() end)
"""


def started(job: Job) -> Any:
    return start(job, attempt=job.attempt, worker="w1")


def retried(job: Job) -> Any:
    return fail(job, attempt=1, worker="w1", error=JobError("E", "m"), retry_in=timedelta(hours=1))


async def worker(database: Database, worker_id: str, *, silent: timedelta = timedelta(0), gone: bool = False) -> None:
    await database.execute(WORKER, {"id": worker_id, "silent": silent, "gone": gone})


async def why(service: Service, job: Job) -> Any:
    return (await service.as_employee.get(f"/api/jobs/{job.id}/waiting")).json()["waiting"]


async def test_a_job_waits_for_a_living_worker_of_its_type(service: Service, database: Database) -> None:
    job = await service.job_of(service.employee)
    other = await service.job_of(service.employee, "chatwork_messages_sync")
    await worker(database, "silent", silent=timedelta(minutes=1))
    await worker(database, "gone", gone=True)

    assert await why(service, job) == {
        "reason": "no_worker", "runAt": rfc3339(job.run_at), "pausedUntil": None, "ahead": 0, "workers": 0,
    }  # fmt: skip
    await worker(database, "alive")

    assert (await why(service, job))["reason"] == "in_line"
    assert (await why(service, job))["workers"] == 1
    assert (await why(service, other))["reason"] == "no_worker"


async def test_ahead_counts_the_earlier_jobs_of_the_same_type(service: Service, database: Database) -> None:
    await worker(database, "alive")
    mine = [await service.job_of(user) for user in (service.admin, service.employee, None, service.employee)]
    await service.job_of(service.employee, "chatwork_messages_sync")
    await service.run(mine[2], started)

    assert [(await why(service, job))["ahead"] for job in (mine[1], mine[3])] == [1, 2]


async def test_ahead_is_counted_up_to_the_limit(service: Service, database: Database, monkeypatch: Any) -> None:
    monkeypatch.setattr(waiting, "MOST_AHEAD", 2)
    jobs = [await service.job_of(service.employee) for _ in range(5)]

    assert (await why(service, jobs[4]))["ahead"] == 2


async def test_a_future_run_at_is_the_first_reason_to_wait(service: Service, database: Database) -> None:
    await worker(database, "alive")
    job = await service.run(await service.job_of(service.employee), started, retried)
    await Pauses(database).pause(job.type, until=None, reason="x", actor="user:x")

    told = await why(service, job)

    assert (told["reason"], told["runAt"]) == ("retry_at", rfc3339(job.run_at))


async def test_a_job_of_a_paused_type_waits_for_the_end_of_the_pause(service: Service, database: Database) -> None:
    await worker(database, "alive")
    job = await service.job_of(service.employee)
    until = job.created_at + timedelta(hours=1)

    await Pauses(database).pause(job.type, until=until, reason="x", actor="user:x")
    for_an_hour = await why(service, job)
    await Pauses(database).pause(job.type, until=None, reason="x", actor="user:x")
    for_ever = await why(service, job)

    assert (for_an_hour["reason"], for_an_hour["pausedUntil"]) == ("paused", rfc3339(until))
    assert (for_ever["reason"], for_ever["pausedUntil"]) == ("paused", None)


async def test_a_job_that_is_not_queued_does_not_wait(service: Service) -> None:
    running = await service.run(await service.job_of(service.employee), started)
    over = await service.run(await service.job_of(service.employee), lambda job: cancel(job, reason="x"))

    assert [await why(service, job) for job in (running, over)] == [None, None]


async def test_the_reason_of_another_users_job_is_hidden(service: Service) -> None:
    job = await service.job_of(service.employee)

    assert (await service.as_other.get(f"/api/jobs/{job.id}/waiting")).status_code == 404
    assert (await service.as_admin.get(f"/api/jobs/{job.id}/waiting")).status_code == 200
