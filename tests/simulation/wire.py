"""A model of Redis in memory, which loses, delays, doubles and reorders messages.

The messages are hints (each names an attempt to run) and announced changes of jobs.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

from redis.exceptions import ConnectionError as RedisAway

from events.bus import Bus, Change
from tests.simulation.loop import PROCESS, WORLD, Process, VirtualLoop
from workers.delivery.wire import WINDOW, AttemptId, Capacity, Claim, Hint

CLAIM_LASTS = 10.0  # seconds for which a hint that one worker has claimed is kept from all others


@dataclass
class WireTroubles:
    """The probability of each fault of a message."""

    lost: float = 0.0
    doubled: float = 0.0
    late: float = 0.0
    bus_lost: float = 0.0


class Redis:
    """The simulated Redis server and its network."""

    def __init__(self, loop: VirtualLoop, random: Random) -> None:
        self.loop = loop
        self.random = random
        self.troubles = WireTroubles()
        self.up = True
        self.buses: list[SimBus] = []
        self.waiting: dict[AttemptId, tuple[float, str]] = {}
        self.claimed: dict[AttemptId, float] = {}
        self.woken = asyncio.Event()

    def empty(self) -> None:
        self.waiting.clear()
        self.claimed.clear()

    def send(self, what: Callable[..., None], *facts: Any, to: Process = WORLD) -> None:
        """Calls `what` in the process `to` after a random delay: once, twice or never."""
        troubles, chance = self.troubles, self.random
        if not self.up or chance.random() < troubles.lost:
            return
        self.loop.call_later(self.way(), what, *facts, context=to.context)
        if chance.random() < troubles.doubled:
            self.loop.call_later(self.way() + chance.random() * 12, what, *facts, context=to.context)

    def way(self) -> float:
        seconds = 0.001 + self.random.random() * 0.003
        return seconds + self.random.random() * 5 if self.random.random() < self.troubles.late else seconds

    def put(self, hint: Hint) -> None:
        self.waiting[hint.id] = hint.run_at.timestamp(), hint.type
        self.woken.set()

    def take(self, id: AttemptId) -> None:
        self.waiting.pop(id, None)
        self.claimed.pop(id, None)

    def claim(self, capacity: Capacity) -> list[Claim]:
        """Claims waiting hints for a worker, as many as its `capacity` allows. Returns the claims."""
        queues = {job_type: self._claimable(job_type) for job_type in capacity.types}
        first = [job_type for job_type in capacity.types if job_type in capacity.idle and queues[job_type]]
        claims = [Claim(queues[job_type].pop(0), job_type) for job_type in first[: capacity.slots]]
        most = capacity.slots - min(capacity.kept, len(capacity.idle) - len(claims))
        while len(claims) < most and (more := [job_type for job_type in capacity.types if queues[job_type]]):
            claims += [Claim(queues[job_type].pop(0), job_type) for job_type in more[: most - len(claims)]]
        self.claimed |= {claim.id: self.loop.time() + CLAIM_LASTS for claim in claims}
        return claims

    def _claimable(self, type: str) -> list[AttemptId]:
        now = self.loop.time()
        waiting = [(score, id) for id, (score, of) in self.waiting.items() if of == type and self.claimed.get(id, 0) <= now]
        return [id for _, id in sorted(waiting)]


class SimWire:
    """Replaces `RedisWire` (the hints in Redis) by calls of the simulated Redis."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    def push(self, hints: Iterable[Hint], *, even_if_full: bool = False) -> None:
        for hint in hints:
            self._redis.send(self._redis.put, hint)

    async def claim(self, capacity: Capacity) -> list[Claim]:
        redis = self._redis
        await asyncio.sleep(redis.way())
        if not redis.up:
            raise RedisAway("Redis is unreachable")
        claims = redis.claim(capacity)
        await asyncio.sleep(redis.way())
        if not redis.up or redis.random.random() < redis.troubles.lost:
            raise RedisAway("the answer was lost")
        return claims

    def settle(self, claim: Claim) -> None:
        self._redis.send(self._redis.take, claim.id)

    async def wait(self) -> None:
        redis = self._redis
        if not redis.up:
            await asyncio.sleep(redis.way())
            raise RedisAway("Redis is unreachable")
        redis.woken.clear()
        await asyncio.wait({asyncio.ensure_future(redis.woken.wait())}, timeout=1)

    async def length(self, type: str) -> int:
        redis = self._redis
        await asyncio.sleep(redis.way())
        return sum(of == type for _, of in redis.waiting.values()) if redis.up else WINDOW


class SimBus(Bus):
    """The bus of one process. It loses some of the announcements between processes."""

    def __init__(self, redis: Redis) -> None:
        super().__init__()
        self._redis = redis
        self._process = PROCESS.get()
        redis.buses.append(self)

    async def stop(self) -> None:
        self._redis.buses.remove(self)

    def announce(self, changes: Iterable[Change]) -> None:
        changes = list(changes)
        super().announce(changes)
        for bus in self._redis.buses:
            if bus is not self and self._redis.random.random() >= self._redis.troubles.bus_lost:
                self._redis.send(bus.hear, changes, to=bus._process)

    def hear(self, changes: list[Change]) -> None:
        super().announce(changes)


class TakingLoop:
    """Replaces arq's worker loop: it only claims jobs and passes them on."""

    def __init__(
        self,
        wire: SimWire,
        job_types: Mapping[str, Any],
        take_some: Callable[[], Awaitable[None]],
        stopping: asyncio.Event,
    ) -> None:
        self._take_some = take_some
        self._stopping = stopping

    async def main(self) -> None:
        while not self._stopping.is_set():
            await self._take_some()
