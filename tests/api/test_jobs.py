"""The job endpoints: who sees a job, pages, past states, cancel, retry, repeated requests."""

import asyncio
import contextlib
import time
from datetime import datetime, timedelta
from typing import Any

import orjson
import pytest
from starlette.requests import Request

from events.bus import Bus
from events.database import Database
from events.job import Job, JobError, cancel, complete, fail, progress, rfc3339, start
from events.store import Store
from service.http.request import preferred_wait
from tests.http_client import http_client
from tests.job_types import capacity_for
from tests.proxy import Fault, proxy_before
from tests.service_fixture import Service, make_context, service, serving

__all__ = ["service"]

NO_JOB = "0190b1a0-0000-7000-8000-000000000000"
ERROR = JobError("ValueError", "no such room", "Traceback: line 1")


def started(attempt: int = 1) -> Any:
    return lambda job: start(job, attempt=attempt, worker="w1")


def reported(result: Any) -> Any:
    return lambda job: progress(job, attempt=1, worker="w1", result=result)


def completed(result: Any) -> Any:
    return lambda job: complete(job, attempt=1, worker="w1", result=result)


def failed(job: Job) -> Any:
    return fail(job, attempt=1, worker="w1", error=ERROR, retry_in=None)


async def test_a_job_has_all_documented_fields(service: Service) -> None:
    job = await service.job_of(service.admin, "chatwork_messages_sync", {"roomId": "7"})
    job = await service.run(job, started(), reported({"totalRooms": 1, "processedRooms": 0}))

    answer = await service.as_admin.get(f"/api/jobs/{job.id}")

    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    assert answer.json() == {
        "job": {
            "id": job.id,
            "type": "chatwork_messages_sync",
            "status": "processing",
            "payload": {"roomId": "7"},
            "description": [{"kind": "room", "roomId": "7", "name": None}],
            "result": {"totalRooms": 1, "processedRooms": 0},
            "error": None,
            "userId": service.admin.id,
            "attempt": 1,
            "maxAttempts": 5,
            "worker": "w1",
            "seq": 3,
            "runAt": rfc3339(job.run_at),
            "startedAt": rfc3339(job.started_at or job.run_at),
            "finishedAt": None,
            "createdAt": rfc3339(job.created_at),
            "updatedAt": rfc3339(job.updated_at),
        }
    }


async def test_a_job_of_another_user_looks_like_one_that_does_not_exist(service: Service) -> None:
    jobs = [await service.job_of(user) for user in (service.admin, service.employee, None)]

    for job in jobs:
        for method, rest in (("GET", ""), ("GET", "?seq=1"), ("GET", "/events"), ("POST", "/cancel"), ("POST", "/retry")):
            theirs = await service.as_other.request(method, f"/api/jobs/{job.id}{rest}")
            nobodys = await service.as_other.request(method, f"/api/jobs/{NO_JOB}{rest}")

            assert (theirs.status_code, theirs.content) == (404, nobodys.content)
        assert len(await service.context.store.history.events(job.id)) == 1


async def test_an_employee_lists_their_own_jobs_and_an_admin_all(service: Service) -> None:
    jobs = [await service.job_of(user) for user in (service.admin, service.employee, None, service.employee)]

    all_of_them = (await service.as_admin.get("/api/jobs")).json()
    own = (await service.as_employee.get("/api/jobs")).json()

    assert [job["id"] for job in all_of_them["jobs"]] == [job.id for job in reversed(jobs)]
    assert [job["id"] for job in own["jobs"]] == [jobs[3].id, jobs[1].id]
    assert (await service.as_other.get("/api/jobs")).json() == {"jobs": [], "nextCursor": None}


async def test_pages_have_no_gap_and_no_overlap(service: Service) -> None:
    jobs = [await service.job_of(service.employee) for _ in range(5)]

    seen: list[str] = []
    cursor = ""
    for expected in (2, 2, 1):
        page = (await service.as_employee.get(f"/api/jobs?limit=2{cursor}")).json()
        assert len(page["jobs"]) == expected
        seen += [job["id"] for job in page["jobs"]]
        cursor = f"&cursor={page['nextCursor']}"

    assert page["nextCursor"] is None
    assert seen == [job.id for job in reversed(jobs)]


