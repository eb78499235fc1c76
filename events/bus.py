"""Announces that a job changed, inside this process and over Redis to every other process.

A message may be lost or arrive twice, so nothing may depend on its arrival. Listeners compare `seq`, and also poll the
database.
"""

import asyncio
import contextlib
import re
import secrets
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import orjson
import redis.asyncio
import structlog
from redis.exceptions import RedisError

from events.concurrency import end, lasting
from events.job import Job, Status
from events.rate_limited_log import LogLimit
from events.redis_connections import redis_pool, understood
from events.redis_faults import cause_of, fault_in

log = structlog.get_logger(__name__)

CHANNEL = "rireki:changes"
MOST_WAITING = 10_000  # messages that may wait to be sent to Redis; further messages are dropped, because listeners also poll
MOST_IN_A_MESSAGE = 1_000  # the most changes that a bus puts into one message
LARGEST_MESSAGE = 1024 * 1024  # bytes; longer messages are not read. A bus sends messages of up to a third of this size
LONGEST_TYPE = 200  # characters of a job type in a message
GREATEST = 2**31 - 1  # the largest value of PostgreSQL's type integer


class Change(NamedTuple):
    """The number `seq` of a new event of a job, and the job's state after this event."""

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
    """Announces changes inside this process only, for a service that runs without Redis."""

    def __init__(self) -> None:
        self._listeners: list[Listener] = []

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    @property
    def connected(self) -> bool:
        """Whether changes that other processes make arrive in this process."""
        return True

    @property
    def fault(self) -> str | None:
        """A fault of Redis that an operator must mend, as one sentence; None if there is none."""
        return None

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Calls `listener` with every change from now on.

        Returns a function that removes the listener. The listener must neither block nor raise.
        """
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def announce(self, changes: Iterable[Change]) -> None:
        """Passes the changes to all listeners.

        Never waits and never raises. A lost announcement does no harm, because listeners also poll the database.
        """
        for change in changes:
            for listener in tuple(self._listeners):
                listener(change)


class RedisBus(Bus):
    """Announces changes to every process on the same Redis.

    Reconnects when the connection was lost.
    """

    def __init__(self, url: str) -> None:
        super().__init__()
        pool = redis_pool(url, socket_connect_timeout=5, socket_timeout=15, socket_keepalive=True)
        self._redis = redis.asyncio.Redis.from_pool(pool)
        self._name = secrets.token_hex(8)
        self._ours = b'{"from":"%s"' % self._name.encode()
        self._outgoing: asyncio.Queue[bytes] = asyncio.Queue(MOST_WAITING)
        self._tasks: list[asyncio.Task[None]] = []
        self._subscribed = asyncio.Event()
        self._dropped = LogLimit()
        self._fault: str | None = None
        # the cause that was logged last, because the same cause is not logged twice in a row
        self._told: str | None = None

    @property
    def connected(self) -> bool:
        return self._subscribed.is_set()

    @property
    def fault(self) -> str | None:
        return self._fault

    async def start(self) -> None:
        """Subscribes to the changes that other processes announce.

        If Redis does not answer within one second, returns anyway, and goes on trying in the
        background.
        """
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
            for first in range(0, len(changes), MOST_IN_A_MESSAGE):
                some = [tuple(change) for change in changes[first : first + MOST_IN_A_MESSAGE]]
                self._outgoing.put_nowait(orjson.dumps({"from": self._name, "changes": some}))

    async def _publish(self) -> None:
        while True:
            message = await self._outgoing.get()
            try:
                await self._redis.publish(CHANNEL, message)
            except (RedisError, OSError):
                # A failed send loses the message. That is safe, because listeners poll the database
                # every 2 seconds.
                await asyncio.sleep(0.2)

    async def _subscribe(self) -> None:
        while True:
            try:
                async with self._redis.pubsub() as pubsub:
                    await pubsub.subscribe(CHANNEL)
                    self._subscribed.set()
                    self._fault = self._told = None
                    await self._pass_on(pubsub)
            except (RedisError, OSError) as error:
                self._fault, cause = fault_in(error), cause_of(error)
                if cause != self._told:
                    log.warning("bus: Redis is unreachable; the service polls the database for changes", error=cause)
                    self._told = cause
                self._subscribed.clear()
                await asyncio.sleep(0.5)

    async def _pass_on(self, pubsub: redis.asyncio.client.PubSub) -> None:
        unanswered = 0
        while True:
            with understood():
                message = await pubsub.get_message(ignore_subscribe_messages=True, timeout=5)
            if message is None:
                # A Redis that hangs with an open connection looks like an idle Redis. A ping tells
                # the two apart.
                if unanswered == 2:
                    raise TimeoutError("no answer to a ping")
                unanswered += 1
                await pubsub.ping()
                continue
            unanswered = 0
            if message["type"] == "message":
                self._hear(message["data"])

    def _hear(self, message: bytes) -> None:
        """Passes on changes from a message of another process, and drops malformed messages.

        Any user of this Redis may publish on the channel.
        """
        if message.startswith(self._ours):
            return
        try:
            changes = _read(message)
        except NotAChange as error:
            if (dropped := self._dropped.count()) is not None:
                log.warning("bus: malformed messages were dropped", reason=str(error), messages=dropped)
            return
        super().announce(changes)


class NotAChange(ValueError):
    """A message on the channel is malformed.

    The error's text says why, and quotes no part of the message.
    """


UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def _read(message: bytes) -> list[Change]:
    """Returns the changes in a message. Raises `NotAChange`.

    Ignores further values at the end of a change, because a later version of Rireki may send them.
    """
    if len(message) > LARGEST_MESSAGE:
        raise NotAChange(f"it has {len(message)} bytes, more than {LARGEST_MESSAGE}")
    try:
        said = orjson.loads(message)
    except ValueError as error:
        raise NotAChange("it is not JSON") from error
    changes = said.get("changes") if isinstance(said, dict) else None
    if not isinstance(changes, list):
        raise NotAChange("it has no list of changes")
    return [_change(change) for change in changes]


def _change(said: Any) -> Change:
    if not isinstance(said, list) or len(said) < len(Change._fields):
        raise NotAChange(f"a change is not a list of {len(Change._fields)} values or more")
    change = Change(*said[: len(Change._fields)])
    for field, value in zip(Change._fields, change, strict=True):
        if not _FITS[field](value):
            raise NotAChange(f"`{field}` of a change is not valid")
    return change


def _is_id(value: object) -> bool:
    return isinstance(value, str) and UUID.fullmatch(value) is not None


def _is_number(value: object) -> bool:
    return type(value) is int and 1 <= value <= GREATEST


_STATUSES = frozenset(map(str, Status))
_FITS: dict[str, Callable[[Any], bool]] = {
    "job_id": _is_id,
    "seq": _is_number,
    "attempt": _is_number,
    "status": lambda value: isinstance(value, str) and value in _STATUSES,
    "type": lambda value: isinstance(value, str) and 0 < len(value) <= LONGEST_TYPE,
    "user_id": lambda value: value is None or _is_id(value),
}
