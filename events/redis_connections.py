"""Connections to Redis that break with `RedisError`, whatever the event loop calls it, and that cost no task and no cancelled read
for each command.

On a connection that has just been closed uvloop refuses a write with a bare `RuntimeError`, which redis-py passes on. Nobody who
lives through the loss of Redis expects that one: it would end the loop that takes jobs, and the bus, for ever.
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
        """Whether something has come that nobody asked for. Raises `RedisError` where the server has closed."""
        # redis-py asks before each command, by a read that it cancels at once: a third of what a command costs.
        if self._reader is None or self._reader.at_eof():
            raise RedisConnectionError("Connection closed by server.")
        return bool(self._reader._buffer)  # type: ignore[attr-defined]

    async def send_packed_command(self, *args: Any, **kwargs: Any) -> None:
        # With a timeout redis-py sends by `wait_for`. That is a task each time, which on Python 3.11 may swallow a cancellation,
        # and stumbles with an `AttributeError` where the connection is closed before it runs.
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
    """`settings` are those of redis-py's connections. The address says of which kind they are: plain, TLS, a Unix socket."""
    if url.startswith("unix:"):
        settings.pop("socket_keepalive", None)  # of TCP; redis-py refuses it here
    pool = ConnectionPool.from_url(url, **settings)
    kind = pool.connection_class
    pool.connection_class = type(f"Translating{kind.__name__}", (_Translating, kind), {})
    return pool


@contextlib.contextmanager
def understood() -> Iterator[None]:
    """Around what reads an answer of Redis: one of another form than the command's is a `RedisError` too."""
    try:
        yield
    except (TypeError, ValueError, LookupError, AttributeError, AssertionError) as error:
        raise InvalidResponse("what answers is no Redis: its answer has another form than the command's") from error


def distrust(client: Redis) -> None:
    """Has redis-py's own readers of answers raise `RedisError` where an answer has another form than they expect."""

    def careful(read: Callable[..., Any]) -> Callable[..., Any]:
        def read_carefully(*args: Any, **options: Any) -> Any:
            with understood():
                return read(*args, **options)

        return read_carefully

    for command, read in list(client.response_callbacks.items()):
        client.response_callbacks[command] = careful(read)
