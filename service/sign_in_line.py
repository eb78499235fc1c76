"""The line before the two that verify passwords. One verification takes 64 MiB and a core, so the line is short: whoever finds it
full is told at once to come again, and one address may take only a part of it."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Iterator

HASHERS = 2
MOST_WAITING = 30
MOST_OF_ONE_ADDRESS = 8
WAITS_AT_MOST = 3.0  # seconds


class LineFull(Exception):
    """Too many sign in at this moment."""


class SignInLine:
    def __init__(self) -> None:
        self._of: Counter[str] = Counter()
        self._hashers = asyncio.Semaphore(HASHERS)

    @contextlib.contextmanager
    def place(self, address: str) -> Iterator[None]:
        """A place in the line, while the block lasts. Raises `LineFull`."""
        if self._of.total() >= HASHERS + MOST_WAITING or self._of[address] >= MOST_OF_ONE_ADDRESS:
            raise LineFull
        self._of[address] += 1
        try:
            yield
        finally:
            self._of[address] -= 1
            if not self._of[address]:
                del self._of[address]

    @contextlib.asynccontextmanager
    async def hasher(self) -> AsyncIterator[None]:
        """One of the two, while the block lasts; in the order of coming. Raises `LineFull` where it takes too long."""
        try:
            async with asyncio.timeout(WAITS_AT_MOST):
                await self._hashers.acquire()
        except TimeoutError:
            raise LineFull from None
        try:
            yield
        finally:
            self._hashers.release()