async def test_filters_narrow_the_list(service: Service) -> None:
    rooms = await service.job_of(service.admin)
    messages = await service.job_of(service.admin, "chatwork_messages_sync")
    await service.run(messages, started())
    between = rfc3339(messages.created_at - timedelta(microseconds=1))
    offset = messages.created_at.isoformat()

    async def ids(query: str) -> list[str]:
        return [job["id"] for job in (await service.as_admin.get(f"/api/jobs?{query}")).json()["jobs"]]

    assert await ids("type=chatwork_rooms_sync") == [rooms.id]
    assert await ids("status=processing") == [messages.id]
    assert await ids("type=chatwork_rooms_sync&status=processing") == []
    assert await ids(f"createdAfter={between}") == [messages.id]
    assert await ids(f"createdBefore={between}") == [rooms.id]
    # The `+` of the time zone in this query is not escaped.
    assert await ids(f"createdBefore={offset}") == [rooms.id]


async def test_only_admins_see_a_stack(service: Service) -> None:
    job = await service.run(await service.job_of(service.employee), started(), failed)
    addresses = (f"/api/jobs/{job.id}", "/api/jobs", f"/api/jobs/{job.id}?seq=3", f"/api/jobs/{job.id}/events")

    for address in addresses:
        admins, employees = await service.as_admin.get(address), await service.as_employee.get(address)

        assert "Traceback" in admins.text
        assert "no such room" in employees.text
        assert "stack" not in employees.text
        assert "Traceback" not in employees.text


async def test_a_job_is_shown_as_it_was_after_any_event(service: Service) -> None:
    job = await service.run(await service.job_of(service.admin), started(), reported({"n": 1}), completed({"n": 2}))

    seen = [(await service.as_admin.get(f"/api/jobs/{job.id}?seq={seq}")).json()["job"] for seq in (1, 2, 3, 4)]

    assert [(past["seq"], past["status"], past["result"], past["worker"]) for past in seen] == [
        (1, "queued", None, None),
        (2, "processing", None, "w1"),
        (3, "processing", {"n": 1}, "w1"),
        (4, "completed", {"n": 2}, None),
    ]
    assert seen[3] == (await service.as_admin.get(f"/api/jobs/{job.id}")).json()["job"]


async def test_a_job_is_shown_as_it_was_at_any_time(service: Service) -> None:
    job = await service.run(await service.job_of(service.admin), started(), completed({}))
    history = await service.context.store.history.events(job.id)

    async def at(time: datetime) -> Any:
        return await service.as_admin.get(f"/api/jobs/{job.id}", params={"at": rfc3339(time)})

    for recorded in history:
        last_by_then = max(other.seq for other in history if other.at <= recorded.at)
        assert (await at(recorded.at)).json()["job"]["seq"] == last_by_then
    assert (await at(history[-1].at + timedelta(days=365))).json()["job"]["seq"] == 3
    assert (await at(history[0].at - timedelta(microseconds=1))).status_code == 404


async def test_an_invalid_past_moment_is_refused(service: Service) -> None:
    job = await service.job_of(service.admin)
    cases = {
        "seq=0": (400, ["seq"]),
        "seq=-1": (400, ["seq"]),
        "seq=one": (400, ["seq"]),
        "seq=2": (404, []),
        "seq=99999999999": (404, []),
        "seq=1&at=2026-11-23T09:00:00Z": (400, ["seq", "at"]),
        "at=2000-01-01T00:00:00Z": (404, []),
        "at=": (400, ["at"]),
    }

    told = {}
    for query in cases:
        answer = await service.as_admin.get(f"/api/jobs/{job.id}?{query}")
        told[query] = (answer.status_code, [error["path"] for error in answer.json().get("errors", [])])

    assert told == cases


