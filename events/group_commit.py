"""Group commit: writes that arrive while a statement is in flight share the next one.

Lanes: a lane is a task with its own connection, which sends one statement at a time. Two lanes keep two statements in flight.
A new write wakes the idle lane that was busy most recently. Each statement holds writes of one kind. While one lane writes a
job, the other lane skips writes of that job, so that the lanes never wait for each other's row lock.

Batching: a statement costs more than the writes in it. So while a statement of a kind is in flight, a few new writes of this
kind wait until the statement ends or more writes come, and at most `LINGER` seconds. A `shared` kind has many writers, and
each of them waits for its reply before it writes again. The lanes divide the pending writes of such a kind, because a lane
that took all of them would leave the other lane, and then PostgreSQL, without work.

Failures: a batch that PostgreSQL rejects is sent again write by write, so that one bad row fails alone. When another
transaction holds the lock of a row, the batch moves to a third lane, which may wait for the lock while the two others go on.
When a connection breaks, it is unknown whether the batch was written. Reading the row proves nothing, because the old backend
may commit later. So the same batch is sent again, with `again=True` and the same expected `seq`, until it is resolved or no
caller waits any more. The sender must recognise the writes that the first try carried out.
"""

import asyncio
import math
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Hashable, Sequence
from itertools import chain
from typing import Any, Generic, Protocol, TypeVar

import asyncpg
import structlog

from events.database import Connection, LockNotAvailable, is_away
from events.database_faults import fault

log = structlog.get_logger(__name__)

LANES = 2
MOST_IN_A_BATCH = 250
WORTH_A_STATEMENT = 20  # writes; with fewer, the fixed cost of a statement exceeds the cost of its rows
LINGER = 0.02  # seconds that a few writes wait while a statement of their kind is in flight
STOPS_WITHIN = 5.0  # seconds that `stop` waits for the pending writes

TRANSIENT = (
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
    LockNotAvailable,
    asyncpg.QueryCanceledError,
    asyncpg.InvalidCachedStatementError,
)
"""Errors after which the statement is rolled back for certain, and may succeed later."""

STOPPED = ConnectionError("the store has been stopped")


class Write(Protocol):
    """One thing to write, with a future for its outcome.

    `key` names the row that the write locks. Writes of one `kind` may share a statement. `reply` gets the result of the
    write, or its exception. While PostgreSQL has a fault that only an operator can mend, a `patient` write waits, and every
    other write fails at once.
    """

    @property
    def key(self) -> Hashable: ...
    @property
    def kind(self) -> Hashable: ...
    @property
    def reply(self) -> asyncio.Future[Any]: ...
    @property
    def patient(self) -> bool: ...


W = TypeVar("W", bound=Write)

Send = Callable[[Connection, Sequence[W], bool], Awaitable[None]]
"""`send(connection, batch, again)` sends one statement, commits, and resolves the replies."""


