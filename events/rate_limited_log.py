"""Limits how often one kind of log line is written, if outsiders could cause very many."""

import time

EVERY = 30.0  # seconds between two log lines of one kind


class LogLimit:
    """Counts events of one kind, and says when a log line about them is due.

    A line is due at the first event, and then at the first event that comes `every` seconds or more after the previous line.
    """

    def __init__(self, every: float = EVERY) -> None:
        self._every = every
        self._counted = 0
        self._next = 0.0

    def count(self, number: int = 1) -> int | None:
        """Counts `number` more events.

        If a log line is due, returns the number of events since the last line, else None.
        """
        self._counted += number
        now = time.monotonic()
        if now < self._next:
            return None
        counted, self._counted, self._next = self._counted, 0, now + self._every
        return counted
