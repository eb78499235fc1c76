"""Progress of a running attempt on its way into the log."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

from events.job import JSON
from workers.attempt.outcome_json import as_json

PROGRESS_EVERY = 1.0  # seconds between two progress events of a job, after the first two


class ProgressReports:
    """Progress on its way into the log: the first report and the first change at once, then at most one a second, and always
    the last. One append at a time."""

    def __init__(self, append: Callable[[JSON], Coroutine[Any, Any, None]]) -> None:
        """`append` writes one report; it does not raise where the log refuses it."""
        self._send = append
        self._unsent: list[JSON] = []  # at most one: the newest
        self._appended = 0
        self._last_append = 0.0
        self._appending = asyncio.Lock()
        self._later: asyncio.Task[None] | None = None
        self._sending: asyncio.Future[None] | None = None

    async def report(self, result: JSON) -> None:
        self._unsent[:] = [as_json(result)]
        async with self._appending:
            if self._appended < 2 or self._wait <= 0:
                await self._append()
            elif self._later is None or self._later.done():
                self._later = asyncio.create_task(self._append_later())

    def drop(self) -> None:
        """Appends nothing more by itself."""
        self._unsent.clear()
        if self._later is not None:
            self._later.cancel()

    async def finish(self) -> None:
        """Appends what is left. A refusal is left to whoever records the end."""
        if self._later is not None:
            self._later.cancel()
            await asyncio.wait({self._later})
        async with self._appending:
            await self._append()

    @property
    def _wait(self) -> float:
        return self._last_append + PROGRESS_EVERY - time.monotonic()

    async def _append_later(self) -> None:
        while self._unsent:
            await asyncio.sleep(self._wait)
            async with self._appending:
                # A report that came just now may have been appended at once.
                if self._wait <= 0:
                    await self._append()

    async def _append(self) -> None:
        if self._sending is not None:
            await asyncio.wait({self._sending})
        if not self._unsent:
            return
        self._appended += 1
        self._last_append = time.monotonic()
        # Whoever waits for it may be cancelled: what was taken is sent all the same.
        self._sending = asyncio.ensure_future(self._send(self._unsent.pop()))
        await asyncio.shield(self._sending)