class GroupCommit(Generic[W]):
    """Batches concurrent writes over a few connections.

    `connect` opens the connection of a lane, `send` writes a batch of one kind through it, and `shared` names the kinds whose
    pending writes the lanes divide among themselves.
    """

    def __init__(
        self,
        connect: Callable[[], Awaitable[Connection]],
        send: Send[W],
        *,
        shared: Collection[Hashable] = (),
        lanes: int = LANES,
        most_in_a_batch: int = MOST_IN_A_BATCH,
    ) -> None:
        self._connect = connect
        self._send = send
        self._shared = shared
        self._number_of_lanes = lanes
        self._most_in_a_batch = most_in_a_batch
        # The pending writes of each kind. No deque is empty, and the first kind is sent next.
        self._waiting: dict[Hashable, deque[W]] = {}
        self._in_flight: set[Hashable] = set()
        # For each kind with a statement in flight: the time until which new writes of that kind may
        # wait.
        self._under_way: dict[Hashable, float] = {}
        self._looking_again: asyncio.TimerHandle | None = None
        self._idle: list[asyncio.Future[None]] = []  # one for each sleeping lane; the lane that was busy last is last
        self._apart: deque[W] = deque()  # writes that met a row lock; they stay in `_in_flight`
        self._put_apart = asyncio.Event()
        self._lanes: list[asyncio.Task[None]] = []
        self._stopping = False

    def start(self) -> None:
        lanes = [self._lane(self._next_batch) for _ in range(self._number_of_lanes)]
        # The third lane sends with `again=True`, because the transaction that holds the row's lock
        # may be the first try of the same write.
        lanes.append(self._lane(self._next_apart, again=True))
        self._lanes = [asyncio.create_task(lane, name=f"group commit {n}") for n, lane in enumerate(lanes)]

    async def stop(self) -> None:
        """Sends the pending writes, then closes the connections.

        Writes fail at once if PostgreSQL cannot be reached, and after `STOPS_WITHIN` seconds if it does not answer.
        """
        self._stopping = True
        self._wake()
        self._put_apart.set()
        _, late = await asyncio.wait(self._lanes, timeout=STOPS_WITHIN)
        for lane in late:
            lane.cancel()
        await asyncio.gather(*self._lanes, return_exceptions=True)
        _refuse([*chain.from_iterable(self._waiting.values()), *self._apart], STOPPED)

    def write(self, write: W) -> None:
        """Accepts one write and returns at once.

        After `stop`, the reply of each new write is a `ConnectionError`.
        """
        if self._stopping:
            _refuse([write], STOPPED)
            return
        self._waiting.setdefault(write.kind, deque()).append(write)
        if self._waits_a_moment(write.kind):
            self._look_again(write.kind)
        else:
            self._wake()

    def _waits_a_moment(self, kind: Hashable) -> bool:
        """Returns whether the pending writes of this kind should wait before they are sent.

        They wait if they are few and a statement of this kind is in flight. They wait until
        `LINGER` seconds after that statement began, because a statement that takes longer may be
        waiting for a row lock.
        """
        until = self._under_way.get(kind)
        few = len(self._waiting[kind]) < (WORTH_A_STATEMENT if kind in self._shared else self._most_in_a_batch / 2)
        return until is not None and few and asyncio.get_running_loop().time() < until

    def _look_again(self, kind: Hashable) -> None:
        """Sets a timer that wakes a lane when the writes of this kind have waited long enough.

        One timer serves all kinds, because all of them wait for the same short time.
        """
        if self._looking_again is None:
            self._looking_again = asyncio.get_running_loop().call_at(self._under_way[kind], self._have_looked)

    def _have_looked(self) -> None:
        self._looking_again = None
        self._wake()

    def _wake(self) -> None:
        if self._idle and not (lane := self._idle.pop()).done():
            lane.set_result(None)

    async def _lane(self, next_batch: Callable[[], Awaitable[list[W]]], *, again: bool = False) -> None:
        connection: Connection | None = None
        batch: list[W] = []
        try:
            while batch := await next_batch():
                kind = batch[0].kind
                until = self._under_way.get(kind)
                connection = await self._settle(connection, batch, again)
                # This is false if the other lane has taken a later batch of this kind.
                if not again and self._under_way.get(kind) == until:
                    self._under_way.pop(kind, None)
                self._in_flight.difference_update(write.key for write in batch if write.reply.done())
                if self._waiting:  # some of these writes may be for the rows that were just released
                    self._wake()
        finally:
            _refuse(batch, STOPPED)
            if connection is not None:
                connection.terminate() if self._in_flight else await connection.close(timeout=2)

    async def _next_batch(self) -> list[W]:
        """Waits for writes, and returns the oldest ones of one kind.

        The kinds take turns. Writes of a job that another lane is writing stay behind. The list is empty only when the store
        is stopping.
        """
        while True:
            batch, ended = self._take(), self._stopping and not self._waiting
            if ended or (batch and self._waiting):
                self._wake()
            if batch or ended:
                return batch
            self._idle.append(asyncio.get_running_loop().create_future())
            await self._idle[-1]

    async def _next_apart(self) -> list[W]:
        """Waits for a write that met a row lock, and returns it alone.

        The list is empty only when the store is stopping.
        """
        while not self._apart and not self._stopping:
            self._put_apart.clear()
            await self._put_apart.wait()
        return [self._apart.popleft()] if self._apart else []

    def _take(self) -> list[W]:
        return next(filter(None, map(self._take_of, tuple(self._waiting))), [])

    def _take_of(self, kind: Hashable) -> list[W]:
        if self._waits_a_moment(kind):
            self._look_again(kind)
            return []
        batch: list[W] = []
        left: list[W] = []
        waiting = self._waiting.pop(kind)
        most = self._most_in_a_batch
        if kind in self._shared and not self._in_flight and len(waiting) >= self._number_of_lanes * WORTH_A_STATEMENT:
            most = min(most, math.ceil(len(waiting) / self._number_of_lanes))
        while waiting and len(batch) < most:
            write = waiting.popleft()
            if write.reply.done():
                continue
            if write.key in self._in_flight:
                left.append(write)
                continue
            self._in_flight.add(write.key)
            batch.append(write)
        waiting.extendleft(reversed(left))
        if waiting:
            self._waiting[kind] = waiting
        if batch:
            self._under_way[kind] = asyncio.get_running_loop().time() + LINGER
        return batch

    async def _settle(self, connection: Connection | None, batch: list[W], again: bool) -> Connection | None:
        """Sends the batch until each of its writes is resolved or moved to the third lane.

        Returns the connection that the lane uses next; None if it must open one.
        """
        delay = 0.05
        while batch := [write for write in batch if not write.reply.done()]:
            try:
                if connection is None or connection.is_closed():
                    connection = await self._connect()
                self._settle_apart(await self._send_batch(connection, batch, again))
                break
            except Exception as error:
                # A lane survives every error, because an operator may mend the cause (a changed password, for example).
                if (cause := fault(error)) is not None:
                    log.error("group commit: cannot write events to PostgreSQL", cause=cause, writes=len(batch))
                    _refuse([write for write in batch if not write.patient], error)
                else:
                    log.warning(
                        "group commit: no answer from PostgreSQL; sending the writes again",
                        error=repr(error),
                        writes=len(batch),
                    )
                if connection is not None:
                    # From here on, it is unknown whether the statement was carried out.
                    again = True
                    connection.terminate()
                    connection = None
                if self._stopping:
                    _refuse(batch, error)
                await asyncio.sleep(delay)
                delay = min(delay * 2, 1.0)
        return connection

    async def _send_batch(self, connection: Connection, batch: list[W], again: bool) -> list[W]:
        """Sends a batch in one statement. Returns the writes that may succeed when sent again."""
        try:
            await self._send(connection, batch, again)
            return []
        except Exception as error:
            if is_away(error):
                raise
            if isinstance(error, LockNotAvailable):
                # Each try may wait for the whole `lock_timeout`, so this lane does not try again: the third lane does.
                return batch
        return [write for write in batch if not await self._send_alone(connection, write, again)]

    async def _send_alone(self, connection: Connection, write: W, again: bool) -> bool:
        """Sends one write. Returns False if it failed and may succeed when sent again."""
        try:
            await self._send(connection, [write], again)
        except Exception as error:
            if is_away(error):
                raise
            if isinstance(error, TRANSIENT):
                return False
            _refuse([write], error)
        return True

    def _settle_apart(self, writes: Sequence[W]) -> None:
        writes = [write for write in writes if not write.reply.done()]
        if self._stopping:
            _refuse(writes, STOPPED)
        elif writes:
            log.warning("group commit: a row is locked by another transaction; trying again", writes=len(writes))
            self._apart.extend(writes)
            self._put_apart.set()


def _refuse(writes: Sequence[Write], error: Exception) -> None:
    for write in writes:
        if not write.reply.done():
            write.reply.set_exception(error)
