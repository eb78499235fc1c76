"""Request id and cause of each event are shown wherever events are shown."""

import orjson

from events.job import JobError, fail, start
from tests.service_fixture import Service, service

__all__ = ["service"]

ERROR = JobError("ValueError", "no such room")


async def test_a_retry_and_a_repetition_name_what_caused_them_and_the_request(service: Service) -> None:
    job = await service.job_of(service.employee, "summary_draft")
    job = await service.run(
        job,
        lambda job: start(job, attempt=1, worker="w1"),
        lambda job: fail(job, attempt=1, worker="w1", error=ERROR, retry_in=None),
    )

    retried = await service.as_admin.post(f"/api/jobs/{job.id}/retry", headers={"X-Request-Id": "r-retry"})

    assert retried.status_code == 200
    events = (await service.as_employee.get(f"/api/jobs/{job.id}/events")).json()["events"]
    assert [(event["requestId"], event["cause"]) for event in events] == [
        (None, None), (None, None), (None, None), ("r-retry", f"{job.id}/3"),
    ]  # fmt: skip


async def test_a_repeated_job_names_the_newest_event_of_the_job_that_it_repeats(service: Service) -> None:
    old = await service.job_of(service.employee)
    await service.as_admin.post(f"/api/jobs/{old.id}/cancel")

    answer = await service.as_admin.post(f"/api/jobs/{old.id}/again", headers={"X-Request-Id": "r-again"})

    job_id = answer.json()["jobId"]
    [event] = (await service.as_admin.get(f"/api/jobs/{job_id}/events")).json()["events"]
    assert (event["requestId"], event["cause"]) == ("r-again", f"{old.id}/2")


async def test_the_log_and_its_export_show_request_id_and_cause(service: Service) -> None:
    old = await service.job_of(service.employee)
    await service.as_admin.post(f"/api/jobs/{old.id}/cancel", headers={"X-Request-Id": "r-cancel"})
    await service.as_admin.post(f"/api/jobs/{old.id}/again", headers={"X-Request-Id": "r-again"})
    expected = [(None, None), ("r-cancel", None), ("r-again", f"{old.id}/2")]

    page = (await service.as_auditor.get("/api/events")).json()["events"]
    of_one_actor = (await service.as_auditor.get(f"/api/events?actor=user:{service.admin.id}")).json()["events"]
    of_one_job = (await service.as_auditor.get(f"/api/events?jobId={old.id}")).json()["events"]
    export = await service.as_auditor.get("/api/events", headers={"Accept": "application/x-ndjson"})

    lines = [orjson.loads(line) for line in export.text.splitlines()]
    assert [(event["requestId"], event["cause"]) for event in page] == expected
    assert [(event["requestId"], event["cause"]) for event in of_one_actor] == expected[1:]
    assert [(event["requestId"], event["cause"]) for event in of_one_job] == expected[:2]
    assert [(event["requestId"], event["cause"]) for event in lines] == expected
