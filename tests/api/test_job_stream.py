"""The event stream of one job sends all events in order, can be resumed, and ends in time."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx2 as httpx
import orjson
import pytest

from events.bus import Bus, Change
from events.job import NO_DELAY, Job, JobError, cancel, complete, fail, progress, retry, start
from projections.jobs import JobsView
from service.accounts.people import AccountChange, change_account
from service.accounts.users import Role
from service.api import job_streams
from service.live import job_watches as live
from service.live.job_watches import JobWatches
from tests.http_client import http_client
from tests.job_types import until
from tests.service_fixture import Service, service

__all__ = ["service"]

ERROR = JobError("ValueError", "no such room", "Traceback: line 1")
SSE = {"Accept": "text/event-stream"}


class Stream:
    """Reads a stream as a browser's EventSource does."""

    def __init__(self, answer: httpx.Response) -> None:
        self.answer = answer
        self._lines = answer.aiter_lines()

    async def next(self) -> tuple[int, Any] | None:
        """Reads the next event. Returns its id and data, or None at the end of the stream."""
        event_id = None
        async for line in self._lines:
            if line.startswith("id: "):
                event_id = int(line[4:])
            elif line.startswith("data: "):
                assert event_id is not None
                return event_id, orjson.loads(line[6:])
        return None

    async def rest(self) -> list[tuple[int, Any]]:
        events = []
        while (event := await asyncio.wait_for(self.next(), 10)) is not None:
            events.append(event)
        return events


@contextlib.asynccontextmanager
async def stream(client: httpx.AsyncClient, job: Job, last: int | None = None) -> AsyncIterator[Stream]:
    headers = SSE | ({} if last is None else {"Last-Event-ID": str(last)})
    async with client.stream("GET", f"/api/jobs/{job.id}/events", headers=headers) as answer:
        yield Stream(answer)


def started(job: Job) -> Any:
    return start(job, attempt=job.attempt, worker="w1")


def reported(job: Job) -> Any:
    return progress(job, attempt=job.attempt, worker="w1", result={"seq": job.seq + 1})


def completed(job: Job) -> Any:
    return complete(job, attempt=job.attempt, worker="w1", result={})


async def test_a_stream_begins_with_the_history_and_ends_with_the_job(service: Service) -> None:
    job = await service.run(await service.job_of(service.employee), started)

    async with stream(service.as_employee, job) as events:
        assert events.answer.headers["content-type"].startswith("text/event-stream")
        assert [await events.next(), await events.next()] == await told(service, job)
        await service.run(job, reported, completed)
        rest = await events.rest()

    assert rest == (await told(service, job))[2:]
    assert [data["type"] for _, data in rest] == ["progress", "completed"]


async def test_a_stream_resumes_after_the_last_received_event(service: Service) -> None:
    job = await service.run(await service.job_of(service.employee), started, reported, completed)

    async with stream(service.as_employee, job, last=2) as events:
        rest = await events.rest()

    assert [event_id for event_id, _ in rest] == [3, 4]


async def test_a_reconnect_after_the_last_event_gets_204(service: Service) -> None:
    job = await service.run(await service.job_of(service.employee), started, completed)

    answer = await asyncio.wait_for(
        service.as_employee.get(f"/api/jobs/{job.id}/events", headers=SSE | {"Last-Event-ID": "3"}), 5
    )

    assert (answer.status_code, answer.content) == (204, b"")


async def test_a_head_request_is_answered_without_waiting_for_events(service: Service) -> None:
    job = await service.job_of(service.employee)

    answer = await asyncio.wait_for(service.as_employee.head(f"/api/jobs/{job.id}/events", headers=SSE), 5)

    assert (answer.status_code, answer.content) == (200, b"")


async def test_an_id_that_was_never_sent_is_refused(service: Service) -> None:
    job = await service.job_of(service.employee)

    for event_id in ("2", "-1", "one", "9" * 30, "٣"):
        headers = [(b"Accept", b"text/event-stream"), (b"Last-Event-ID", event_id.encode())]
        answer = await service.as_employee.get(f"/api/jobs/{job.id}/events", headers=headers)

        assert answer.status_code == 400
        assert answer.json()["errors"][0]["path"] == "Last-Event-ID"


async def test_a_failure_with_a_retry_does_not_end_the_stream(service: Service) -> None:
    job = await service.run(await service.job_of(service.employee), started)

    async with stream(service.as_employee, job, last=2) as events:
        job = await service.run(job, lambda job: fail(job, attempt=1, worker="w1", error=ERROR, retry_in=NO_DELAY))
        assert [(await events.next() or (0, {}))[1]["type"] for _ in range(2)] == ["failed", "queued"]
        await service.run(job, started, completed)
        rest = await events.rest()

    assert [data["attempt"] for _, data in rest] == [2, 2]