async def test_the_history_names_the_actor_of_each_event(service: Service) -> None:
    job = await service.run(await service.job_of(service.employee, payload={"a": 1}), started())
    await service.as_admin.post(f"/api/jobs/{job.id}/cancel")

    events = (await service.as_employee.get(f"/api/jobs/{job.id}/events")).json()["events"]

    assert [(event["seq"], event["type"], event["actor"], event["attempt"]) for event in events] == [
        (1, "queued", "system:test", 1),
        (2, "started", "worker:w1", 1),
        (3, "canceled", f"user:{service.admin.id}", 1),
    ]
    assert events[0]["jobId"] == job.id
    assert events[0]["data"]["payload"] == {"a": 1}
    assert events[2]["data"] == {"reason": "canceled by an admin"}


async def test_a_job_is_canceled_by_its_owner_once(service: Service) -> None:
    job = await service.job_of(service.employee)

    first = await service.as_employee.post(f"/api/jobs/{job.id}/cancel")
    second = await service.as_employee.post(f"/api/jobs/{job.id}/cancel")

    assert first.status_code == 200
    assert first.json()["job"]["status"] == "canceled"
    assert (second.status_code, second.json()["detail"]) == (409, "Cannot cancel this job: it is canceled.")
    assert len(await service.context.store.history.events(job.id)) == 2


async def test_one_of_many_simultaneous_cancels_succeeds(service: Service) -> None:
    job = await service.job_of(service.employee)

    answers = await asyncio.gather(*(service.as_employee.post(f"/api/jobs/{job.id}/cancel") for _ in range(10)))

    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 9


async def test_a_canceled_job_is_retried_with_one_attempt_more(service: Service) -> None:
    job = await service.run(await service.job_of(service.employee, "summary_draft"), lambda job: cancel(job, reason="x"))

    answer = await service.as_employee.post(f"/api/jobs/{job.id}/retry")

    assert answer.status_code == 200
    again = answer.json()["job"]
    assert (again["status"], again["attempt"], again["maxAttempts"]) == ("queued", 2, 6)
    assert [claim.id for claim in await service.context.wire.claim(capacity_for(9, job.type))] == [(job.id, 2)]
    assert (await service.as_employee.post(f"/api/jobs/{job.id}/retry")).status_code == 409


async def test_a_completed_job_cannot_be_canceled_or_retried(service: Service) -> None:
    job = await service.run(await service.job_of(service.employee, "summary_draft"), started(), completed({}))

    for action in ("cancel", "retry"):
        assert (await service.as_employee.post(f"/api/jobs/{job.id}/{action}")).status_code == 409


async def test_a_retry_sent_twice_with_one_key_is_one_retry(service: Service) -> None:
    job = await service.run(await service.job_of(service.employee, "summary_draft"), lambda job: cancel(job, reason="x"))
    key = {"Idempotency-Key": "once"}

    first = await service.as_employee.post(f"/api/jobs/{job.id}/retry", headers=key)
    again = await service.as_employee.post(f"/api/jobs/{job.id}/retry", headers=key)

    assert (first.status_code, again.status_code) == (200, 200)
    assert again.json() == first.json()
    assert len(await service.context.store.history.events(job.id)) == 3


@pytest.mark.parametrize(
    ("statement", "fault"), [("insert into idempotency_keys", Fault.CUT_BEFORE), ("manual_retry", Fault.CUT_AFTER)]
)
async def test_a_retry_whose_connection_breaks_is_one_retry_when_it_is_sent_again(
    service: Service, database_url: str, bus: Bus, statement: str, fault: Fault
) -> None:
    job = await service.run(await service.job_of(service.employee, "summary_draft"), lambda job: cancel(job, reason="x"))
    key = {"Idempotency-Key": "once"}
    async with proxy_before(database_url) as proxy, contextlib.AsyncExitStack() as stack:
        far = Database(proxy.url)
        await far.connect()
        stack.push_async_callback(far.disconnect)
        store = Store(far, bus)
        await store.start()
        stack.push_async_callback(store.stop)
        url = await stack.enter_async_context(serving(make_context(far, bus, store)))
        client = await stack.enter_async_context(http_client(url, headers=service.as_employee.headers))
        proxy.once(statement, fault)

        await client.post(f"/api/jobs/{job.id}/retry", headers=key)
        again = await client.post(f"/api/jobs/{job.id}/retry", headers=key)

        assert proxy.faults_met == [fault]
    assert (again.status_code, again.json()["job"]["seq"]) == (200, 3)
    assert len(await service.context.store.history.events(job.id)) == 3


