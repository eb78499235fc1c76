"""Limits how often an address, an account or a device may try to sign in.

A stranger's tries are counted for the address, for the account at this address, and for the account
over all addresses. A known device is one that has signed in with this account before: only its own
tries count, so nobody else can delay it.
"""

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
from redis.asyncio import Redis
from redis.exceptions import RedisError

from events.redis_connections import redis_pool
from service.accounts.guess_delay import GuessDelays, SharedGuessDelays
from service.accounts.sign_in_queue import SignInLine

T = TypeVar("T")

# The most requests to sign in from one address, valid or not. (An IPv6 address counts as its /64.)
FOR_ALL_REQUESTS = RateLimitItemPerMinute(300)
# The most wrong passwords from one address in 5 minutes: for one email, and for all emails.
FOR_ONE_EMAIL = RateLimitItemPerMinute(10, 5)
FOR_ALL_EMAILS = RateLimitItemPerMinute(100, 5)

REDIS_WITHIN = 0.5  # seconds that Redis has to answer
REDIS_RESTS = 5.0  # seconds in which Redis is not asked, after it has not answered

Allow = Callable[[MovingWindowRateLimiter, RateLimitItem, str], Awaitable[bool]]

REDIS_AWAY = (StorageError, RedisError, TimeoutError, TypeError, ValueError)
"""Errors after which Redis counts as unreachable. Another program's data in one of our keys causes the last two."""


class TooManyTries(Exception):
    """A limit is reached.

    `retry_after` is the number of seconds until the next try is allowed.
    """

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"too many tries to sign in: try again in {retry_after} s")
        self.retry_after = retry_after


class SignInLimit:
    """Counts the tries to sign in, in this process and, with Redis, over all processes.

    While Redis is unreachable, each process limits by its own count, so people can still sign in.
    `account` is any text that stands for an email. `device` is the id of a device that has signed
    in before: In `request` it has signed in with any account, elsewhere with this account.
    """

    def __init__(self, redis_url: str | None) -> None:
        self.line = SignInLine()
        self._here = MovingWindowRateLimiter(MemoryStorage())
        self._delays_here = GuessDelays()
        self._shared: _Shared | None = None if redis_url is None else _Shared(redis_url)
        self._shared_rests_until = 0.0

    async def request(self, address: str, device: str | None = None) -> None:
        """Counts a request to sign in before its body is read. Raises `TooManyTries`."""
        await self._must(MovingWindowRateLimiter.hit, FOR_ALL_REQUESTS, address if device is None else f"device {device}")

    async def count(self, address: str, account: str, device: str | None = None) -> None:
        """Counts a try for this account, before its password is hashed. Raises `TooManyTries`."""
        if device is None:
            await self._must(MovingWindowRateLimiter.test, FOR_ALL_EMAILS, address)
            await self._must(MovingWindowRateLimiter.hit, FOR_ONE_EMAIL, f"{address} {account}")
        name = _guessed(account, device)
        wait = self._delays_here.wait_for(name) or await self._asked(lambda shared: shared.delays.count(name))
        if wait:
            raise TooManyTries(math.ceil(wait))
        self._delays_here.count(name)

    async def wrong(self, address: str, device: str | None = None) -> None:
        """Counts a wrong password from this address.

        Right passwords are not counted, because many people may share one address.
        """
        if device is None:
            with contextlib.suppress(TooManyTries):
                await self._must(MovingWindowRateLimiter.hit, FOR_ALL_EMAILS, address)

    async def forget(self, address: str, account: str, device: str | None = None) -> None:
        """Removes a try with a right password from the count.

        Wrong passwords of others still count.
        """
        name, guessed = f"{address} {account}", _guessed(account, device)
        await self._here.clear(FOR_ONE_EMAIL, name)
        self._delays_here.take_back(guessed)
        await self._asked(lambda shared: shared.windows.clear(FOR_ONE_EMAIL, name))
        await self._asked(lambda shared: shared.delays.take_back(guessed))

    async def _must(self, allow: Allow, limit: RateLimitItem, name: str) -> None:
        async def reset(limiter: MovingWindowRateLimiter) -> float | None:
            """Returns None if another try is allowed, else the Unix time from which it is."""
            return None if await allow(limiter, limit, name) else (await limiter.get_window_stats(limit, name)).reset_time

        allowed_at = await reset(self._here) or await self._asked(lambda shared: reset(shared.windows))
        if allowed_at is not None:
            raise TooManyTries(max(1, math.ceil(allowed_at - time.time())))

    async def _asked(self, ask: Callable[["_Shared"], Awaitable[T]]) -> T | None:
        """Returns the result of `ask` on the counts in Redis; None if Redis is away or not used."""
        if self._shared is None or time.monotonic() < self._shared_rests_until:
            return None
        try:
            async with asyncio.timeout(REDIS_WITHIN):
                return await ask(self._shared)
        except REDIS_AWAY:
            self._shared_rests_until = time.monotonic() + REDIS_RESTS
            return None


class _Shared:
    """The counts in Redis."""

    def __init__(self, redis_url: str) -> None:
        pool = redis_pool(redis_url, socket_timeout=2, socket_connect_timeout=2)
        storage = RedisStorage(
            "async+redis://", implementation="redispy", wrap_exceptions=True, key_prefix="rireki:tries", connection_pool=pool,  # type: ignore[arg-type]
        )  # fmt: skip
        self.windows = MovingWindowRateLimiter(storage)
        self.delays = SharedGuessDelays(Redis(connection_pool=pool))


def _guessed(account: str, device: str | None) -> str:
    return account if device is None else f"{account} {device}"
