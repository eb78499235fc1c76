"""The wire carries hints to workers. Here are its words (hint, claim, capacity) and the wire inside one process."""

import asyncio
import contextlib
import heapq
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import NamedTuple, Protocol

from events.job import Job

WINDOW = 2_000  # hints of one type on the wire at once, whatever the backlog


class AttemptId(NamedTuple):
    """Also arq's job id, in the form `<job_id>:<attempt>`: a fresh one for each attempt, since arq hides an id it has seen."""

    job_id: str
    attempt: int

    def __str__(self) -> str:
        return f"{self.job_id}:{self.attempt}"


class Hint(NamedTuple):
    """An attempt that waits to be run."""

    id: AttemptId
    type: str
    run_at: datetime

    @classmethod
    def of(cls, job: Job) -> "Hint":
        return cls(AttemptId(job.id, job.attempt), job.type, job.run_at)


class Claim(NamedTuple):
    """A hint that was taken from the queue of `type`."""

    id: AttemptId
    type: str


class Capacity(NamedTuple):
    """What a worker has room for: so many jobs of these types, the first in the list being the first to be asked. Of a type in
    `idle` nothing runs here: it gets a slot before the others get a second one, and where none of it waits, one of at most
    `kept` slots stays free for it. So the long jobs of one type never hold every slot against another."""

    slots: int
    kept: int
    types: Sequence[str]
    idle: Collection[str]


class Wire(Protocol):
    """Carries hints to workers: inside the process (`LocalWire`), or over Redis (`workers/redis_wire.py`)."""

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    def push(self, hints: Iterable[Hint], *, even_if_full: bool = False) -> None:
        """Never waits and never raises. What does not fit is left to the tick."""

    async def claim(self, room: Capacity) -> list[Claim]:
        """Takes as many as there is room for: of each type those that have waited longest, of all types in turn."""

    def settle(self, claim: Claim) -> None:
        """The claimed attempt was started, or need not be."""

    async def wait(self) -> None:
        """Returns when there may be something to claim, and after a second at the latest."""

    async def length(self, type: str) -> int:
        """How many hints of a type are on the wire; `WINDOW` while it is away, as nothing can be delivered then."""


class LocalWire:
    """Where there is no Redis: the worker in this process is the only one to tell."""

    def __init__(self) -> None:
        self._queues: defaultdict[str, list[tuple[datetime, AttemptId]]] = defaultdict(list)
        self._ids: set[AttemptId] = set()  # of those that wait, and no others: what was claimed and lost is delivered again
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

    async def claim(self, room: Capacity) -> list[Claim]:
        self._pushed.clear()
        first = [type for type in room.types if type in room.idle and self._queues[type]]
        claimed = [self._pop(type) for type in first[: room.slots]]
        most = room.slots - min(room.kept, len(room.idle) - len(claimed))
        while len(claimed) < most and (waiting := [type for type in room.types if self._queues[type]]):
            claimed += [self._pop(type) for type in waiting[: most - len(claimed)]]
        return claimed

    def settle(self, claim: Claim) -> None: ...

    async def wait(self) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._pushed.wait(), 1)

    async def length(self, type: str) -> int:
        return len(self._queues[type])

    def _pop(self, type: str) -> Claim:
        _, id = heapq.heappop(self._queues[type])
        self._ids.discard(id)
        return Claim(id, type)
