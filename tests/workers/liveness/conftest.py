"""The fixtures of this folder: an empty Redis, a wire in the process, and a short lease."""

from collections.abc import Iterator

import pytest
from redis.asyncio import Redis
from structlog.testing import capture_logs

from tests.workers.liveness.rescues import HEARTBEAT, LEASE
from workers.attempt import attempt
from workers.delivery import tick
from workers.delivery.wire import LocalWire
from workers.liveness import heartbeat


@pytest.fixture(autouse=True)
def _quick_reactions(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(attempt, "PATIENCE", 0.2)
    monkeypatch.setattr(tick, "TICK", 0.1)
    monkeypatch.setattr(heartbeat, "HEARTBEAT", HEARTBEAT)
    monkeypatch.setattr(heartbeat, "LEASE", LEASE)
    with capture_logs():
        yield


@pytest.fixture
def wire() -> LocalWire:
    return LocalWire()


@pytest.fixture
async def redis(redis_url: str) -> str:
    async with Redis.from_url(redis_url) as client:
        await client.flushdb()
    return redis_url
