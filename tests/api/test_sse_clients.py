"""Both streams can be read by other clients: httpx-sse, the HTML standard, splitlines."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any, cast

import httpx
import orjson
import pytest
from httpx_sse import EventSource, ServerSentEvent

from events.job import Job, complete, progress, start
from service.api import job_streams as stream
from service.live import changes_feed as feed
from service.live.server_sent_events import server_sent_event
from tests.job_types import until
from tests.service_fixture import Service, service

__all__ = ["service"]

ALL_JOBS = "/api/jobs/stream"
LINE_ENDS = "a\u2028b\u2029c\u0085d\x0be\x0cf\x1cg\r\nh"


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes streams send heartbeats and positions many times a second."""
    monkeypatch.setattr(stream, "CHECK_EVERY", 0.02)
    monkeypatch.setattr(stream, "QUIET", 0.02)
    monkeypatch.setattr(feed, "LOOK_EVERY", 0.1)
    monkeypatch.setattr(feed, "IDLE_LOOKS", 2)


class Heard:
    """A response that keeps its text while `httpx-sse` reads it."""

    def __init__(self, response: httpx.Response) -> None:
        self.headers = response.headers
        self.text = ""
        self._response = response

    async def aiter_text(self) -> AsyncIterator[str]:
        async for text in self._response.aiter_text():
            self.text += text
            yield text

    @property
    def signs_of_life(self) -> int:
        return self.text.count(": still here")


class Reader:
    """Reads a stream with `httpx-sse` in the background."""

    def __init__(self, response: httpx.Response) -> None:
        self.heard = Heard(response)
        self.events: list[ServerSentEvent] = []
        self.reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async for event in EventSource(cast(httpx.Response, self.heard)).aiter_sse():
            self.events.append(event)

    def named(self, name: str) -> list[ServerSentEvent]:
        return [event for event in self.events if event.event == name]


@contextlib.asynccontextmanager
async def read(service: Service, address: str, last: str = "") -> AsyncIterator[Reader]:
    headers = {
        "Accept": "text/event-stream",
        "Authorization": f"Bearer {service.context.users.new_token(service.employee)}",
    } | ({"Last-Event-ID": last} if last else {})
    async with httpx.AsyncClient(base_url=service.url) as client, client.stream("GET", address, headers=headers) as answer:
        reader = Reader(answer)
        try:
            yield reader
        finally:
            reader.reading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await reader.reading


def started(job: Job) -> Any:
    return start(job, attempt=job.attempt, worker="w1")


def reported(job: Job) -> Any:
    return progress(job, attempt=job.attempt, worker="w1", result={"said": LINE_ENDS})


def completed(job: Job) -> Any:
    return complete(job, attempt=job.attempt, worker="w1", result={})


def by_the_standard(text: str) -> tuple[list[tuple[str, str, str]], str]:
    """Parses a stream by the HTML standard (9.2.6).

    Returns the events (name, data, id) and the last id.
    """
    name = event_id = last = ""
    data: list[str] = []
    events = []
    for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n")[:-1]:
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if line == "":
            last = event_id
            if data:
                events.append((name or "message", "\n".join(data), last))
            name, data = "", []
        elif field == "event":
            name = value
        elif field == "data":
            data.append(value)
        elif field == "id" and "\0" not in value:
            event_id = value
    return events, last


async def test_httpx_sse_gets_only_the_events_of_a_jobs_stream(service: Service) -> None:
    job = await service.run(await service.job_of(service.employee), started)

    async with read(service, f"/api/jobs/{job.id}/events") as reader:
        await until(lambda: len(reader.events) >= 2 and reader.heard.signs_of_life >= 2)
        job = await service.run(job, reported)
        await until(lambda: len(reader.events) >= 3)
        before = reader.heard.signs_of_life
        await until(lambda: reader.heard.signs_of_life >= before + 2)
        await service.run(job, completed)
        await asyncio.wait_for(reader.reading, 10)

    assert [(event.event, event.id, event.json()["seq"]) for event in reader.events] == [
        ("message", str(seq), seq) for seq in (1, 2, 3, 4)
    ]
    assert [event.retry for event in reader.events] == [2000, None, None, None]


