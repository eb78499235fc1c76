"""LIMIT_REQUESTS: the requests of one person, in one process and in several."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable

import pytest
from redis.asyncio import Redis

from service.limit_values import Rate
from service.limits.over_limit import OverLimit
from service.limits.request_rate import RequestRate
from service.limits.shared_counts import PREFIX, SharedCounts
from service.limits.sliding_window import STEPS, SlidingWindow
from tests.api.limited import limited, refusals
from tests.servers import RedisServer
from tests.service_fixture import Service, service

__all__ = ["service"]

ME = "/api/auth/me"


class Process:
    """The count of one process, which shares it with others over Redis."""

    def __init__(self, most: int, seconds: int, shared: SharedCounts | None) -> None:
        self.refused = 0
        self.rate = RequestRate(Rate(most, seconds), shared)

    async def passed(self, requests: int, person: str = "a", *, times: int = 1) -> int:
        """Sends this many requests one after another. Returns how many passed."""
        passed = 0
        for _ in range(requests):
            try:
                await self.rate.count(person, times=times)
            except OverLimit:
                self.refused += 1
                continue
            passed += 1
        return passed


Start = Callable[..., Process]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Returns a function that makes a process from a limit, a window in seconds and a Redis."""
    opened: list[SharedCounts] = []

    def start(most: int, seconds: int = 60, redis_url: str | None = None) -> Process:
        if redis_url is None:
            return Process(most, seconds, None)
        opened.append(SharedCounts(redis_url))
        return Process(most, seconds, opened[-1])

    yield start
    for shared in opened:
        await shared.close()


async def test_a_person_over_the_limit_is_told_the_limit_and_when_to_try_again(service: Service) -> None:
    async with limited(service, limit_requests="3/minute") as api:
        answers = [await api.as_employee.get(ME) for _ in range(5)]
        others = await api.as_admin.get(ME)
        counted = await refusals(api)

    assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 429]
    refused = answers[-1]
    assert refused.headers["content-type"] == "application/problem+json"
    assert 55 <= int(refused.headers["retry-after"]) <= 61
    assert refused.json()["detail"] == (
        "LIMIT_REQUESTS allows one person at most 3 requests in any minute. "
        f"Try again in {refused.headers['retry-after']} seconds."
    )
    assert others.status_code == 200
    assert counted == {"LIMIT_REQUESTS": 2}


async def test_probes_the_page_and_sign_in_are_not_counted(service: Service) -> None:
    async with limited(service, limit_requests="1/hour") as api:
        await api.as_employee.get(ME)
        answers = [await api.as_employee.get(path) for path in ("/healthz", "/readyz", "/", "/api/openapi.json")]
        refused = await api.as_employee.get(ME)

    assert 429 not in [answer.status_code for answer in answers]
    assert refused.status_code == 429


async def test_a_person_over_the_limit_can_still_sign_out(service: Service) -> None:
    async with limited(service, limit_requests="1/hour") as api:
        await api.as_employee.get(ME)
        refused = await api.as_employee.get(ME)
        signed_out = await api.as_employee.post("/api/auth/logout")
        again = await api.as_employee.get(ME)

    assert refused.status_code == 429
    assert signed_out.status_code == 204
    assert again.status_code == 401


def test_the_window_slides_and_forgets_nothing_too_early() -> None:
    window = SlidingWindow(60)
    for second in (100.0, 130.0, 130.1):
        assert window.wait(second, 3) == 0
        window.add(second)

    wait = window.wait(150.0, 3)

    assert 10 <= wait <= 10 + 60 / STEPS
    assert window.wait(159.9, 3) > 0
    assert window.wait(150.0 + wait, 3) == 0
    window.add(150.0 + wait)
    assert 28 < window.wait(161.0, 3) <= 30.0


async def test_refused_requests_are_not_counted(start: Start) -> None:
    process = start(5, seconds=1)
    began = time.monotonic()
    passed = 0
    while time.monotonic() < began + 2.5:
        passed += await process.passed(1)
        await asyncio.sleep(0.01)

    assert 10 <= passed <= 15
    assert process.refused > 10


async def test_two_processes_together_let_exactly_the_limit_pass(redis_server: RedisServer, start: Start) -> None:
    one, other = start(20, redis_url=redis_server.url), start(20, redis_url=redis_server.url)

    first = await one.passed(12)
    rest = await asyncio.gather(*(process.passed(1) for process in (one, other) for _ in range(20)))

    assert first == 12
    assert sum(rest) == 8
    assert await other.passed(1, "b") == 1


