"""Time that passes. `time.monotonic` stands still while the machine sleeps, and the clocks of others go on: whoever compares with
them counts by this one."""

import time

# Linux's monotonic clock leaves the machine's sleep out, macOS' counts it.
CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def elapsed() -> float:
    """Seconds since a moment that means nothing."""
    return time.clock_gettime(CLOCK)
