"""The database's clock as a process knows it, for stamping events."""

from datetime import UTC, datetime, timedelta

from events.concurrency import elapsed
from events.database import Connection


class DatabaseClock:
    """The database's clock as seen from here: events are stamped with it, whatever this machine's clock says."""

    def __init__(self) -> None:
        self._theirs = datetime.now(UTC)
        self._measured = float("-inf")

    def now(self) -> datetime:
        # From this machine only the time that has passed is taken: its clock may be set anew at any moment.
        return self._theirs + timedelta(seconds=elapsed() - self._measured)

    async def measure(self, connection: Connection) -> None:
        best = float("inf")
        for _ in range(3):
            asked = elapsed()
            theirs = await connection.fetchval("select clock_timestamp()")
            answered = elapsed()
            if answered - asked < best:
                best = answered - asked
                self._theirs, self._measured = theirs, asked + best / 2
