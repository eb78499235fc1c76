"""A stream with much to send sends it in short pieces.

So a client that reads nothing costs little memory.
"""

import asyncio
from typing import Any

import pytest

from events import history
from events.job import NO_DELAY, Job, JobError, complete, fail, progress, start
from projections.seal import seal_everything
from service.live import changes_feed
from service.live.changes_feed import MOST_AT_ONCE
from tests.api.test_changes_stream import changes, places
from tests.api.test_job_stream import completed, started, stream
from tests.service_fixture import Service, service

__all__ = ["service"]

MOST_IN_A_PIECE = 2 * MOST_AT_ONCE  # bytes; each of the two streams may go a little beyond its own limit


async def chunks_of(service: Service, path: str, last: int, until: bytes) -> list[bytes]:
    """Reads a stream until it has sent `until`. Returns the chunks in which it was sent."""
    token = service.context.users.new_token(service.admin)
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
    head = [f"GET {path} HTTP/1.1", "Host: a", f"Authorization: Bearer {token}", f"Last-Event-ID: {last}"]
    writer.write("\r\n".join([*head, "Accept: text/event-stream", "", ""]).encode())
    await reader.readuntil(b"\r\n\r\n")
    chunks: list[bytes] = []
    async with asyncio.timeout(30):
        while not chunks or until not in chunks[-1]:
            size = int(await reader.readuntil(b"\r\n"), 16)
            chunks.append((await reader.readexactly(size + 2))[:-2])
    writer.close()
    return chunks


async def with_progress(service: Service, events: int, size: int) -> Job:
    job = await service.run(await service.job_of(service.employee), started)
    for number in range(events):
        result = {"number": number, "text": "x" * size}
        job = await service.run(job, lambda job, result=result: progress(job, attempt=1, worker="w1", result=result))
    return job


async def test_a_long_history_is_sent_in_short_pieces(service: Service) -> None:
    job = await with_progress(service, 60, 2_000)

    chunks = await chunks_of(service, f"/api/jobs/{job.id}/events", 0, b'"number":59')

    assert b"".join(chunks).count(b"data: {") == 62
    assert max(map(len, chunks)) <= MOST_IN_A_PIECE


async def test_the_changes_that_a_resumed_stream_missed_are_sent_in_short_pieces(service: Service) -> None:
    for _ in range(4):
        await with_progress(service, 100, 10)
    await seal_everything(service.context.database)

    chunks = await chunks_of(service, "/api/jobs/stream", 1, b"event: position")

    assert b"".join(chunks).count(b"event: change") == 4 * 102 - 1
    assert max(map(len, chunks)) <= MOST_IN_A_PIECE


@pytest.mark.parametrize("most", [1, 2, 3, 5])
async def test_a_history_that_is_read_in_parts_is_sent_whole_and_ends(
    service: Service, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    """The last event of a part may be a failure that is retried. It does not end the job."""
    monkeypatch.setattr(history, "MOST_NEWS", most)
    job = await service.run(await service.job_of(service.employee), started, retried, started_again, completed_again)

    async with stream(service.as_employee, job) as events:
        sent = await events.rest()

    assert [(seq, data["type"]) for seq, data in sent] == [
        (1, "queued"), (2, "started"), (3, "failed"), (4, "queued"), (5, "started"), (6, "completed"),
    ]  # fmt: skip


async def test_parts_of_a_history_end_after_so_many_bytes(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "MOST_BYTES_OF_NEWS", 5_000)
    job = await with_progress(service, 6, 2_000)
    other = await service.job_of(service.employee)

    news = await service.context.store.history.news([(job.id, 2), (job.id, 5), (other.id, 0)])

    seqs = {place: ([event.seq for event in events], more) for place, (events, more) in news.items()}
    assert seqs == {(job.id, 2): ([3, 4, 5], True), (job.id, 5): ([6, 7, 8], True), (other.id, 0): ([1], False)}


async def test_a_larger_event_is_a_part_of_its_own(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "MOST_BYTES_OF_NEWS", 1_000)
    job = await service.run(await with_progress(service, 2, 3_000), completed)

    async with stream(service.as_employee, job) as events:
        sent = await events.rest()

    assert [seq for seq, _ in sent] == [1, 2, 3, 4, 5]


async def test_changes_without_a_position_are_sent_in_pieces_too(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes_feed, "REPLAYED_AT_ONCE", 2)
    monkeypatch.setattr(changes_feed, "LOOK_EVERY", 60)
    await seal_everything(service.context.database)
    async with changes(service.as_admin) as everything:
        job = await with_progress(service, 5, 10)
        await everything.some(7)

        async with changes(service.as_employee, 0) as resumed:
            assert await resumed.some(7) == places(job)


async def test_a_stream_with_too_many_changes_without_a_position_begins_anew(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes_feed, "MOST_REPLAYED", 3)
    monkeypatch.setattr(changes_feed, "LOOK_EVERY", 60)
    async with changes(service.as_admin) as everything:
        await with_progress(service, 5, 10)
        await everything.some(7)

        async with changes(service.as_employee, 0) as resumed:
            assert await resumed.next() == "reset"


def retried(job: Job) -> Any:
    return fail(job, attempt=1, worker="w1", error=JobError("E", "m"), retry_in=NO_DELAY)


def started_again(job: Job) -> Any:
    return start(job, attempt=2, worker="w1")


def completed_again(job: Job) -> Any:
    return complete(job, attempt=2, worker="w1", result={})
