"""Estimates PostgreSQL's clock, from which each event gets its time."""

from datetime import UTC, datetime, timedelta

from events.concurrency import elapsed
from events.database import Connection


class DatabaseClock:
    """An estimate of PostgreSQL's clock.

    It keeps the times of events independent of this machine's clock.
    """

    def __init__(self) -> None:
        self._theirs = datetime.now(UTC)
        self._measured = float("-inf")

    def now(self) -> datetime:
        """Returns the estimated time on the database's clock, in UTC."""
        # This machine measures only the time since `measure`, because its wall clock may be set at any moment.
        return self._theirs + timedelta(seconds=elapsed() - self._measured)

    async def measure(self, connection: Connection) -> None:
        """Reads the database's clock three times, and keeps the reading that took the least time."""
        best = float("inf")
        for _ in range(3):
            asked = elapsed()
            theirs = await connection.fetchval("select clock_timestamp()")
            answered = elapsed()
            if answered - asked < best:
                best = answered - asked
                self._theirs, self._measured = theirs, asked + best / 2