async def test_httpx_sse_gets_only_the_rest_of_a_resumed_jobs_stream(service: Service) -> None:
    job = await service.run(await service.job_of(service.employee), started)

    async with read(service, f"/api/jobs/{job.id}/events", "2") as reader:
        await until(lambda: reader.heard.signs_of_life >= 2)
        await service.run(job, completed)
        await asyncio.wait_for(reader.reading, 10)

    assert [(event.id, event.retry, event.json()["type"]) for event in reader.events] == [("3", 2000, "completed")]


async def test_httpx_sse_gets_no_event_without_data_from_the_stream_of_changes(service: Service) -> None:
    async with read(service, ALL_JOBS) as reader:
        await until(lambda: reader.heard.signs_of_life >= 2)
        job = await service.run(await service.job_of(service.employee), started)
        await until(lambda: len(reader.named("position")) >= 3 and len(reader.named("change")) >= 2)
        before = reader.heard.signs_of_life
        await until(lambda: reader.heard.signs_of_life >= before + 2)
        job = await service.run(job, completed)
        await until(lambda: len(reader.named("change")) >= 3)

    assert [(event.json()["jobId"], event.json()["seq"]) for event in reader.named("change")] == [
        (job.id, seq) for seq in (1, 2, 3)
    ]
    assert {event.event for event in reader.events} == {"change", "position"}
    assert all(event.json() == {} for event in reader.named("position"))
    assert reader.events[0].retry == 2000


async def test_httpx_sse_resumes_the_stream_of_changes(service: Service) -> None:
    job = await service.run(await service.job_of(service.employee), started)
    async with read(service, ALL_JOBS) as reader:
        await until(lambda: [event.id for event in reader.events][-1:] == ["2"])
    job = await service.run(job, reported, completed)

    async with read(service, ALL_JOBS, reader.events[-1].id) as resumed:
        await until(lambda: len(resumed.named("change")) >= 2)

    assert [event.json()["seq"] for event in resumed.named("change")] == [3, 4]


@pytest.mark.parametrize("of_all", [False, True])
async def test_a_standard_reader_gets_the_same_events_and_the_same_last_id(service: Service, of_all: bool) -> None:
    job = await service.run(await service.job_of(service.employee), started)

    async with read(service, ALL_JOBS if of_all else f"/api/jobs/{job.id}/events", "0") as reader:
        await until(lambda: len(reader.events) >= 2 and reader.heard.signs_of_life >= 2)
        await service.run(job, reported, completed)
        await until(lambda: len(reader.named("change" if of_all else "message")) >= 4 and reader.events[-1].id == "4")

    events, last = by_the_standard(reader.heard.text)
    assert events == [(event.event, event.data, event.id) for event in reader.events]
    assert last == "4"


async def test_data_stays_one_line_for_clients_that_use_splitlines(service: Service) -> None:
    job = await service.run(await service.job_of(service.employee), started, reported, completed)

    text = (await service.as_employee.get(f"/api/jobs/{job.id}/events", headers={"Accept": "text/event-stream"})).text

    data = [orjson.loads(line.removeprefix("data: ")) for line in text.splitlines() if line.startswith("data: ")]
    assert [event["seq"] for event in data] == [1, 2, 3, 4]
    assert data[2]["data"]["result"] == {"said": LINE_ENDS}


def test_every_event_has_data() -> None:
    assert server_sent_event(b"{}") == b"data: {}\n\n"
    assert server_sent_event(b"{}", event_id=7) == b"id: 7\ndata: {}\n\n"
    assert server_sent_event(b"{}", event_id=7, name=b"position") == b"event: position\nid: 7\ndata: {}\n\n"