async def test_simultaneous_retries_with_one_key_get_the_same_answer(service: Service) -> None:
    job = await service.run(await service.job_of(service.employee, "summary_draft"), lambda job: cancel(job, reason="x"))
    key = {"Idempotency-Key": "once"}

    answers = await asyncio.gather(*(service.as_employee.post(f"/api/jobs/{job.id}/retry", headers=key) for _ in range(10)))

    assert [answer.status_code for answer in answers] == [200] * 10
    assert {answer.json()["job"]["seq"] for answer in answers} == {3}


async def test_a_key_of_one_retry_is_refused_for_another_job(service: Service) -> None:
    one, other = [
        await service.run(await service.job_of(service.employee, "summary_draft"), lambda job: cancel(job, reason="x"))
        for _ in range(2)
    ]
    key = {"Idempotency-Key": "once"}
    await service.as_employee.post(f"/api/jobs/{one.id}/retry", headers=key)

    answer = await service.as_employee.post(f"/api/jobs/{other.id}/retry", headers=key)

    assert answer.status_code == 422
    assert len(await service.context.store.history.events(other.id)) == 2


async def test_prefer_wait_holds_the_response_until_the_job_has_ended(service: Service) -> None:
    job = await service.run(await service.job_of(service.employee, "summary_draft"), lambda job: cancel(job, reason="x"))

    held = asyncio.create_task(service.as_employee.post(f"/api/jobs/{job.id}/retry", headers={"Prefer": "wait=30"}))
    await watched(service, 1)
    job = await service.context.jobs.get(job.id) or job
    await service.run(job, started(2), lambda job: complete(job, attempt=2, worker="w1", result={"n": 2}))
    answer = await asyncio.wait_for(held, 5)

    assert answer.headers["preference-applied"] == "wait=30"
    assert answer.json()["job"]["result"] == {"n": 2}
    assert service.context.job_watches.watchers == 0


async def test_prefer_wait_holds_the_response_no_longer_than_asked(service: Service) -> None:
    job = await service.run(await service.job_of(service.employee, "summary_draft"), lambda job: cancel(job, reason="x"))

    began = time.monotonic()
    answer = await service.as_employee.post(f"/api/jobs/{job.id}/retry", headers={"Prefer": "respond-async, wait=1"})

    assert 0.9 < time.monotonic() - began < 5
    assert answer.json()["job"]["status"] == "queued"


async def test_a_disconnect_ends_the_watch_of_a_held_response(service: Service) -> None:
    job = await service.run(await service.job_of(service.employee, "summary_draft"), lambda job: cancel(job, reason="x"))

    held = asyncio.create_task(service.as_employee.post(f"/api/jobs/{job.id}/retry", headers={"Prefer": "wait=60"}))
    await watched(service, 1)
    held.cancel()

    await watched(service, 0)


