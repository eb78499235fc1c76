"""Limits the tries to sign in, over all processes."""

import asyncio
import contextlib
import math
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from limits import RateLimitItem, RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage, RedisStorage
from limits.aio.strategies import MovingWindowRateLimiter
from limits.errors import StorageError

from events.redis_connections import redis_pool
from service.accounts.sign_in_queue import SignInLine

T = TypeVar("T")

# Requests from one address, whatever they hold. (An IPv6 address counts as its /64.)
FOR_ALL_REQUESTS = RateLimitItemPerMinute(300)
# Wrong passwords from one address: for one email, and for all of them.
FOR_ONE_EMAIL = RateLimitItemPerMinute(10, 5)
FOR_ALL_EMAILS = RateLimitItemPerMinute(100, 5)

REDIS_WITHIN = 0.5  # seconds
REDIS_RESTS = 5.0  # seconds without asking it, after it has not answered

Allow = Callable[[MovingWindowRateLimiter, RateLimitItem, str], Awaitable[bool]]

REDIS_AWAY = (StorageError, TimeoutError, TypeError, ValueError)
"""The latter two are raised by what somebody else has put in the place of our keys."""


class TooManyTries(Exception):
    """One try too many. `retry_after` says in how many seconds another one is allowed."""

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"too many tries, the next one in {retry_after} s")
        self.retry_after = retry_after


class SignInLimit:
    """Counts tries to sign in: here, and where there is Redis over all processes. While Redis is away each process goes on with its
    own count, so that nobody is kept out and no limit is lifted."""

    def __init__(self, redis_url: str | None) -> None:
        self.line = SignInLine()
        self._here = MovingWindowRateLimiter(MemoryStorage())
        self._shared: MovingWindowRateLimiter | None = None
        self._shared_rests_until = 0.0
        if redis_url is not None:
            storage = RedisStorage(
                "async+redis://", implementation="redispy", wrap_exceptions=True, key_prefix="rireki:tries",
                connection_pool=redis_pool(redis_url, socket_timeout=2, socket_connect_timeout=2),  # type: ignore[arg-type]
            )  # fmt: skip
            self._shared = MovingWindowRateLimiter(storage)

    async def request(self, address: str) -> None:
        """One more request, of which nothing has been read yet. Raises `TooManyTries`."""
        await self._must(MovingWindowRateLimiter.hit, FOR_ALL_REQUESTS, address)

    async def count(self, address: str, email: str) -> None:
        """One more try, before its password is hashed. Raises `TooManyTries`."""
        await self._must(MovingWindowRateLimiter.test, FOR_ALL_EMAILS, address)
        await self._must(MovingWindowRateLimiter.hit, FOR_ONE_EMAIL, f"{address} {email}")

    async def wrong(self, address: str) -> None:
        """The password was wrong. Right ones don't count against the others behind the same address."""
        with contextlib.suppress(TooManyTries):
            await self._must(MovingWindowRateLimiter.hit, FOR_ALL_EMAILS, address)

    async def forget(self, address: str, email: str) -> None:
        """The password was right: those before it were slips."""
        name = f"{address} {email}"
        await self._here.clear(FOR_ONE_EMAIL, name)
        await self._asked(lambda shared: shared.clear(FOR_ONE_EMAIL, name))

    async def _must(self, allow: Allow, limit: RateLimitItem, name: str) -> None:
        async def reset(limiter: MovingWindowRateLimiter) -> float | None:
            """When the window has room again; None if it has."""
            return None if await allow(limiter, limit, name) else (await limiter.get_window_stats(limit, name)).reset_time

        again = await reset(self._here) or await self._asked(reset)
        if again is not None:
            raise TooManyTries(max(1, math.ceil(again - time.time())))

    async def _asked(self, ask: Callable[[MovingWindowRateLimiter], Awaitable[T]]) -> T | None:
        """What the count over all processes says; None while it is away."""
        if self._shared is None or time.monotonic() < self._shared_rests_until:
            return None
        try:
            async with asyncio.timeout(REDIS_WITHIN):
                return await ask(self._shared)
        except REDIS_AWAY:
            self._shared_rests_until = time.monotonic() + REDIS_RESTS
            return None