async def test_a_person_far_from_the_limit_seldom_waits_for_redis(
    redis_server: RedisServer, redis: Redis, start: Start
) -> None:
    process = start(2000, redis_url=redis_server.url)

    passed = await process.passed(1500)

    assert passed == 1500
    assert (await redis.info("commandstats"))["cmdstat_evalsha"]["calls"] < 50


async def test_one_process_is_exact_and_each_further_one_exceeds_by_a_sixteenth_at_most(
    redis_server: RedisServer, start: Start
) -> None:
    most = 1000
    alone = start(most, redis_url=redis_server.url)
    assert sum(await asyncio.gather(*(alone.passed(300, "alone") for _ in range(5)))) == most
    three = [start(most, redis_url=redis_server.url) for _ in range(3)]
    first = sum([await process.passed(1) for process in three])

    rest = sum(await asyncio.gather(*(process.passed(500) for process in three for _ in range(3))))

    assert most <= first + rest <= most + 2 * most / 16


async def test_a_caller_with_a_multiple_of_the_limit_gets_that_much(start: Start) -> None:
    process = start(3)

    assert await process.passed(40, "key", times=10) == 30
    assert await process.passed(5, "person") == 3


async def test_without_redis_each_process_counts_alone_and_nothing_fails(service: Service, redis_server: RedisServer) -> None:
    async with limited(service, limit_requests="5/minute", redis_url=redis_server.url) as api:
        before = [(await api.as_employee.get(ME)).status_code for _ in range(2)]
        redis_server.kill()
        after = [(await api.as_employee.get(ME)).status_code for _ in range(5)]

    assert before == [200, 200]
    assert after == [200, 200, 200, 429, 429]


async def test_a_frozen_redis_delays_one_request_and_fails_none(redis_server: RedisServer, start: Start) -> None:
    process = start(50, redis_url=redis_server.url)
    await process.passed(1)
    redis_server.freeze()
    try:
        began = time.monotonic()
        passed = await process.passed(60)
        took = time.monotonic() - began
    finally:
        redis_server.thaw()

    assert passed == 49
    assert took < 5  # seconds; each request would wait for half a second


HOSTILE: dict[str, list[tuple[str, ...]]] = {
    "a string": [("set", "\xff\0")],
    "a list": [("rpush", "a", "b")],
    "names that are no numbers": [("hset", "x", "3"), ("hset", "1e9", "1"), ("hset", "-1", "1"), ("hset", "nan", "nan")],
    "a step of the far future": [("hset", "9" * 15, "20"), ("hset", "9" * 300, "20")],
    "counts that are no numbers": [("hset", "{now}", "many")],
    "negative counts": [("hset", "{now}", "-1000000")],
    "a count with a fraction": [("hset", "{now}", "1.5")],
    "a count beyond every number": [("hset", "{now}", "9" * 400)],
    "very many fields": [("hset", *(str(number) for number in range(4000)))],
}


@pytest.mark.parametrize("what", HOSTILE)
async def test_what_a_stranger_writes_into_the_count_lifts_no_limit_and_blocks_nobody(
    redis_server: RedisServer, redis: Redis, what: str, start: Start
) -> None:
    key, now = f"{PREFIX}:requests:60:a", str(int(time.time() * 1000 // 500))
    for command, *values in HOSTILE[what]:
        await redis.execute_command(command, key, *(value.replace("{now}", now) for value in values))  # type: ignore[no-untyped-call]
    one, other = start(20, redis_url=redis_server.url), start(20, redis_url=redis_server.url)

    assert await one.passed(10) + await other.passed(15) == 20


@pytest.mark.parametrize(
    "reply",
    [b"*3\r\n$1\r\nx\r\n$-1\r\n*0\r\n", b"*3\r\n:0\r\n:0\r\n:0\r\n", b"*3\r\n:-1\r\n:999999999999\r\n:-1\r\n", b"*0\r\n"],
    ids=["no numbers", "no room and no wait", "impossible numbers", "nothing"],
)
async def test_a_server_that_is_no_redis_is_survived(start: Start, reply: bytes) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(b"+OK\r\n" * data.count(b"SETINFO") + reply * data.count(b"EVALSHA"))

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    process = start(5, redis_url=f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0")

    async with asyncio.timeout(20):
        assert await process.passed(8) == 5
    server.close()
