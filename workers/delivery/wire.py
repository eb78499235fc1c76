"""The wire sends hints to the workers: each hint names a due job. The workers claim the hints.

This file holds the values `Hint`, `Claim` and `Capacity`, the interface `Wire`, and `LocalWire` for
one process. A hint that is lost, late or sent twice does no harm: the log decides whether an attempt
starts.
"""

import asyncio
import contextlib
import heapq
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import NamedTuple, Protocol

from events.job import Job

WINDOW = 2_000  # hints of one type on the wire at once, however many jobs are due


class AttemptId(NamedTuple):
    """The id of one attempt of one job. `str` gives arq's job id, `<job_id>:<attempt>`.

    Each attempt has an id of its own, because arq ignores an id that it has seen before.
    """

    job_id: str
    attempt: int

    def __str__(self) -> str:
        return f"{self.job_id}:{self.attempt}"


class Hint(NamedTuple):
    """Says that an attempt is due at `run_at`."""

    id: AttemptId
    type: str
    run_at: datetime

    @classmethod
    def of(cls, job: Job) -> "Hint":
        """Returns the hint for the attempt that a queued job waits for."""
        return cls(AttemptId(job.id, job.attempt), job.type, job.run_at)


class Claim(NamedTuple):
    """A hint that a worker has taken from the queue of `type` in order to start the attempt."""

    id: AttemptId
    type: str


class Capacity(NamedTuple):
    """How many jobs a worker can still take, and of which types.

    Each type in `idle` gets a slot before the other types get any. If no job of an idle type waits,
    one slot stays free for that type, so the long jobs of one type cannot fill every slot.
    """

    slots: int
    """Free slots."""
    kept: int
    """The most slots that stay free for idle types."""
    types: Sequence[str]
    """The job types that this worker runs, in the order in which their queues are read."""
    idle: Collection[str]
    """The types among `types` of which this worker runs no job now."""


class Wire(Protocol):
    """Carries hints to workers, inside the process (`LocalWire`) or over Redis (`RedisWire`)."""

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    def push(self, hints: Iterable[Hint], *, even_if_full: bool = False) -> None:
        """Sends hints, without waiting and without raising.

        A hint for a queue of more than `WINDOW` hints is dropped unless `even_if_full`. The tick
        sends it again later.
        """

    async def claim(self, capacity: Capacity) -> list[Claim]:
        """Takes as many hints as `capacity` allows: the oldest of each type, all types in turn."""

    def settle(self, claim: Claim) -> None:
        """Removes a claimed hint for good, because its attempt was started or refused."""

    async def wait(self) -> None:
        """Waits until there may be a hint to claim, at most a second."""

    async def length(self, job_type: str) -> int:
        """Returns how many hints of a type are on the wire.

        Returns `WINDOW` while Redis is unreachable, so that the tick sends no further part of a
        backlog.
        """


class LocalWire:
    """The wire without Redis, for the only worker, which runs in this process."""

    def __init__(self) -> None:
        self._queues: defaultdict[str, list[tuple[datetime, AttemptId]]] = defaultdict(list)
        self._ids: set[AttemptId] = set()  # the ids in `_queues`; an id that was claimed may be pushed again
        self._pushed = asyncio.Event()

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    def push(self, hints: Iterable[Hint], *, even_if_full: bool = False) -> None:
        for hint in hints:
            queue = self._queues[hint.type]
            if hint.id not in self._ids and (even_if_full or len(queue) < WINDOW):
                self._ids.add(hint.id)
                heapq.heappush(queue, (hint.run_at, hint.id))
        self._pushed.set()

    async def claim(self, capacity: Capacity) -> list[Claim]:
        self._pushed.clear()
        first = [job_type for job_type in capacity.types if job_type in capacity.idle and self._queues[job_type]]
        claimed = [self._pop(job_type) for job_type in first[: capacity.slots]]
        most = capacity.slots - min(capacity.kept, len(capacity.idle) - len(claimed))
        while len(claimed) < most and (waiting := [job_type for job_type in capacity.types if self._queues[job_type]]):
            claimed += [self._pop(job_type) for job_type in waiting[: most - len(claimed)]]
        return claimed

    def settle(self, claim: Claim) -> None: ...

    async def wait(self) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._pushed.wait(), 1)

    async def length(self, job_type: str) -> int:
        return len(self._queues[job_type])

    def _pop(self, job_type: str) -> Claim:
        _, attempt_id = heapq.heappop(self._queues[job_type])
        self._ids.discard(attempt_id)
        return Claim(attempt_id, job_type)
