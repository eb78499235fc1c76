"""Deadlines of one length, for what is nearly always done long before: one timer for all, where a timer for each would cost more
than what it guards."""

import asyncio
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class Deadlines(Generic[K]):
    """`late` is called with what is still there `seconds` after it was added; it must not raise, and not add. Of one event loop."""

    def __init__(self, seconds: float, late: Callable[[K], None]) -> None:
        self._seconds = seconds
        self._late = late
        self._added: dict[K, float] = {}  # and when; the oldest first
        self._timer: asyncio.TimerHandle | None = None

    def add(self, waiting: K) -> None:
        loop = asyncio.get_running_loop()
        self._added[waiting] = loop.time()
        if self._timer is None:
            self._timer = loop.call_later(self._seconds, self._look)

    def remove(self, waiting: K) -> None:
        self._added.pop(waiting, None)

    def _look(self) -> None:
        loop, self._timer = asyncio.get_running_loop(), None
        while self._added and self._timer is None:
            waiting, added = next(iter(self._added.items()))
            if added + self._seconds > loop.time():
                self._timer = loop.call_at(added + self._seconds, self._look)
            else:
                self.remove(waiting)
                self._late(waiting)
