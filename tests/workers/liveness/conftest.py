"""The fixtures of this folder: an empty Redis, a wire in the process, and a short lease."""

from collections.abc import Iterator

import pytest
from redis.asyncio import Redis

from tests.short_waits import short_waits
from tests.workers.liveness.rescues import HEARTBEAT, LEASE
from workers.delivery.wire import LocalWire
from workers.liveness import heartbeat


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(heartbeat, "LEASE", LEASE)
    with short_waits(monkeypatch, seconds_between_heartbeats=HEARTBEAT):
        yield


@pytest.fixture
def wire() -> LocalWire:
    return LocalWire()


@pytest.fixture
async def redis(redis_url: str) -> str:
    async with Redis.from_url(redis_url) as client:
        await client.flushdb()
    return redis_url
