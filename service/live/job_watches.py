"""Wakes the requests that watch one job: its event streams, and waits for its end.

The bus only wakes a watcher, which then reads the log by seq, so no event is missed or repeated.
Every `LOOK_EVERY` seconds one query reads the last seq of every watched job, and wakes the watchers that have not seen that
seq. So a message that the bus loses only causes a delay.
"""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator

from events.bus import Bus, Change
from events.database import DATABASE_ERRORS, Database
from events.store import Store
from projections.jobs import JobsView
from service.live.batch_loader import BatchLoader
from service.live.changes_feed import ChangesFeed
from service.live.listening import listening

LOOK_EVERY = 2.0  # seconds between two queries
QUIET = 15.0  # seconds without data after which a stream sends a comment
CHECK_EVERY = 5.0  # seconds between two checks whether the reader of a quiet stream is still allowed to read


class Watch:
    """A request that watches one job. `seq` is the last seq that it has seen."""

    def __init__(self, job_id: str) -> None:
        self.job_id = job_id
        self.seq = 0
        self._changed = asyncio.Event()

    def tell(self, seq: int) -> None:
        # A lower seq wakes the watcher too, because the bus may have announced a seq that does not exist. All true ones
        # are then lower.
        if seq != self.seq:
            self.seq = seq
            self._changed.set()

    def wake(self) -> None:
        self._changed.set()

    async def changed(self, timeout: float) -> bool:
        """Waits for a change since the last call. Returns whether one came.

        Waits at most `timeout` seconds.
        """
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._changed.wait(), timeout)
        came = self._changed.is_set()
        self._changed.clear()
        return came


class JobWatches:
    """All watchers of this process: of single jobs here, and of all jobs in `feed`.

    `news` loads a job's events after a seq. Watchers that wake at the same moment share one query.
    """

    def __init__(self, bus: Bus, jobs: JobsView, store: Store, sealer: Database | None = None) -> None:
        self._bus = bus
        self._jobs = jobs
        self.news = BatchLoader(store.history.news)
        self._watches: defaultdict[str, set[Watch]] = defaultdict(set)
        self.feed = ChangesFeed(bus, jobs.database, sealer)
        self.closed = False

    @property
    def watchers(self) -> int:
        return sum(len(watches) for watches in self._watches.values()) + len(self.feed)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with listening(self._bus, self._tell, self._look_now_and_then(), "watching"), self.feed.running():
            yield

    @contextlib.contextmanager
    def watch(self, job_id: str) -> Iterator[Watch]:
        watch = Watch(job_id)
        self._watches[job_id].add(watch)
        try:
            yield watch
        finally:
            self._watches[job_id].discard(watch)
            if not self._watches[job_id]:
                del self._watches[job_id]

    def close(self) -> None:
        """Ends all streams and all waiting responses."""
        self.closed = True
        self.feed.close()
        for watches in self._watches.values():
            for watch in watches:
                watch.wake()

    def _tell(self, change: Change) -> None:
        for watch in self._watches.get(change.job_id, ()):
            watch.tell(change.seq)

    async def _look_now_and_then(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY)
            if self._watches:
                with contextlib.suppress(*DATABASE_ERRORS):
                    for change in await self._jobs.seqs(list(self._watches)):
                        self._tell(change)
