"""What a broken connection to Redis is called, under the event loop of the service."""

import asyncio

import pytest
import uvloop
from redis.exceptions import ConnectionError as RedisConnectionError

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


async def write_on_a_connection_that_its_pool_closes(url: str) -> None:
    pool = redis_pool(url, socket_timeout=5)
    connection = await pool.get_connection()
    writing = asyncio.create_task(connection.send_command("PING"))
    await asyncio.sleep(0)  # the command is on its way to the connection
    try:
        await connection.disconnect(nowait=True)
        await writing
    finally:
        await pool.aclose()


def test_a_write_on_a_connection_that_its_pool_closes_is_an_error_of_redis(redis_url: str) -> None:
    with pytest.raises(RedisConnectionError, match="writelines"):
        uvloop.run(write_on_a_connection_that_its_pool_closes(redis_url))
