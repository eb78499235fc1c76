"""The fixtures of this folder."""

import pytest
from redis.asyncio import Redis

from workers.delivery.wire import LocalWire


@pytest.fixture
def wire() -> LocalWire:
    return LocalWire()


@pytest.fixture
async def redis(redis_url: str) -> str:
    async with Redis.from_url(redis_url) as client:
        await client.flushdb()
    return redis_url
