"""A limit on how often one kind of log line is written, for what a stranger can cause a thousand times a second."""

import time

EVERY = 30.0  # seconds


class Seldom:
    """Counts what happens, and says when a line about it is due: at once, then at most every `every` seconds."""

    def __init__(self, every: float = EVERY) -> None:
        self._every = every
        self._counted = 0
        self._next = 0.0

    def count(self, number: int = 1) -> int | None:
        """Counts `number` more. Returns how many there have been since the last line, or None while no line is due."""
        self._counted += number
        now = time.monotonic()
        if now < self._next:
            return None
        counted, self._counted, self._next = self._counted, 0, now + self._every
        return counted
