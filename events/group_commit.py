"""Group commit: writes that arrive while a statement is in flight go out together in the next one.

Two lanes, each with a connection of its own, keep two statements in flight. A job that is in flight on either lane waits its
turn, so that the two never wait for each other's row. A batch that fails is retried one by one: one bad row never hurts its
neighbours. When the connection breaks, the outcome is unknown and reading "not there" would prove nothing (the old backend may
commit yet), so the same batch is sent again, under the same guard, until there is an answer; who sends learns `again=True` and
must recognise what the first try wrote.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Generic, Protocol, TypeVar

import asyncpg
import structlog

from events.database import Connection, is_away

log = structlog.get_logger(__name__)

LANES = 2
MOST_IN_A_BATCH = 500

TRANSIENT = (
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
    asyncpg.LockNotAvailableError,
    asyncpg.QueryCanceledError,
    asyncpg.InvalidCachedStatementError,
)
"""Rolled back for certain, and worth another try."""
MOST_TRIES = 5


STOPPED = ConnectionError("the store has been stopped")


class Write(Protocol):
    """One thing to write. `key` names the row it locks; `kind` says which writes share a statement; `answer` is resolved by the
    sender, or gets the exception that this write alone raised."""

    @property
    def key(self) -> Hashable: ...
    @property
    def kind(self) -> Hashable: ...
    @property
    def answer(self) -> asyncio.Future[bool]: ...


W = TypeVar("W", bound=Write)

Send = Callable[[Connection, Sequence[W], bool], Awaitable[None]]
"""`send(connection, batch, again)`: one statement, one commit; resolves the answers."""


class GroupCommit(Generic[W]):
    """`connect` opens a lane's connection; `send` writes a batch of one kind through it."""

    def __init__(
        self,
        connect: Callable[[], Awaitable[Connection]],
        send: Send[W],
        *,
        lanes: int = LANES,
        most_in_a_batch: int = MOST_IN_A_BATCH,
    ) -> None:
        self._connect = connect
        self._send = send
        self._number_of_lanes = lanes
        self._most_in_a_batch = most_in_a_batch
        self._waiting: deque[W] = deque()
        self._in_flight: set[Hashable] = set()
        self._arrived = asyncio.Event()
        self._lanes: list[asyncio.Task[None]] = []
        self._stopping = False

    def start(self) -> None:
        self._lanes = [asyncio.create_task(self._lane(), name=f"group commit {n}") for n in range(self._number_of_lanes)]

    async def stop(self) -> None:
        """Writes what waits, then closes the connections. Gives up at once where PostgreSQL is away."""
        self._stopping = True
        self._arrived.set()
        await asyncio.gather(*self._lanes, return_exceptions=True)
        _refuse(list(self._waiting), STOPPED)

    def write(self, write: W) -> None:
        if self._stopping:
            _refuse([write], STOPPED)
            return
        self._waiting.append(write)
        self._arrived.set()

    async def _lane(self) -> None:
        connection: Connection | None = None
        try:
            while batch := await self._next_batch():
                try:
                    connection = await self._settle(connection, batch)
                finally:
                    self._in_flight.difference_update(write.key for write in batch)
                    self._arrived.set()
        finally:
            if connection is not None:
                connection.terminate() if self._in_flight else await connection.close(timeout=2)

    async def _next_batch(self) -> list[W]:
        """The oldest writes of one kind whose rows are free. Empty only when stopping."""
        while True:
            batch = self._take()
            if batch or (self._stopping and not self._waiting):
                return batch
            self._arrived.clear()
            await self._arrived.wait()

    def _take(self) -> list[W]:
        batch: list[W] = []
        left: list[W] = []
        while self._waiting and len(batch) < self._most_in_a_batch:
            write = self._waiting.popleft()
            if write.answer.done():
                continue
            if write.key in self._in_flight or (batch and write.kind != batch[0].kind):
                left.append(write)
                continue
            self._in_flight.add(write.key)
            batch.append(write)
        self._waiting.extendleft(reversed(left))
        return batch

    async def _settle(self, connection: Connection | None, batch: list[W]) -> Connection | None:
        """Sends until every write of the batch has its answer. Returns the connection to go on with."""
        again = False
        delay = 0.05
        while batch := [write for write in batch if not write.answer.done()]:
            try:
                if connection is None or connection.is_closed():
                    connection = await self._connect()
                await self._send_batch(connection, batch, again)
            except Exception as error:
                # Whatever it is that keeps us from connecting (a changed password, say), somebody may mend it: a lane never ends.
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

    async def _send_batch(self, connection: Connection, batch: list[W], again: bool) -> None:
        try:
            await self._send(connection, batch, again)
        except Exception as error:
            if is_away(error):
                raise
            for write in batch:
                await self._send_alone(connection, write, again)

    async def _send_alone(self, connection: Connection, write: W, again: bool) -> None:
        for tries_left in reversed(range(MOST_TRIES)):
            try:
                await self._send(connection, [write], again)
                return
            except Exception as error:
                if is_away(error):
                    raise
                if tries_left == 0 or not isinstance(error, TRANSIENT):
                    _refuse([write], error)
                    return
                await asyncio.sleep(0.02 * (MOST_TRIES - tries_left))


def _refuse(writes: Sequence[Write], error: Exception) -> None:
    for write in writes:
        if not write.answer.done():
            write.answer.set_exception(error)
