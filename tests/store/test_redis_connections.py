"""Every failure of a Redis connection raises a RedisError, also on uvloop."""

import asyncio

import pytest
import uvloop
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from events.redis_connections import redis_pool


async def write_on_a_closed_connection(url: str) -> None:
    pool = redis_pool(url)
    connection = await pool.get_connection()
    connection._writer.transport.abort()
    await asyncio.sleep(0)  # By now the loop has closed the transport, but the connection does not know that.
    try:
        await connection.send_command("PING")
    finally:
        await pool.aclose()


def test_a_write_on_a_closed_connection_raises_a_redis_error(redis_url: str) -> None:
    with pytest.raises(RedisConnectionError, match="closed"):
        uvloop.run(write_on_a_closed_connection(redis_url))


async def test_a_connection_that_the_server_has_closed_is_opened_again(redis_url: str) -> None:
    async with Redis.from_pool(redis_pool(redis_url)) as redis, Redis.from_url(redis_url) as other:
        first = await redis.client_id()
        await other.client_kill_filter(_id=str(first))

        assert await redis.client_id() != first


async def test_an_unexpected_answer_is_not_taken_for_the_answer_to_the_next_command(redis_url: str) -> None:
    async with Redis.from_pool(redis_pool(redis_url)) as redis:
        first = await redis.client_id()
        connection = await redis.connection_pool.get_connection()
        await connection.send_command("ECHO", "an answer without a command")
        await redis.connection_pool.release(connection)
        while not connection._reader._buffer:  # noqa: ASYNC110 (nobody tells of it)
            await asyncio.sleep(0.005)

        assert await redis.client_id() not in (first, b"an answer without a command")


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


def test_a_connection_that_its_pool_closes_while_it_is_opened_raises_a_redis_error(redis_url: str) -> None:
    errors = uvloop.run(errors_of_connections_that_their_pool_closes(redis_url))

    assert errors
    assert all(isinstance(error, RedisError) for error in errors), errors
