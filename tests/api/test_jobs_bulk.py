"""Changing many jobs, and running an old job again, follow the rules for one job."""

import asyncio
from datetime import timedelta
from typing import Any

import httpx2 as httpx
import pytest

from events.job import Job, JobError, Status, cancel, complete, fail, rfc3339, start
from events.writes import NewJob
from service.api import jobs_bulk as bulk
from tests.api.test_bad_input import blamed
from tests.api.test_job_lists import NO_JOB
from tests.http_client import http_client
from tests.job_types import capacity_for
from tests.service_fixture import Service, make_context, service, serving

__all__ = ["service"]

ADDRESS = "/api/jobs/bulk"
PERIOD = {"companyId": NO_JOB, "periodStart": "2026-10-01T00:00:00.000000Z", "periodEnd": "2026-11-01T00:00:00.000000Z"}


def started(job: Job) -> Any:
    return start(job, attempt=job.attempt, worker="w1")


def completed(job: Job) -> Any:
    return complete(job, attempt=job.attempt, worker="w1", result={})


def failed(job: Job) -> Any:
    return fail(job, attempt=job.attempt, worker="w1", error=JobError("E", "m"), retry_in=None)


def canceled(job: Job) -> Any:
    return cancel(job, reason="x")


async def change(client: httpx.AsyncClient, action: str, **body: Any) -> Any:
    answer = await client.post(ADDRESS, json={"action": action} | body)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def statuses(service: Service, *jobs: Job) -> list[str]:
    now = {job.id: job.status.value for job in await service.context.jobs.get_many([job.id for job in jobs])}
    return [now[job.id] for job in jobs]


async def one_in_each_status(service: Service) -> list[Job]:
    """Makes five jobs of the employee: queued, processing, completed, failed, canceled."""
    steps: list[tuple[Any, ...]] = [(), (started,), (started, completed), (started, failed), (canceled,)]
    return [await service.run(await service.job_of(service.employee), *done) for done in steps]


async def test_a_bulk_cancel_changes_only_queued_and_processing_jobs(service: Service) -> None:
    jobs = await one_in_each_status(service)

    done = await change(service.as_employee, "cancel", ids=[job.id for job in jobs])

    assert done == {"matched": 2, "done": 2, "refused": [], "more": False}
    assert await statuses(service, *jobs) == ["canceled", "canceled", "completed", "failed", "canceled"]
    last = (await service.context.store.history.events(jobs[0].id))[-1]
    assert (last.actor, last.event) == (f"user:{service.employee.id}", cancel(jobs[0], reason="canceled by its owner")[0])


async def test_a_bulk_retry_queues_and_delivers_failed_and_canceled_jobs(service: Service) -> None:
    jobs = await one_in_each_status(service)

    done = await change(service.as_admin, "retry", filter={})

    assert done == {"matched": 2, "done": 2, "refused": [], "more": False}
    assert await statuses(service, *jobs) == ["queued", "processing", "completed", "queued", "queued"]
    claims = await service.context.wire.claim(capacity_for(9, jobs[0].type))
    assert {claim.id.job_id for claim in claims} == {jobs[3].id, jobs[4].id}


async def test_a_repeated_bulk_request_changes_no_job(service: Service) -> None:
    jobs = [await service.job_of(service.employee) for _ in range(3)]
    ids = [job.id for job in jobs]

    first = await change(service.as_employee, "cancel", ids=[*ids, ids[0]])
    second = await change(service.as_employee, "cancel", ids=ids)

    assert (first["matched"], first["done"], second["matched"], second["done"]) == (3, 3, 0, 0)
    assert [len(await service.context.store.history.events(job_id)) for job_id in ids] == [2, 2, 2]


async def test_a_dry_run_counts_jobs_and_changes_none(service: Service) -> None:
    jobs = await one_in_each_status(service)

    counted = await change(service.as_employee, "cancel", filter={}, dryRun=True)

    assert counted == {"matched": 2, "done": 0, "refused": [], "more": False}
    assert await statuses(service, *jobs) == [job.status for job in jobs]


async def test_an_employee_cannot_change_jobs_of_others(service: Service) -> None:
    mine = await service.job_of(service.employee)
    theirs, system = await service.job_of(service.admin), await service.job_of(None)
    ids = [mine.id, theirs.id, system.id, NO_JOB]

    assert (await change(service.as_other, "cancel", ids=ids))["matched"] == 0
    assert (await change(service.as_other, "cancel", filter={}))["matched"] == 0
    assert (await change(service.as_employee, "cancel", filter={}))["done"] == 1
    assert await statuses(service, mine, theirs, system) == ["canceled", "queued", "queued"]
    assert (await change(service.as_admin, "cancel", ids=ids))["done"] == 2
    last = (await service.context.store.history.events(system.id))[-1]
    assert last.event == cancel(system, reason="canceled by an admin")[0]


