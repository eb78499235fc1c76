"""What a broken connection to Redis is called, under the event loop of the service."""

import asyncio

import pytest
import uvloop
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from events.redis_connections import redis_pool


async def write_on_a_closed_connection(url: str) -> None:
    pool = redis_pool(url)
    connection = await pool.get_connection()
    connection._writer.transport.abort()
    await asyncio.sleep(0)  # the loop has closed it now, and nobody has told the connection
    try:
        await connection.send_command("PING")
    finally:
        await pool.aclose()


def test_a_write_on_a_closed_connection_is_an_error_of_redis(redis_url: str) -> None:
    with pytest.raises(RedisConnectionError, match="closed"):
        uvloop.run(write_on_a_closed_connection(redis_url))


async def errors_of_connections_that_their_pool_closes(url: str) -> list[BaseException]:
    errors: list[BaseException] = []
    for moments in range(60):
        pool = redis_pool(url, socket_timeout=5)
        opening = asyncio.create_task(pool.get_connection())
        for _ in range(moments):
            await asyncio.sleep(0)
        await pool.disconnect(inuse_connections=True)
        errors += [error for error in await asyncio.gather(opening, return_exceptions=True) if isinstance(error, BaseException)]
        await pool.aclose()
    return errors


def test_a_connection_that_its_pool_closes_while_it_is_opened_breaks_with_an_error_of_redis(redis_url: str) -> None:
    errors = uvloop.run(errors_of_connections_that_their_pool_closes(redis_url))

    assert errors
    assert all(isinstance(error, RedisError) for error in errors), errors
