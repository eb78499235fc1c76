"""Counts in this process what happened in the last seconds.

The window slides in steps, so its memory does not grow with the count. A step counts until all of it is older than the window.
So the window never forgets too early, and at most one step too late.
"""

from collections import deque

STEPS = 120  # steps of one window; with a window of a minute, a step is half a second


class SlidingWindow:
    """The count of one person. `now` is monotonic and in seconds."""

    __slots__ = ("_counts", "_step", "total")

    def __init__(self, seconds: float) -> None:
        self._step = seconds / STEPS
        self._counts: deque[list[int]] = deque()  # [number of the step, count], the oldest first
        self.total = 0

    def wait(self, now: float, most: int) -> float:
        """Returns 0 if the count may grow by one, or else the seconds until it may."""
        self.forget(now)
        if self.total < most:
            return 0.0
        surplus = self.total - most
        for step, count in self._counts:
            surplus -= count
            if surplus < 0:
                return (step + 1 + STEPS) * self._step - now
        return 0.0

    def add(self, now: float) -> None:
        step = int(now / self._step)
        if self._counts and self._counts[-1][0] == step:
            self._counts[-1][1] += 1
        else:
            self._counts.append([step, 1])
        self.total += 1

    def forget(self, now: float) -> None:
        oldest = int(now / self._step) - STEPS
        while self._counts and self._counts[0][0] < oldest:
            self.total -= self._counts.popleft()[1]