async def test_a_bulk_filter_selects_the_same_jobs_as_the_list(service: Service) -> None:
    rooms, messages, later = [
        await service.job_of(user, job_type)
        for user, job_type in (
            (service.employee, "chatwork_rooms_sync"),
            (service.admin, "chatwork_messages_sync"),
            (service.employee, "chatwork_rooms_sync"),
        )
    ]
    processing = await service.run(await service.job_of(None), started)
    between = rfc3339(later.created_at - timedelta(microseconds=1))

    async def matched(**wanted: Any) -> int:
        return int((await change(service.as_admin, "cancel", filter=wanted, dryRun=True))["matched"])

    assert await matched() == 4
    assert await matched(type="chatwork_messages_sync") == 1
    assert await matched(status="processing") == 1
    assert await matched(status="failed") == 0
    assert await matched(userId=service.employee.id) == 2
    assert await matched(createdBefore=between) == 2
    assert await matched(createdAfter=between, status="queued") == 1
    assert {rooms.status, messages.status, processing.status} == {Status.QUEUED, Status.PROCESSING}


async def test_a_retry_beside_an_active_unique_job_is_refused_with_the_reason(service: Service) -> None:
    jobs = []
    for _ in range(3):
        new = NewJob("summary_draft", {}, service.employee.id, max_attempts=5, unique_key="one draft")
        jobs.append(await service.run(await service.context.store.create(new, actor="system:test"), canceled))

    done = await change(service.as_employee, "retry", ids=[job.id for job in jobs])

    assert (done["matched"], done["done"]) == (3, 1)
    assert {refused["detail"] for refused in done["refused"]} == {
        "Cannot retry this job: another job does the same and is active."
    }
    assert sorted(await statuses(service, *jobs)) == ["canceled", "canceled", "queued"]
    assert {refused["jobId"] for refused in done["refused"]} < {job.id for job in jobs}


async def test_one_bulk_request_changes_at_most_the_limit(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk, "MOST", 3)
    for number in range(5):
        await service.run(await service.job_of(service.employee), *([started] if number % 2 else []))

    calls = [await change(service.as_employee, "cancel", filter={}) for _ in range(3)]

    assert [(done["done"], done["more"]) for done in calls] == [(3, True), (2, False), (0, False)]


async def test_hundreds_of_jobs_are_each_changed_once(service: Service) -> None:
    jobs = await asyncio.gather(*(service.job_of(service.employee) for _ in range(300)))

    calls = await asyncio.gather(*(change(service.as_employee, "cancel", filter={}) for _ in range(2)))

    assert sum(done["done"] for done in calls) == 300
    assert {len(history) for history in [await service.context.store.history.events(job.id) for job in jobs[::30]]} == {2}


async def test_a_bad_request_is_refused_by_the_name_of_its_field(service: Service) -> None:
    cases: list[tuple[dict[str, Any], tuple[int, str]]] = [
        ({}, (422, "action")),
        ({"action": "delete", "ids": [NO_JOB]}, (422, "action")),
        ({"action": "cancel"}, (422, "ids filter")),
        ({"action": "cancel", "ids": [NO_JOB], "filter": {}}, (422, "ids filter")),
        ({"action": "cancel", "ids": []}, (422, "ids")),
        ({"action": "cancel", "ids": ["x"]}, (422, "ids.0")),
        ({"action": "cancel", "ids": [NO_JOB] * 1001}, (422, "ids")),
        ({"action": "cancel", "filter": {"status": "done"}}, (422, "filter.status")),
        ({"action": "cancel", "filter": {"type": "nonsense"}}, (422, "filter.type")),
        ({"action": "cancel", "filter": {"createdAfter": "yesterday"}}, (422, "filter.createdAfter")),
        ({"action": "cancel", "filter": {"colour": "red"}}, (422, "filter.colour")),
        ({"action": "cancel", "filter": {}, "dryRun": "yes"}, (422, "dryRun")),
    ]

    told = [blamed(await service.as_admin.post(ADDRESS, json=body)) for body, _ in cases]

    assert told == [blame for _, blame in cases]
    by_owner = {"action": "cancel", "filter": {"userId": service.admin.id}}
    assert (await service.as_employee.post(ADDRESS, json=by_owner)).status_code == 403
    assert (await service.as_nobody.post(ADDRESS, json=by_owner)).status_code == 401


async def again(client: httpx.AsyncClient, job: Job, **headers: str) -> httpx.Response:
    return await client.post(f"/api/jobs/{job.id}/again", headers=headers)


async def test_running_a_job_again_makes_a_new_job_of_the_caller(service: Service) -> None:
    old = await service.run(await service.job_of(service.employee, "summary_draft", PERIOD), started, completed)

    answer = await again(service.as_admin, old)

    assert answer.status_code == 202
    assert answer.headers["location"] == f"/api/jobs/{answer.json()['jobId']}"
    new = await service.context.jobs.get(answer.json()["jobId"])
    assert new is not None
    assert new.id != old.id
    assert (new.type, new.payload, new.user_id) == (old.type, old.payload, service.admin.id)
    assert (new.status, new.attempt, new.max_attempts) == (Status.QUEUED, 1, 3)
    assert [claim.id.job_id for claim in await service.context.wire.claim(capacity_for(9, new.type))] == [new.id]
    assert await service.context.jobs.get(old.id) == old