@pytest.mark.parametrize(
    ("prefer", "seconds"),
    [
        (["wait=10"], 10),
        (['respond-async, WAIT="7"; x=y'], 7),
        (["handling=lenient", "wait=3"], 3),
        (["wait=3600"], 60),
        (["wait=" + "9" * 5000], 60),
        (["wait=000000000000000000000005"], 5),
        (["wait = 8 , handling=strict"], 8),
        (['note="a, wait=5"', "wait=4"], 4),
        (['note="say \\", wait=5"'], None),
        (["wait=2, wait=9"], 2),
        (['wait="6"'], 6),
        (['wait=2, note="never ends'], 2),
        (["a" + " " * 60_000 + '"'], None),
        (["a= " * 20_000 + ", wait=1"], 1),
        (["wait"], None),
        (["wait=-1"], None),
        (["wait=soon"], None),
        (["await=5"], None),
        ([], None),
    ],
)
def test_a_preference_is_read_or_ignored(prefer: list[str], seconds: int | None) -> None:
    headers = [(b"prefer", value.encode()) for value in prefer]

    assert preferred_wait(Request({"type": "http", "headers": headers})) == seconds


async def test_only_admins_read_the_whole_log_and_they_read_it_in_order(service: Service) -> None:
    job = await service.run(await service.job_of(service.admin), started(), completed({}))
    await service.job_of(None)

    whole = await whole_log(service, 4)
    rest = (await service.as_admin.get("/api/events?after=1&limit=2")).json()["events"]
    lines = await service.as_admin.get("/api/events?after=2", headers={"Accept": "application/x-ndjson"})

    assert [event["position"] for event in whole] == [1, 2, 3, 4]
    assert [event["seq"] for event in whole if event["jobId"] == job.id] == [1, 2, 3]
    assert rest == whole[1:3]
    assert lines.headers["content-type"].startswith("application/x-ndjson")
    assert [orjson.loads(line) for line in lines.text.splitlines()] == whole[2:]
    assert (await service.as_admin.get("/api/events?limit=1001")).status_code == 422


async def test_metrics_may_be_read_from_this_machine_or_with_the_token(service: Service) -> None:
    await service.job_of(None)
    context = make_context(service.context.database, service.context.bus, service.context.store, metrics_token="let me in")

    async with serving(context) as url, http_client(url) as client:
        near = await client.get("/metrics")
        far = await client.get("/metrics", headers={"X-Forwarded-For": "192.0.2.1"})
        beyond = await client.get("/metrics", headers={"Forwarded": "for=192.0.2.1"})
        wrong = await client.get("/metrics", headers={"X-Forwarded-For": "192.0.2.1", "Authorization": "Bearer x"})
        right = await client.get("/metrics", headers={"X-Forwarded-For": "192.0.2.1", "Authorization": "Bearer let me in"})

    assert [answer.status_code for answer in (near, far, beyond, wrong, right)] == [200, 403, 403, 403, 200]
    assert 'rireki_jobs{status="queued",type="chatwork_rooms_sync"} 1.0' in near.text
    assert 'rireki_http_requests_total{method="GET",route="/metrics",status="403"}' in right.text


async def test_unknown_methods_add_no_labels_to_the_metrics(service: Service) -> None:
    for method in ("PUT", "LOCK", "REPORT"):
        assert (await service.as_nobody.request(method, "/api/jobs")).status_code == 405
        assert (await service.as_nobody.request(method, "/nowhere")).status_code == 404

    lines = (await service.as_nobody.get("/metrics")).text.splitlines()

    counted = [line for line in lines if line.startswith("rireki_http_requests_total{") and 'method="GET"' not in line]
    assert sorted(counted) == [
        'rireki_http_requests_total{method="other",route="/api/jobs",status="405"} 3.0',
        'rireki_http_requests_total{method="other",route="none",status="404"} 3.0',
    ]


async def whole_log(service: Service, events: int) -> list[dict[str, Any]]:
    """Waits until the log has this many events, and returns them.

    A transaction in another database of the same server may delay their positions.
    """
    give_up = time.monotonic() + 10
    while len(log := (await service.as_admin.get("/api/events")).json()["events"]) < events:
        assert time.monotonic() < give_up
        await asyncio.sleep(0.02)
    return list(log)


async def watched(service: Service, watchers: int) -> None:
    give_up = time.monotonic() + 5
    while service.context.job_watches.watchers != watchers:
        assert time.monotonic() < give_up
        await asyncio.sleep(0.01)
