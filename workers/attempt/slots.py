"""The slots of a worker: taken, freed, and the handlers that are stuck."""

import asyncio
import time
from dataclasses import dataclass, field

from workers.delivery.wire import AttemptId


@dataclass(frozen=True, slots=True)
class StuckHandler:
    """A handler that goes on although it was cancelled.

    Its attempt has ended, so the log refuses everything that the handler still reports.
    """

    job_id: str
    attempt: int
    type: str
    since: float = field(default_factory=time.monotonic)
    """Seconds of `time.monotonic()`."""


class Slots:
    """Keeps the attempts that one worker starts, runs or records, and counts its free slots.

    An attempt takes a slot while its start is being written. The slot is free for another attempt
    as soon as the handler has ended, even if the end of the attempt is not in the log yet. At most
    `size` ends may wait to be written, because a worker must not take more and more jobs while
    PostgreSQL hangs.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.freed = asyncio.Event()
        """Set when a slot becomes free."""
        self.stuck: dict[asyncio.Task[None], StuckHandler] = {}
        self._taken: dict[AttemptId, str] = {}  # attempt id -> job type
        self._recording: set[AttemptId] = set()  # the attempts in `_taken` whose handler has ended

    @property
    def free(self) -> int:
        """How many more attempts the worker may take."""
        taken = len(self._taken)
        return min(self.size - taken + len(self._recording), 2 * self.size - taken)

    @property
    def all_free(self) -> bool:
        """Whether the worker has no attempt left, not even one whose end is being written."""
        return not self._taken

    @property
    def running_types(self) -> set[str]:
        """The job types of the attempts whose handlers have not ended yet."""
        return {job_type for attempt_id, job_type in self._taken.items() if attempt_id not in self._recording}

    def holds(self, attempt_id: AttemptId) -> bool:
        """Returns whether this attempt was taken and is not released yet."""
        return attempt_id in self._taken

    def take(self, attempt_id: AttemptId, job_type: str) -> None:
        """Gives a slot to an attempt that is being started. Call it only if `holds` is false."""
        self._taken[attempt_id] = job_type

    def record(self, attempt_id: AttemptId) -> None:
        """Frees the slot of an attempt whose handler has ended, while its end is being written."""
        self._recording.add(attempt_id)
        self.freed.set()

    def release(self, attempt_id: AttemptId) -> None:
        """Forgets an attempt once its end is written or given up.

        Raises:
            KeyError: the attempt was released already.
        """
        del self._taken[attempt_id]
        self._recording.discard(attempt_id)
        self.freed.set()

    def keep_stuck(self, task: asyncio.Task[None], handler: StuckHandler) -> None:
        """Lists a handler in `stuck` until its task ends."""
        self.stuck[task] = handler
        task.add_done_callback(self.stuck.pop)