async def test_running_a_unique_job_again_answers_with_the_active_job(service: Service) -> None:
    old = await service.run(await service.job_of(service.admin), started, completed)

    first, second = [(await again(service.as_admin, old)).json() for _ in range(2)]

    assert first == second
    assert first["jobId"] != old.id


async def test_running_a_job_again_twice_with_one_key_makes_one_job(service: Service) -> None:
    old = await service.run(await service.job_of(service.admin), started, completed)
    first = (await again(service.as_admin, old, **{"Idempotency-Key": "once"})).json()
    new = await service.context.jobs.get(first["jobId"])
    assert new is not None
    await service.run(new, canceled)

    repeated = (await again(service.as_admin, old, **{"Idempotency-Key": "once"})).json()
    another = (await again(service.as_admin, old, **{"Idempotency-Key": "twice"})).json()

    assert repeated == {"jobId": new.id, "status": "canceled"}
    assert another["jobId"] != new.id


async def test_running_a_job_of_another_user_again_gets_404(service: Service) -> None:
    job = await service.job_of(service.employee)

    assert (await again(service.as_other, job)).status_code == 404


async def test_an_outdated_payload_is_refused(service: Service) -> None:
    old = await service.job_of(service.employee, "summary_draft", {"company": 7})
    gone = await service.job_of(service.employee, "a_type_of_old")

    payload, job_type = await again(service.as_employee, old), await again(service.as_employee, gone)

    assert payload.status_code == job_type.status_code == 422
    assert {error["path"] for error in payload.json()["errors"]} == {
        "payload.company", "payload.companyId", "payload.periodStart", "payload.periodEnd",
    }  # fmt: skip
    assert [error["path"] for error in job_type.json()["errors"]] == ["type"]


async def test_a_sync_is_not_run_again_without_a_chatwork_token(service: Service) -> None:
    old = await service.job_of(service.admin)
    context = make_context(service.context.database, service.context.bus, service.context.store)

    async with serving(context) as url, http_client(url, headers=service.as_admin.headers) as client:
        assert (await again(client, old)).status_code == 400


async def test_simultaneous_retries_with_one_key_are_one_retry(service: Service) -> None:
    job = await service.run(await service.job_of(service.employee, "summary_draft"), canceled)
    key = {"Idempotency-Key": "once"}

    answers = await asyncio.gather(
        *(service.as_employee.post(f"/api/jobs/{job.id}/retry", headers=key) for _ in range(10))
    )  # fmt: skip

    assert {answer.status_code for answer in answers} == {200}
    assert {answer.json()["job"]["attempt"] for answer in answers} == {2}
    assert len(await service.context.store.history.events(job.id)) == 3


async def test_a_dry_run_names_the_jobs_that_a_retry_would_refuse_and_changes_none(service: Service) -> None:
    same = [await a_unique_failure(service, "rooms") for _ in range(3)]
    alone = await a_unique_failure(service, "messages")
    free = await service.run(await service.job_of(service.admin), started, failed)
    chosen = [job.id for job in (*same, alone, free)]

    told = await change(service.as_admin, "retry", ids=chosen, dryRun=True)

    assert (told["matched"], told["done"], len(told["refused"])) == (5, 0, 2)
    assert {refused["jobId"] for refused in told["refused"]} < {job.id for job in same}
    assert {refused["detail"] for refused in told["refused"]} == {bulk.CHOSEN_TWICE}
    assert await statuses(service, *same, alone, free) == ["failed"] * 5
    done = await change(service.as_admin, "retry", ids=chosen)
    assert (done["done"], len(done["refused"])) == (3, 2)

    later = await change(service.as_admin, "retry", ids=chosen, dryRun=True)
    assert (later["matched"], [refused["detail"] for refused in later["refused"]]) == (2, [bulk.DOES_THE_SAME] * 2)


async def test_a_dry_run_of_an_employee_counts_no_job_that_only_an_admin_may_queue(service: Service) -> None:
    mine = await service.run(await service.job_of(service.employee), started, failed)

    told = await change(service.as_employee, "retry", ids=[mine.id], dryRun=True)

    assert (told["matched"], [refused["jobId"] for refused in told["refused"]]) == (1, [mine.id])


async def a_unique_failure(service: Service, key: str) -> Job:
    """Makes a failed job with this unique key."""
    new = NewJob("chatwork_rooms_sync", {}, service.admin.id, max_attempts=5, unique_key=key)
    return await service.run(await service.context.store.create(new, actor="system:test"), started, failed)
