"""Connections to Redis that raise only `RedisError` when they fail, with cheaper commands.

On a connection that was just closed, uvloop refuses a write with a `RuntimeError`, and redis-py passes that error on. The
loops that survive the loss of Redis catch only `RedisError`, so a `RuntimeError` would end the delivery of jobs and the bus.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from redis.asyncio import ConnectionPool, Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import InvalidResponse
from redis.exceptions import TimeoutError as RedisTimeoutError


class _Translating:
    socket_timeout: float | None
    _reader: asyncio.StreamReader | None

    async def can_read_destructive(self) -> bool:
        """Returns whether unexpected data have arrived.

        Raises `RedisConnectionError` after the server closed the connection.
        """
        # Trick: redis-py checks this before each command. Its own check starts a read and cancels it at once. Saves 6 % of a
        # drained job's CPU (bench/results/tricks.md). Delete it when redis-py looks at its buffer first.
        if self._reader is None or self._reader.at_eof():
            raise RedisConnectionError("Connection closed by server.")
        return bool(self._reader._buffer)  # type: ignore[attr-defined]

    async def send_packed_command(self, *args: Any, **kwargs: Any) -> None:
        # With a timeout redis-py sends through `asyncio.wait_for`, which starts a task for each command, may swallow a
        # cancellation on Python 3.11, and raises `AttributeError` when the connection is closed before the task runs.
        within, self.socket_timeout = self.socket_timeout, None
        try:
            async with asyncio.timeout(within):
                await super().send_packed_command(*args, **kwargs)  # type: ignore[misc]
        except TimeoutError as error:
            raise RedisTimeoutError("Timeout writing to socket") from error
        except RuntimeError as error:
            raise RedisConnectionError(str(error)) from error
        finally:
            self.socket_timeout = within


def redis_pool(url: str, **settings: Any) -> ConnectionPool:
    """Makes a connection pool for the address (redis://, rediss:// or unix://).

    `settings` are redis-py's.
    """
    if url.startswith("unix:"):
        settings.pop("socket_keepalive", None)  # a TCP option, which redis-py refuses for a Unix socket
    pool = ConnectionPool.from_url(url, **settings)
    kind = pool.connection_class
    pool.connection_class = type(f"Translating{kind.__name__}", (_Translating, kind), {})
    return pool


@contextlib.contextmanager
def understood() -> Iterator[None]:
    """Raises `InvalidResponse` (a `RedisError`) if the block cannot parse Redis's answer."""
    try:
        yield
    except (TypeError, ValueError, LookupError, AttributeError, AssertionError) as error:
        raise InvalidResponse("the server is not Redis: its answer does not have the form of the command's answer") from error


def distrust(client: Redis) -> None:
    """Makes redis-py raise `RedisError` for an answer of an unexpected form."""

    def careful(read: Callable[..., Any]) -> Callable[..., Any]:
        def read_carefully(*args: Any, **options: Any) -> Any:
            with understood():
                return read(*args, **options)

        return read_carefully

    for command, read in list(client.response_callbacks.items()):
        client.response_callbacks[command] = careful(read)
