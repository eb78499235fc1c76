"""Throttles the progress reports that an attempt appends to the log."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

from events.job import JSON
from workers.attempt.outcome_json import as_json

PROGRESS_EVERY = 1.0  # seconds between two progress events of a job, after the first two


class ProgressReports:
    """Appends the first two reports at once, then at most one in `PROGRESS_EVERY` seconds.

    The last report is always appended, unless `drop` is called. One append runs at a time. A report
    that still waits when a newer report comes is dropped.
    """

    def __init__(self, append: Callable[[JSON], Coroutine[Any, Any, None]]) -> None:
        """`append` writes one report, and must not raise when the log refuses it."""
        self._send = append
        self._unsent: list[JSON] = []  # the newest report, or empty
        self._appended = 0
        self._last_append = 0.0
        self._appending = asyncio.Lock()
        self._later: asyncio.Task[None] | None = None
        self._sending: asyncio.Future[None] | None = None

    async def report(self, result: JSON) -> None:
        """Appends `result`, now or later.

        Raises:
            NotJSON: JSON cannot hold `result`.
        """
        self._unsent[:] = [as_json(result)]
        async with self._appending:
            if self._appended < 2 or self._wait <= 0:
                await self._append()
            elif self._later is None or self._later.done():
                self._later = asyncio.create_task(self._append_later())

    def drop(self) -> None:
        """Drops the report that still waits to be appended."""
        self._unsent.clear()
        if self._later is not None:
            self._later.cancel()

    async def finish(self) -> None:
        """Appends the report that still waits, if there is one.

        If the log refuses the report, nothing is raised: the log will refuse the attempt's end too.
        """
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
                # `report` may have appended while this task waited for the lock.
                if self._wait <= 0:
                    await self._append()

    async def _append(self) -> None:
        if self._sending is not None:
            await asyncio.wait({self._sending})
        if not self._unsent:
            return
        self._appended += 1
        self._last_append = time.monotonic()
        # The append is shielded, because the report has left the list: cancelling the
        # handler would lose it.
        self._sending = asyncio.ensure_future(self._send(self._unsent.pop()))
        await asyncio.shield(self._sending)
