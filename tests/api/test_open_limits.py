"""LIMIT_STREAMS and LIMIT_HELD_ANSWERS: the responses that one person holds open."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx2 as httpx
import pytest
from redis.asyncio import Redis

from events.job import Status, cancel
from service.limits import leases
from service.limits.leases import Leases
from service.limits.over_limit import OverLimit
from service.limits.shared_counts import PREFIX, SharedCounts
from tests.api.limited import limited, refusals
from tests.servers import RedisServer
from tests.service_fixture import Service, service

__all__ = ["service"]

DRAFT = "summary_draft"  # a type that an employee may retry
STREAM = "/api/jobs/stream"
EVENTS = {"Accept": "text/event-stream"}


class Process:
    """The open streams of one process."""

    def __init__(self, most: int, shared: SharedCounts) -> None:
        self.streams = Leases("LIMIT_STREAMS", "streams", most, shared)
        self._open = contextlib.AsyncExitStack()

    async def opened(self, streams: int) -> int:
        """Tries to open this many streams. Returns how many are accepted."""
        accepted = 0
        for _ in range(streams):
            with contextlib.suppress(OverLimit):
                await self._open.enter_async_context(self.streams.held("a"))
                accepted += 1
        return accepted

    async def close(self) -> None:
        await self._open.aclose()


Start = Callable[..., Awaitable[Process]]


@pytest.fixture
async def start(redis_server: RedisServer) -> AsyncIterator[Start]:
    """Returns a function that starts a process with this limit."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(most: int) -> Process:
            shared = SharedCounts(redis_server.url)
            stack.push_async_callback(shared.close)
            process = Process(most, shared)
            await stack.enter_async_context(process.streams.running())
            stack.push_async_callback(process.close)
            return process

        yield start


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(20):
        while not await holds():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_one_stream_too_many_is_refused_until_another_is_closed(service: Service) -> None:
    job = await service.job_of(service.employee)
    async with limited(service, limit_streams="2") as api, contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(api.as_employee.stream("GET", STREAM))
        async with api.as_employee.stream("GET", f"/api/jobs/{job.id}/events", headers=EVENTS) as second:
            refused = await api.as_employee.get(STREAM)
            others = await stack.enter_async_context(api.as_other.stream("GET", STREAM))
            history = await api.as_employee.get(f"/api/jobs/{job.id}/events")

        async def is_free() -> bool:
            async with api.as_employee.stream("GET", STREAM) as again:
                return again.status_code == 200

        await until(is_free)
        counted = await refusals(api)

    assert (second.status_code, others.status_code, history.status_code) == (200, 200, 200)
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "5")
    assert refused.json()["detail"] == "LIMIT_STREAMS allows one person at most 2 open streams. Close one, then try again."
    assert counted["LIMIT_STREAMS"] >= 1


async def test_a_held_answer_too_many_is_answered_at_once(service: Service) -> None:
    jobs = [await service.run(await service.job_of(service.employee, DRAFT), canceled) for _ in range(3)]
    async with limited(service, limit_held_answers="2") as api:

        async def retry(number: int) -> httpx.Response:
            return await api.as_employee.post(f"/api/jobs/{jobs[number].id}/retry", headers={"Prefer": "wait=60"})

        held = [asyncio.create_task(retry(number)) for number in range(2)]
        await until(lambda: _all_watched(api, 2))
        began = time.monotonic()
        at_once = await retry(2)
        took = time.monotonic() - began
        for job in jobs[:2]:
            await service.context.store.append(job.id, canceled, actor="system:test")
        ended = [await each for each in held]
        counted = await refusals(api)

    assert at_once.status_code == 200
    assert at_once.json()["job"]["status"] == Status.QUEUED
    assert "preference-applied" not in at_once.headers
    assert took < 20
    assert [(answer.json()["job"]["status"], answer.headers["preference-applied"]) for answer in ended] == [
        (Status.CANCELED, "wait=60")
    ] * 2
    assert counted == {"LIMIT_HELD_ANSWERS": 1}


async def _all_watched(api: Service, number: int) -> bool:
    return api.context.job_watches.watchers == number


def canceled(job: Any) -> Any:
    return cancel(job, reason="x")


async def test_two_processes_together_hold_exactly_the_limit(start: Start) -> None:
    one, other = await start(10), await start(10)

    accepted = await asyncio.gather(one.opened(8), other.opened(8))

    assert sum(accepted) == 10


async def test_a_closed_stream_is_free_in_every_process(start: Start) -> None:
    one, other = await start(3), await start(3)
    assert await one.opened(3) == 3
    assert await other.opened(1) == 0

    await one.close()

    async def is_free() -> bool:
        return await other.opened(1) == 1

    await until(is_free)
    assert await other.opened(5) == 2


async def test_a_dead_process_loses_its_streams_and_a_living_one_keeps_them(
    redis_server: RedisServer, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.limits.shared_counts.LEASE", 1.0)
    monkeypatch.setattr(leases, "RENEW_EVERY", 0.1)
    living, other = await start(4), await start(4)
    assert await living.opened(1) == 1
    shared = SharedCounts(redis_server.url)
    assert await Process(4, shared).opened(3) == 3  # nothing renews these leases
    await shared.close()
    assert await other.opened(1) == 0

    async def is_free() -> bool:
        return await other.opened(1) == 1

    await until(is_free)
    assert await other.opened(9) == 2


async def test_without_redis_each_process_counts_alone(start: Start, redis_server: RedisServer) -> None:
    one, other = await start(3), await start(3)
    assert await one.opened(2) == 2
    redis_server.kill()

    assert (await one.opened(2), await other.opened(5)) == (1, 3)


async def test_a_redis_that_comes_back_learns_of_every_open_stream(
    start: Start, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "RENEW_EVERY", 0.1)
    monkeypatch.setattr("service.limits.shared_counts.REDIS_RESTS", 0.1)
    one, other = await start(3), await start(3)
    assert await one.opened(1) == 1
    redis_server.kill()
    assert (await one.opened(2), await other.opened(2)) == (2, 2)
    redis_server.start()

    async def is_known() -> bool:
        return await other.opened(1) == 0

    await until(is_known)


@pytest.mark.parametrize(
    "fields",
    [
        {"x": "many"},
        {"x": "20"},
        {"x": "-5:9999999999999"},
        {"x": "3:" + "9" * 300},
        {"x": "3:99999999999999"},
        {"x": "9999:{soon}"},
        {"x": "3:1"},
        {str(number): "1:{soon}" for number in range(4000)},
    ],
    ids=lambda fields: next(iter(fields.values()))[:20],
)
async def test_what_a_stranger_writes_into_the_leases_lifts_no_limit_and_blocks_nobody(
    start: Start, redis: Redis, fields: dict[str, str]
) -> None:
    soon = str(int(time.time() * 1000) + 10_000)
    await redis.hset(f"{PREFIX}:streams:a", mapping={name: value.replace("{soon}", soon) for name, value in fields.items()})  # type: ignore[misc]
    one, other = await start(3), await start(3)

    assert await one.opened(2) + await other.opened(3) == 3


async def test_a_key_of_another_kind_is_survived(start: Start, redis: Redis) -> None:
    await redis.set(f"{PREFIX}:streams:a", b"\xff\0")

    assert await (await start(3)).opened(5) == 3
