"""Questions about what lies in Redis."""

from redis.asyncio import Redis

NEVER = 1_000.0  # seconds


async def _queued(redis: Redis, entries: int) -> bool:
    return sum([int(await redis.zcard(queue)) async for queue in redis.scan_iter("arq:queue/*")]) == entries


async def _is_clean(redis: Redis) -> bool:
    """Nothing of any attempt is left."""
    keys = [key async for key in redis.scan_iter("arq:*")]
    return [key for key in keys if not key.endswith(b":health-check")] == []
