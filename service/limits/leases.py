"""LIMIT_STREAMS and LIMIT_HELD_ANSWERS: how many responses one person may hold open.

Each process writes into Redis how many it holds open for each person. The number is forgotten unless it is renewed, so a dead
process loses its own. Without Redis, and while Redis is unreachable, each process counts alone.
"""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator
from itertools import islice

from events.concurrency import end, lasting
from service.limit_values import GREATEST
from service.limits.over_limit import OverLimit
from service.limits.shared_counts import LEASE, SharedCounts

RENEW_EVERY = LEASE / 3
GATHER = 0.05  # seconds for which closed responses are collected, to be told to Redis in one call
MOST_AT_ONCE = 200  # people in one call
RETRY_AFTER = 5  # seconds


class Leases:
    """Counts the open responses of one kind (streams, or held answers) of each person."""

    def __init__(self, setting: str, what: str, most: int | None, shared: SharedCounts | None) -> None:
        self._setting = setting
        self._what = what
        self._most = most
        self._shared = shared
        self._open: Counter[str] = Counter()
        self._closed: set[str] = set()
        self._any_closed = asyncio.Event()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Renews the leases while the block lasts, and gives them back at its end."""
        if self._most is None or self._shared is None:
            yield
            return
        renewing = lasting(self._renew(), f"leases of {self._what}")
        try:
            yield
        finally:
            await end(renewing)
            await self._tell(self._closed | set(self._open))

    @contextlib.asynccontextmanager
    async def held(self, person: str, *, times: int = 1) -> AsyncIterator[None]:
        """Counts one open response while the block lasts. `times` multiplies the limit.

        Raises `OverLimit`.
        """
        if self._most is None:
            yield
            return
        most = self._most * times
        with self._counted(person, most):
            if self._shared is not None:
                fits = await self._shared.hold_open(self._what, [(person, self._open[person], most)])
                if fits == [False]:
                    raise self._over(most)
            yield

    @contextlib.contextmanager
    def _counted(self, person: str, most: int) -> Iterator[None]:
        if self._open[person] >= most:
            raise self._over(most)
        self._open[person] += 1
        try:
            yield
        finally:
            self._open[person] -= 1
            self._closed.add(person)
            self._any_closed.set()

    def _over(self, most: int) -> OverLimit:
        words = self._what.replace("_", " ")
        return OverLimit(self._setting, f"one person at most {most} open {words}", RETRY_AFTER, "Close one, then try again.")

    async def _renew(self) -> None:
        renewed = time.monotonic()
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(RENEW_EVERY):
                    await self._any_closed.wait()
                await asyncio.sleep(GATHER)
            people, self._closed = self._closed, set()
            self._any_closed.clear()
            if time.monotonic() - renewed >= RENEW_EVERY:
                people |= self._open.keys()
                renewed = time.monotonic()
            await self._tell(people)

    async def _tell(self, people: Iterable[str]) -> None:
        """Writes the counts of these people to Redis.

        A count is also written if it grew beyond the limit while Redis was unreachable.
        """
        assert self._shared is not None
        left = iter(people)
        while some := list(islice(left, MOST_AT_ONCE)):
            await self._shared.hold_open(self._what, [(person, self._open[person], GREATEST) for person in some])
            for person in some:
                if not self._open[person]:
                    del self._open[person]
