"""Counts the attempts that one worker has in hand."""

import asyncio
import time
from dataclasses import dataclass, field

from workers.delivery.wire import AttemptId


@dataclass(frozen=True, slots=True)
class StuckHandler:
    """A handler that swallows its cancellation.

    Its attempt has ended, so the log refuses its writes.
    """

    job_id: str
    attempt: int
    type: str
    since: float = field(default_factory=time.monotonic)
    """Seconds of `time.monotonic()`."""


class Slots:
    """The slots of one worker, by attempt id.

    A slot is taken when its attempt is being started, and free for another attempt as soon as its
    handler has ended. The end of the attempt may then still be on its way into the log. At most
    `size` such writes are pending, because a worker must not take more and more jobs while
    PostgreSQL hangs.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.freed = asyncio.Event()
        """Set when a slot becomes free."""
        self.stuck: dict[asyncio.Task[None], StuckHandler] = {}
        self._taken: dict[AttemptId, str] = {}  # attempt id -> job type
        self._recording: set[AttemptId] = set()  # those of `_taken` whose handler has ended

    @property
    def free(self) -> int:
        """How many more attempts may be taken."""
        taken = len(self._taken)
        return min(self.size - taken + len(self._recording), 2 * self.size - taken)

    @property
    def all_free(self) -> bool:
        """Whether no attempt is in hand, not even one whose end is being written."""
        return not self._taken

    @property
    def running_types(self) -> set[str]:
        """The job types of the attempts whose handlers have not ended yet."""
        return {job_type for attempt_id, job_type in self._taken.items() if attempt_id not in self._recording}

    def holds(self, attempt_id: AttemptId) -> bool:
        """Whether this attempt was taken and not released."""
        return attempt_id in self._taken

    def take(self, attempt_id: AttemptId, job_type: str) -> None:
        """Counts an attempt that is being started. The caller has asked `holds` first."""
        self._taken[attempt_id] = job_type

    def record(self, attempt_id: AttemptId) -> None:
        """Frees the slot for another attempt: the handler has ended, and the end is being written."""
        self._recording.add(attempt_id)
        self.freed.set()

    def release(self, attempt_id: AttemptId) -> None:
        """Forgets an attempt for which nothing is left to do.

        Raises:
            KeyError: the attempt was released already.
        """
        del self._taken[attempt_id]
        self._recording.discard(attempt_id)
        self.freed.set()

    def keep_stuck(self, task: asyncio.Task[None], handler: StuckHandler) -> None:
        """Counts a handler as stuck until its task ends."""
        self.stuck[task] = handler
        task.add_done_callback(self.stuck.pop)
