"""The bus announces changes to other processes over Redis, also after an outage."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from structlog.testing import capture_logs

from events import bus as module
from events.bus import Bus, Change, RedisBus
from tests.job_types import until
from tests.servers import RedisServer

CHANGE = Change("01a20a6a-ab4e-7283-a269-a03f99e2fa06", 3, 1, "canceled", "quick", None)


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with capture_logs():
        yield


@asynccontextmanager
async def two_processes(url: str) -> AsyncIterator[tuple[RedisBus, RedisBus, list[Change]]]:
    """Yields a bus that announces, and the changes that a bus of another process receives."""
    here, there = RedisBus(url), RedisBus(url)
    heard: list[Change] = []
    there.listen(heard.append)
    await here.start()
    await there.start()
    yield here, there, heard
    for bus in (here, there):
        await asyncio.wait_for(bus.stop(), 5)


async def until_heard(speaker: Bus, heard: list[Change], change: Change, *, within: float = 20.0) -> None:
    """Announces the change until it arrives, because a single announcement may be lost."""

    def is_heard() -> bool:
        speaker.announce([change])
        return change in heard

    await until(is_heard, within=within)


def test_a_listener_gets_every_change_of_its_process_until_it_stops() -> None:
    bus = Bus()
    heard: list[Change] = []
    stop = bus.listen(heard.append)

    bus.announce([CHANGE, CHANGE._replace(seq=4)])
    stop()
    bus.announce([CHANGE._replace(seq=5)])

    assert [change.seq for change in heard] == [3, 4]


def test_a_listener_may_unsubscribe_while_it_handles_a_change() -> None:
    bus = Bus()
    heard: list[Change] = []
    stops = [bus.listen(lambda _: stops[0]()), bus.listen(heard.append)]

    bus.announce([CHANGE])

    assert heard == [CHANGE]


async def test_another_process_gets_the_same_change_that_was_announced(redis_url: str) -> None:
    async with two_processes(redis_url) as (here, _, heard):
        changes = [CHANGE, CHANGE._replace(seq=4, user_id="01a20a6a-ab4e-7283-a269-a03f99e2fa07")]

        here.announce(iter(changes))

        await until(lambda: len([change for change in heard if change.job_id == CHANGE.job_id]) >= 2)
        assert [change for change in heard if change.job_id == CHANGE.job_id] == changes


async def test_a_process_gets_its_own_changes_at_once_without_redis() -> None:
    bus = RedisBus("redis://127.0.0.1:1/0")
    heard: list[Change] = []
    bus.listen(heard.append)

    bus.announce([CHANGE])

    assert heard == [CHANGE]
    assert not bus.connected


async def test_announcing_never_raises_when_the_queue_to_redis_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_WAITING", 3)
    bus = RedisBus("redis://127.0.0.1:1/0")

    for _ in range(10):
        bus.announce([CHANGE])


@pytest.mark.parametrize("how", ["killed", "stopped"])
async def test_changes_arrive_again_after_redis_was_restarted(redis_server: RedisServer, how: str) -> None:
    async with two_processes(redis_server.url) as (here, there, heard):
        await until_heard(here, heard, CHANGE)

        if how == "killed":
            redis_server.kill()
        else:
            redis_server.stop()
        await until(lambda: not there.connected)
        redis_server.start()

        await until_heard(here, heard, CHANGE._replace(seq=4))
        assert there.connected


async def test_a_bus_may_start_before_redis_does(redis_server: RedisServer) -> None:
    redis_server.stop()
    async with two_processes(redis_server.url) as (here, _, heard):
        redis_server.start()

        await until_heard(here, heard, CHANGE)


async def test_a_redis_that_hangs_is_noticed_and_changes_arrive_again_when_it_answers(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    get_message = PubSub.get_message

    async def impatient(self: PubSub, *args: Any, **options: Any) -> Any:
        return await get_message(self, *args, **(options | {"timeout": 0.1}))

    monkeypatch.setattr(PubSub, "get_message", impatient)
    async with two_processes(redis_server.url) as (here, there, heard):
        await until_heard(here, heard, CHANGE)

        redis_server.freeze()

        await until(lambda: not there.connected)
        redis_server.thaw()
        await until_heard(here, heard, CHANGE._replace(seq=4))


async def test_a_redis_without_messages_is_not_taken_for_one_that_hangs(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    get_message = PubSub.get_message
    silences = 0

    async def impatient(self: PubSub, *args: Any, **options: Any) -> Any:
        nonlocal silences
        message = await get_message(self, *args, **(options | {"timeout": 0.05}))
        silences += message is None
        return message

    monkeypatch.setattr(PubSub, "get_message", impatient)
    bus = RedisBus(redis_url)
    await bus.start()

    with capture_logs() as complaints:
        await until(lambda: silences > 10)

    assert bus.connected
    assert complaints == []
    await asyncio.wait_for(bus.stop(), 5)


@pytest.mark.parametrize(
    "message",
    [
        b"garbage",
        b"\xff",
        b"{}",
        b"17",
        b'{"from": "elsewhere", "changes": [["a job", 1]]}',
        b'{"from": "elsewhere", "changes": '
        b'[["01a20a6a-ab4e-7283-a269-a03f99e2fa06", 4, 1, "queued", "quick", null, "what a later version adds"]]}',
    ],
    ids=ascii,
)
async def test_a_malformed_message_does_not_end_the_subscription(redis_url: str, message: bytes) -> None:
    async with two_processes(redis_url) as (here, there, heard), Redis.from_url(redis_url) as stranger:
        await stranger.publish(module.CHANNEL, message)

        await until_heard(here, heard, CHANGE._replace(seq=5), within=3)
        assert there.connected


async def test_a_bus_stops_at_any_moment(redis_url: str) -> None:
    for moment in range(36):
        bus = RedisBus(redis_url)
        await bus.start()
        bus.announce([CHANGE])
        for _ in range(moment % 12):
            await asyncio.sleep(0)

        # On Python 3.11, `asyncio.wait_for` (used by redis-py to send) may swallow a cancellation.
        await asyncio.wait_for(bus.stop(), 5)
