"""Connections to Redis that break with `RedisError`, whatever the event loop calls it.

On a connection that has just been closed uvloop refuses a write with a bare `RuntimeError`, which redis-py passes on; and where a
pool closes a connection just as somebody takes it, redis-py itself stumbles with an `AttributeError`. Nobody who lives through the
loss of Redis expects those: they would end the loop that takes jobs, and the bus, for ever.
"""

from typing import Any

from redis.asyncio import ConnectionPool
from redis.exceptions import ConnectionError as RedisConnectionError


class _Translating:
    async def send_packed_command(self, *args: Any, **kwargs: Any) -> None:
        try:
            await super().send_packed_command(*args, **kwargs)  # type: ignore[misc]
        except (RuntimeError, AttributeError) as error:
            raise RedisConnectionError(str(error)) from error


def redis_pool(url: str, **settings: Any) -> ConnectionPool:
    """`settings` are those of redis-py's connections. The address says of which kind they are: plain, TLS, a Unix socket."""
    pool = ConnectionPool.from_url(url, **settings)
    kind = pool.connection_class
    pool.connection_class = type(f"Translating{kind.__name__}", (_Translating, kind), {})
    return pool
