"""Tells who is listening that a job changed: inside the process, and over Redis to every other.

A message may be lost or come twice; it may never be needed. Listeners compare `seq`, and look for themselves now and then.
"""

import asyncio
import contextlib
import secrets
from collections.abc import Callable, Iterable
from typing import NamedTuple

import orjson
import redis.asyncio
import structlog
from redis.exceptions import RedisError

from events.job import Job
from events.lasting import end, lasting
from events.redis_connections import redis_pool

log = structlog.get_logger(__name__)

CHANNEL = "rireki:changes"
MOST_WAITING = 10_000  # batches that wait for Redis; beyond this the newest are dropped, since listeners look for themselves


class Change(NamedTuple):
    """A job is now at `seq`."""

    job_id: str
    seq: int
    attempt: int
    status: str
    type: str
    user_id: str | None

    @classmethod
    def of(cls, job: Job) -> "Change":
        return cls(job.id, job.seq, job.attempt, job.status, job.type, job.user_id)


Listener = Callable[[Change], None]


class Bus:
    """Announces changes inside this process. Used as it is where there is no Redis."""

    def __init__(self) -> None:
        self._listeners: list[Listener] = []

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    @property
    def connected(self) -> bool:
        """Whether changes made by other processes are heard."""
        return True

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Calls `listener` with every change from now on; it must not wait and not raise. Returns how to stop."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def announce(self, changes: Iterable[Change]) -> None:
        """Never waits and never raises: the log is the truth, this only saves the others from looking."""
        for change in changes:
            for listener in tuple(self._listeners):
                listener(change)


class RedisBus(Bus):
    """Announces changes to every process on the same Redis. Lives through the loss of Redis."""

    def __init__(self, url: str) -> None:
        super().__init__()
        pool = redis_pool(url, socket_connect_timeout=5, socket_timeout=15, socket_keepalive=True)
        self._redis = redis.asyncio.Redis.from_pool(pool)
        self._name = secrets.token_hex(8)
        self._ours = b'{"from":"%s"' % self._name.encode()
        self._outgoing: asyncio.Queue[bytes] = asyncio.Queue(MOST_WAITING)
        self._tasks: list[asyncio.Task[None]] = []
        self._subscribed = asyncio.Event()

    @property
    def connected(self) -> bool:
        return self._subscribed.is_set()

    async def start(self) -> None:
        """Returns once subscribed, or after a second without Redis: it goes on trying by itself."""
        self._tasks = [lasting(self._publish(), "bus: publishing"), lasting(self._subscribe(), "bus: listening")]
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._subscribed.wait(), 1)

    async def stop(self) -> None:
        await end(*self._tasks)
        await self._redis.aclose()

    def announce(self, changes: Iterable[Change]) -> None:
        changes = list(changes)
        super().announce(changes)
        with contextlib.suppress(asyncio.QueueFull):
            self._outgoing.put_nowait(orjson.dumps({"from": self._name, "changes": [tuple(change) for change in changes]}))

    async def _publish(self) -> None:
        while True:
            message = await self._outgoing.get()
            try:
                await self._redis.publish(CHANNEL, message)
            except (RedisError, OSError):
                # The message is lost, and nobody waits for it: whoever must know looks every 2 seconds.
                await asyncio.sleep(0.2)

    async def _subscribe(self) -> None:
        while True:
            try:
                async with self._redis.pubsub() as pubsub:
                    await pubsub.subscribe(CHANNEL)
                    self._subscribed.set()
                    await self._pass_on(pubsub)
            except (RedisError, OSError) as error:
                if self._subscribed.is_set():
                    log.warning("bus: Redis is away, changes are found by looking", error=str(error))
                self._subscribed.clear()
                await asyncio.sleep(0.5)

    async def _pass_on(self, pubsub: redis.asyncio.client.PubSub) -> None:
        unanswered = 0
        while True:
            message = await pubsub.get_message(ignore_subscribe_messages=True, timeout=5)
            if message is None:
                # A Redis that hangs without closing looks like one with nothing to say, so ask it.
                if unanswered == 2:
                    raise TimeoutError("no answer to a ping")
                unanswered += 1
                await pubsub.ping()
                continue
            unanswered = 0
            if message["type"] == "message":
                self._hear(message["data"])

    def _hear(self, message: bytes) -> None:
        """Passes on what others announce; a later version may say more of each change."""
        if message.startswith(self._ours):
            return
        try:
            said = orjson.loads(message)
            changes = [Change(*change[: len(Change._fields)]) for change in said["changes"]]
        except (TypeError, ValueError, KeyError) as error:
            log.warning("bus: a message that is none of ours", error=repr(error))
            return
        super().announce(changes)
