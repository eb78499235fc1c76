"""Group commit: writes that arrive while a statement is in flight go out together in the next one.

Two lanes, each with a connection of its own, keep two statements in flight: of two kinds, or of one that fills both. A write
wakes one of those that are idle, the one that was busy last; a few writes whose kind is under way wait for it, for a moment at
most, and go out together. A kind may be shared, whose many writers each wait for an answer before they write again: each lane
takes its part of what waits, or all of them would wait for PostgreSQL, and then it for them, in turns. A job that is in flight
on either lane waits its turn, so that the two never wait for each other's row. A batch that fails is retried one by one: one bad
row never hurts its neighbours. A batch that meets a row which somebody else holds is settled apart, by a third lane, for as long
as it takes: the others go on meanwhile. When the connection breaks, the outcome is unknown and reading "not there" would prove
nothing (the old backend may commit yet), so the same batch is sent again, under the same guard, until there is an answer or
nobody wants one any more; who sends learns `again=True` and must recognise what the first try wrote.
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
ENOUGH = 20  # writes; with fewer, a statement costs more by itself than by what it writes
A_MOMENT = 0.02  # seconds that a few writes wait for the statement of their kind that is under way
STOPS_WITHIN = 5.0  # seconds

TRANSIENT = (
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
    LockNotAvailable,
    asyncpg.QueryCanceledError,
    asyncpg.InvalidCachedStatementError,
)
"""Rolled back for certain, and worth another try."""

STOPPED = ConnectionError("the store has been stopped")


class Write(Protocol):
    """One thing to write. `key` names the row it locks; `kind` says which writes share a statement; `answer` is resolved by the
    sender, or gets the exception that this write alone raised. One that is not `patient` is refused where there is no connection
    for a reason that no waiting mends."""

    @property
    def key(self) -> Hashable: ...
    @property
    def kind(self) -> Hashable: ...
    @property
    def answer(self) -> asyncio.Future[Any]: ...
    @property
    def patient(self) -> bool: ...


W = TypeVar("W", bound=Write)

Send = Callable[[Connection, Sequence[W], bool], Awaitable[None]]
"""`send(connection, batch, again)`: one statement, one commit; resolves the answers."""


class GroupCommit(Generic[W]):
    """`connect` opens a lane's connection; `send` writes a batch of one kind through it; `shared` are the kinds that lanes
    share."""

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
        self._waiting: dict[Hashable, deque[W]] = {}  # by kind; none is empty, and the first has its turn
        self._in_flight: set[Hashable] = set()
        self._under_way: dict[Hashable, float] = {}  # by kind: until when a few more wait for the batch that was taken last
        self._looking_again: asyncio.TimerHandle | None = None
        self._idle: list[asyncio.Future[None]] = []  # of lanes that wait to be woken; who was busy last is last
        self._apart: deque[W] = deque()  # in flight too, until they have their answers
        self._put_apart = asyncio.Event()
        self._lanes: list[asyncio.Task[None]] = []
        self._stopping = False

    def start(self) -> None:
        lanes = [self._lane(self._next_batch) for _ in range(self._number_of_lanes)]
        # What is apart was sent before, and its first backend may be the one that holds the row.
        lanes.append(self._lane(self._next_apart, again=True))
        self._lanes = [asyncio.create_task(lane, name=f"group commit {n}") for n, lane in enumerate(lanes)]

    async def stop(self) -> None:
        """Writes what waits, then closes the connections. Gives up at once where PostgreSQL is away, and soon where it gives no
        answer."""
        self._stopping = True
        self._wake()
        self._put_apart.set()
        _, late = await asyncio.wait(self._lanes, timeout=STOPS_WITHIN)
        for lane in late:
            lane.cancel()
        await asyncio.gather(*self._lanes, return_exceptions=True)
        _refuse([*chain.from_iterable(self._waiting.values()), *self._apart], STOPPED)

    def write(self, write: W) -> None:
        if self._stopping:
            _refuse([write], STOPPED)
            return
        self._waiting.setdefault(write.kind, deque()).append(write)
        if self._waits_a_moment(write.kind):
            self._look_again(write.kind)
        else:
            self._wake()

    def _waits_a_moment(self, kind: Hashable) -> bool:
        """A few writes go out together after those of their kind that are under way, unless these take long: somebody may hold one
        of their rows."""
        until = self._under_way.get(kind)
        few = len(self._waiting[kind]) < (ENOUGH if kind in self._shared else self._most_in_a_batch / 2)
        return until is not None and few and asyncio.get_running_loop().time() < until

    def _look_again(self, kind: Hashable) -> None:
        """When this one has waited, or another, which is no later than a moment from now."""
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
                if not again and self._under_way.get(kind) == until:  # and the other lane has taken no more of it
                    self._under_way.pop(kind, None)
                self._in_flight.difference_update(write.key for write in batch if write.answer.done())
                if self._waiting:  # some of it for these very rows
                    self._wake()
        finally:
            _refuse(batch, STOPPED)
            if connection is not None:
                connection.terminate() if self._in_flight else await connection.close(timeout=2)

    async def _next_batch(self) -> list[W]:
        """The oldest writes of one kind whose rows are free, of all kinds in turn. Empty only when stopping."""
        while True:
            batch, ended = self._take(), self._stopping and not self._waiting
            if ended or (batch and self._waiting):
                self._wake()
            if batch or ended:
                return batch
            self._idle.append(asyncio.get_running_loop().create_future())
            await self._idle[-1]

    async def _next_apart(self) -> list[W]:
        """One write. Empty only when stopping."""
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
        if kind in self._shared and not self._in_flight and len(waiting) >= self._number_of_lanes * ENOUGH:
            most = min(most, math.ceil(len(waiting) / self._number_of_lanes))
        while waiting and len(batch) < most:
            write = waiting.popleft()
            if write.answer.done():
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
            self._under_way[kind] = asyncio.get_running_loop().time() + A_MOMENT
        return batch

    async def _settle(self, connection: Connection | None, batch: list[W], again: bool) -> Connection | None:
        """Sends until every write of the batch has its answer or is put apart. Returns the connection to go on with."""
        delay = 0.05
        while batch := [write for write in batch if not write.answer.done()]:
            try:
                if connection is None or connection.is_closed():
                    connection = await self._connect()
                self._settle_apart(await self._send_batch(connection, batch, again))
                break
            except Exception as error:
                # Whatever it is that keeps us from connecting (a changed password, say), somebody may mend it: a lane never ends.
                if (cause := fault(error)) is not None:
                    log.error("group commit: cannot write", cause=cause, writes=len(batch))
                    _refuse([write for write in batch if not write.patient], error)
                else:
                    log.warning("group commit: no answer from PostgreSQL, trying again", error=repr(error), writes=len(batch))
                if connection is not None:
                    # The outcome of what was sent is unknown from here on.
                    again = True
                    connection.terminate()
                    connection = None
                if self._stopping:
                    _refuse(batch, error)
                await asyncio.sleep(delay)
                delay = min(delay * 2, 1.0)
        return connection

    async def _send_batch(self, connection: Connection, batch: list[W], again: bool) -> list[W]:
        """Returns those that are worth another try."""
        try:
            await self._send(connection, batch, again)
            return []
        except Exception as error:
            if is_away(error):
                raise
            if isinstance(error, LockNotAvailable):
                # Each try may take as long as a lock is waited for: not in this lane.
                return batch
        return [write for write in batch if not await self._send_alone(connection, write, again)]

    async def _send_alone(self, connection: Connection, write: W, again: bool) -> bool:
        """False where it is worth another try."""
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
        writes = [write for write in writes if not write.answer.done()]
        if self._stopping:
            _refuse(writes, STOPPED)
        elif writes:
            log.warning("group commit: somebody holds a row, trying again", writes=len(writes))
            self._apart.extend(writes)
            self._put_apart.set()


def _refuse(writes: Sequence[Write], error: Exception) -> None:
    for write in writes:
        if not write.answer.done():
            write.answer.set_exception(error)
