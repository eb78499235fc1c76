"""Reads the keys in Redis, for waits and assertions."""

from redis.asyncio import Redis

NEVER = 1_000.0  # seconds, longer than any test


async def _queued(redis: Redis, entries: int) -> bool:
    return sum([int(await redis.zcard(queue)) async for queue in redis.scan_iter("arq:queue/*")]) == entries


async def _is_clean(redis: Redis) -> bool:
    """Returns whether Redis holds no key of any attempt."""
    keys = [key async for key in redis.scan_iter("arq:*")]
    return [key for key in keys if not key.endswith(b":health-check")] == []
