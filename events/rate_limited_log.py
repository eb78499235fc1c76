"""Limits how often one kind of log line is written, when outsiders can cause floods of it."""

import time

EVERY = 30.0  # seconds


class LogLimit:
    """Counts events of one kind, and says when a log line about them is due.

    The first line is due at once, later ones after `every` seconds.
    """

    def __init__(self, every: float = EVERY) -> None:
        self._every = every
        self._counted = 0
        self._next = 0.0

    def count(self, number: int = 1) -> int | None:
        """Adds `number` events.

        Returns the count since the last line when a line is due, else None.
        """
        self._counted += number
        now = time.monotonic()
        if now < self._next:
            return None
        counted, self._counted, self._next = self._counted, 0, now + self._every
        return counted
