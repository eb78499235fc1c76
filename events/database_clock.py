"""The database's clock as a process knows it, for stamping events."""

from datetime import UTC, datetime, timedelta

from events.concurrency import elapsed
from events.database import Connection


class DatabaseClock:
    """Estimates PostgreSQL's clock, so that events do not depend on the clock of this machine."""

    def __init__(self) -> None:
        self._theirs = datetime.now(UTC)
        self._measured = float("-inf")

    def now(self) -> datetime:
        """The time on the database's clock, in UTC."""
        # Only elapsed time is taken from this machine, because its wall clock may be set at any moment.
        return self._theirs + timedelta(seconds=elapsed() - self._measured)

    async def measure(self, connection: Connection) -> None:
        """Reads the database's clock three times, and keeps the one with the shortest round trip."""
        best = float("inf")
        for _ in range(3):
            asked = elapsed()
            theirs = await connection.fetchval("select clock_timestamp()")
            answered = elapsed()
            if answered - asked < best:
                best = answered - asked
                self._theirs, self._measured = theirs, asked + best / 2
