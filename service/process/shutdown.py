"""End a process in time: hear signals, give jobs their grace period, exit at the limit."""

import asyncio
import contextlib
import logging
import os
import signal
import threading
from collections.abc import Iterator
from typing import Any, Never

import structlog

from events.concurrency import PART_ENDED
from service.process.watchdog import Watchdog

log = structlog.get_logger("rireki")


ENDS_WITHIN = 20.0  # seconds from the end of the grace period to the latest end; returning jobs to the queue takes up to 12
LAST_MOMENTS = 3.0  # seconds from the second signal to the latest end
HEAD_START = 0.5  # seconds by which the process ends itself before the watchdog would kill it


class Stop:
    """Makes the process end after a signal, or after an error in a part of the process.

    If the process does not end in time, a thread ends it, even if the event loop is blocked. If no
    thread can run, the watchdog kills the process.
    """

    def __init__(self, grace: float) -> None:
        self.grace = grace
        self.asked = asyncio.Event()
        self.broken: asyncio.Future[Never] = asyncio.get_running_loop().create_future()
        self._task = asyncio.current_task()
        self._latest_end: threading.Timer | None = None
        self._watchdog = Watchdog(asked_end=grace + ENDS_WITHIN, interrupted_end=ENDS_WITHIN, last_moments=LAST_MOMENTS)

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._hear_of)
        with self._watchdog.watching():
            loop.add_reader(self._watchdog.signals, self._hear_signals)
            try:
                yield
            finally:
                loop.remove_reader(self._watchdog.signals)
                loop.set_exception_handler(None)
                if self._latest_end is not None:
                    self._latest_end.cancel()

    def begin(self) -> None:
        """Asks the process to end, and starts the timer that ends it by force."""
        self.asked.set()
        self._end_within(self.grace + ENDS_WITHIN)

    def _hear_signals(self) -> None:
        for number in self._watchdog.heard():
            self._hear(number)

    def _hear(self, signal_number: signal.Signals) -> None:
        if self.asked.is_set():
            assert self._task is not None
            self._end_within(LAST_MOMENTS)
            # uvicorn would log a traceback for each request that is cut off now, although no
            # request has failed.
            logging.getLogger("uvicorn.error").disabled = True
            self._task.cancel()
            return
        if signal_number == signal.SIGINT:
            self.grace = 0
        self.begin()

    def _hear_of(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if PART_ENDED not in context:
            loop.default_exception_handler(context)
            return
        error, part = context[PART_ENDED], context["task"].get_name()
        log.critical("a background task of the process has failed", part=part, exc_info=error)
        if not self.broken.done():
            self.broken.set_exception(error)

    def _end_within(self, seconds: float) -> None:
        if self._latest_end is not None:
            self._latest_end.cancel()
        self._watchdog.end_within(seconds)
        self._latest_end = threading.Timer(seconds - HEAD_START, _end_now)
        self._latest_end.daemon = True
        self._latest_end.start()


def _end_now() -> None:
    # The kernel releases locks and sockets. An embedded PostgreSQL keeps running, and the next
    # process finds it.
    log.critical("the process takes too long to stop: it exits at once")
    os._exit(1)
