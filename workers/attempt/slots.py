"""The slots of one worker: how many attempts it may run at once, and how many it runs now."""

import asyncio
import time
from dataclasses import dataclass, field

from workers.delivery.wire import AttemptId


@dataclass(frozen=True, slots=True)
class StuckHandler:
    """A handler that swallows its cancellation. Its attempt is over, and the log refuses what it writes."""

    job_id: str
    attempt: int
    type: str
    since: float = field(default_factory=time.monotonic)
    """`time.monotonic()` in seconds."""


class Slots:
    """Counts the attempts in this worker's hands, by their ids.

    A handler that has ended frees its slot while the end of its attempt is still being written. At most `size` such writes are
    under way: while PostgreSQL hangs, a worker must not take more and more jobs.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.freed = asyncio.Event()
        """Set when a slot becomes free."""
        self.stuck: dict[asyncio.Task[None], StuckHandler] = {}
        self._taken: dict[AttemptId, str] = {}  # and the job type of each
        self._recording: set[AttemptId] = set()

    @property
    def free(self) -> int:
        taken = len(self._taken)
        return min(self.size - taken + len(self._recording), 2 * self.size - taken)

    @property
    def all_free(self) -> bool:
        return not self._taken

    @property
    def running_types(self) -> set[str]:
        """The job types of attempts that start or run. An attempt whose end is only being written does not count."""
        return {job_type for attempt_id, job_type in self._taken.items() if attempt_id not in self._recording}

    def take(self, attempt_id: AttemptId, job_type: str) -> None:
        self._taken[attempt_id] = job_type

    def record(self, attempt_id: AttemptId) -> None:
        """The handler has ended, and the end of its attempt is being written from now on."""
        self._recording.add(attempt_id)
        self.freed.set()

    def release(self, attempt_id: AttemptId) -> None:
        """Nothing is left to do for this attempt."""
        del self._taken[attempt_id]
        self._recording.discard(attempt_id)
        self.freed.set()

    def keep_stuck(self, task: asyncio.Task[None], handler: StuckHandler) -> None:
        """Counts a handler as stuck until its task ends."""
        self.stuck[task] = handler
        task.add_done_callback(self.stuck.pop)
