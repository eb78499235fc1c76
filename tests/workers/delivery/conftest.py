"""The fixtures of this folder: an empty Redis, both kinds of wire, and short waits."""

from collections.abc import AsyncIterator, Iterator

import pytest
from redis.asyncio import Redis

from tests.short_waits import short_waits
from workers.delivery import tick
from workers.delivery.redis_wire import RedisWire
from workers.delivery.wire import LocalWire, Wire


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(tick, "DELIVER_AGAIN", 0.3)
    with short_waits(monkeypatch):
        yield


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    """Empties Redis and yields a client of it."""
    client: Redis = Redis.from_url(redis_url)
    await client.flushdb()
    yield client
    await client.aclose()


@pytest.fixture
async def over_redis(redis: Redis, redis_url: str) -> AsyncIterator[RedisWire]:
    wire = RedisWire(redis_url)
    await wire.start()
    yield wire
    await wire.stop()


@pytest.fixture(params=["inside the process", "over Redis"])
async def wire(request: pytest.FixtureRequest) -> AsyncIterator[Wire]:
    if request.param == "inside the process":
        yield LocalWire()
        return
    url = request.getfixturevalue("redis_url")
    async with Redis.from_url(url) as client:
        await client.flushdb()
    wire = RedisWire(url)
    await wire.start()
    yield wire
    await wire.stop()