async def test_a_job_that_was_retried_by_hand_is_streamed_again(service: Service) -> None:
    job = await service.run(await service.job_of(service.employee), lambda job: cancel(job, reason="x"), retry)

    async with stream(service.as_employee, job, last=2) as events:
        assert (await events.next() or (0, {}))[0] == 3


async def test_many_watchers_of_a_busy_job_get_every_event_once(service: Service) -> None:
    job = await service.job_of(service.employee)

    async def watch() -> list[int]:
        async with stream(service.as_employee, job) as events:
            return [event_id for event_id, _ in await events.rest()]

    watchers = [asyncio.create_task(watch()) for _ in range(20)]
    await service.run(job, started, *[reported] * 100, completed)

    assert await asyncio.gather(*watchers) == [list(range(1, 104))] * 20


async def test_an_employees_stream_holds_no_stack(service: Service) -> None:
    job = await service.run(
        await service.job_of(service.employee), started,
        lambda job: fail(job, attempt=1, worker="w1", error=ERROR, retry_in=None),
    )  # fmt: skip

    employees = await service.as_employee.get(f"/api/jobs/{job.id}/events", headers=SSE)
    admins = await service.as_admin.get(f"/api/jobs/{job.id}/events", headers=SSE)

    assert "no such room" in employees.text
    assert "stack" not in employees.text
    assert "Traceback" in admins.text


async def test_a_change_that_the_bus_lost_arrives_late(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    job = await service.job_of(service.employee)
    deaf = JobWatches(Bus(), JobsView(service.context.database), service.context.store)

    async with deaf.running():
        with deaf.watch(job.id) as watch:
            await service.run(job, started)
            began = time.monotonic()
            await watch.changed(10)

    assert watch.seq == 2
    assert time.monotonic() - began < live.LOOK_EVERY + 2


@pytest.mark.parametrize("told_by", ["the bus", "the log"])
async def test_a_forged_seq_on_the_bus_hides_no_later_event(service: Service, told_by: str) -> None:
    job = await service.job_of(service.employee)
    bus = service.context.bus if told_by == "the bus" else Bus()
    live_ = JobWatches(bus, JobsView(service.context.database), service.context.store)

    async with live_.running():
        with live_.watch(job.id) as watch:
            bus.announce([Change(job.id, 2**31 - 1, 1, "completed", job.type, None)])
            await watch.changed(10)
            await service.run(job, started)
            async with asyncio.timeout(10):
                while watch.seq != 2:
                    await watch.changed(10)


async def test_a_disconnected_client_is_no_longer_a_watcher(service: Service) -> None:
    job = await service.job_of(service.employee)

    async with stream(service.as_employee, job) as events:
        await events.next()
        assert service.context.job_watches.watchers == 1

    await until(lambda: service.context.job_watches.watchers == 0)


async def test_a_stream_ends_when_the_process_stops(service: Service) -> None:
    job = await service.job_of(service.employee)

    async with stream(service.as_employee, job) as events:
        await events.next()
        service.context.job_watches.close()

        assert await events.rest() == []


async def test_a_stream_ends_when_its_token_ends(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    job = await service.job_of(service.employee)
    token = service.context.users.new_token(service.employee)

    bearer = {"Authorization": f"Bearer {token}"}
    async with http_client(service.url, headers=bearer) as client, stream(client, job) as events:
        await events.next()
        await client.post("/api/auth/logout")
        await service.run(job, started)

        assert await events.rest() == []


async def test_a_stream_ends_when_the_role_of_its_reader_changes(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next stream has the rights of the new role: here, an employee gets no stack trace."""
    monkeypatch.setattr("service.accounts.users.FRESH", 0.0)
    job = await service.job_of(service.admin)

    async with stream(service.as_admin, job) as events:
        await events.next()
        await service.context.database.execute("update users set role = 'employee' where id = :id", {"id": service.admin.id})
        await service.run(job, started)

        assert await events.rest() == []


@pytest.mark.parametrize("change", [{"disabled": True}, {"signs_out": True}, {"role": Role.AUDITOR}])
async def test_a_quiet_stream_ends_soon_after_its_reader_lost_the_right_to_it(
    service: Service, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any]
) -> None:
    monkeypatch.setattr(job_streams, "CHECK_EVERY", 0.1)
    job = await service.job_of(service.employee)

    async with stream(service.as_employee, job) as events:
        await events.next()
        await change_account(service.context.database, service.employee.id, AccountChange(**change))

        assert await events.rest() == []


async def test_a_head_request_has_the_headers_of_the_stream(service: Service) -> None:
    job = await service.job_of(service.employee)

    for address in (f"/api/jobs/{job.id}/events", "/api/jobs/stream"):
        answer = await asyncio.wait_for(service.as_employee.head(address, headers=SSE), 5)

        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["x-accel-buffering"] == "no"


async def told(service: Service, job: Job) -> list[tuple[int, Any]]:
    history = (await service.as_employee.get(f"/api/jobs/{job.id}/events")).json()["events"]
    return [(event["seq"], event) for event in history]
