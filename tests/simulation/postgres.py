"""A model of PostgreSQL in memory, which replaces the connections of the service.

A statement takes effect at one instant between the request and the answer. A connection may break
before this instant or after it. It may also break first, and the statement still takes effect
later. The model knows only the statements that are passed to `Postgres`.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from random import Random
from typing import Any, cast

import asyncpg

from events.database import Connection, Database
from tests.simulation.checks import Checks
from tests.simulation.clock import at
from tests.simulation.loop import PROCESS, WORLD, Process, VirtualLoop

IDLE_IN_TRANSACTION = 5.0  # seconds until the server ends an idle transaction, as in `events/database.py`
CLIENT_GIVES_UP = 35.0  # seconds that a client waits for the answer to a statement
CANNOT_CONNECT_WITHIN = 10.0  # seconds that a client waits for a connection


Trace = Callable[[str], None]


class Row:
    """A row of a result, like asyncpg's record: values by name, by index, and in order."""

    __slots__ = ("_columns",)

    def __init__(self, columns: dict[str, Any]) -> None:
        self._columns = columns

    def __getitem__(self, column: str | int) -> Any:
        return self._columns[column] if isinstance(column, str) else list(self._columns.values())[column]

    def __iter__(self) -> Iterator[Any]:
        return iter(self._columns.values())

    def values(self) -> Iterable[Any]:
        return self._columns.values()

    def keys(self) -> Iterable[str]:
        return self._columns.keys()


@dataclass
class Troubles:
    """The probability of each fault of a statement, and the network latency in seconds."""

    broken_before: float = 0.0
    broken_but_done_later: float = 0.0
    broken_after: float = 0.0
    silent: float = 0.0
    rolled_back: float = 0.0
    slow: float = 0.0
    latency: float = 0.002


@dataclass(slots=True, eq=False)
class Transaction:
    """An open transaction. `now` is the time at which it began, as `now()` in SQL."""

    now: datetime
    used: float
    writes: list[Callable[[], None]] = field(default_factory=list)
    still_mine: tuple[str, int, float] | None = None
    """The job and the attempt that the last check found processing, and the check's time."""


class Postgres:
    """The simulated server.

    `troubles` has the probabilities of faults on every connection. `statements` maps the text of
    each SQL statement to its model.
    """

    def __init__(
        self,
        loop: VirtualLoop,
        random: Random,
        checks: Checks,
        trace: Trace,
        statements: "Mapping[str, Statement]",
        *,
        watched: bool,
    ) -> None:
        self.loop = loop
        self.random = random
        self.checks = checks
        self.trace = trace
        self.statements = statements
        self.watched = watched
        self.troubles = Troubles()
        self.up = True
        self.reachable = True
        self.started_at = at(0.0)
        self.jobs: dict[str, dict[str, Any]] = {}
        self.events: dict[str, list[dict[str, Any]]] = {}
        self.keys: dict[tuple[str, str], tuple[str, str, float]] = {}
        self.workers: dict[str, dict[str, Any]] = {}
        self.pauses: dict[str, dict[str, Any]] = {}
        self.lock_holder: SimConnection | None = None
        self.connections: set[SimConnection] = set()

    @property
    def now(self) -> datetime:
        return at(self.loop.time())

    def database(self, url: str, *, pool_size: int) -> "SimDatabase":
        """Makes a `SimDatabase`. The code under simulation calls this in place of `Database`."""
        return SimDatabase(self, pool_size=pool_size)

    async def connect(self) -> "SimConnection":
        await asyncio.sleep(self.way())
        if not self.up or not self.reachable:
            raise ConnectionRefusedError("connection refused")
        connection = SimConnection(self, PROCESS.get(WORLD))
        self.connections.add(connection)
        return connection

    def crash(self) -> None:
        """Crashes the server like kill -9: uncommitted work is lost."""
        self.up = False
        self.cut(lambda _: True)

    def restart(self) -> None:
        self.up = True
        self.started_at = self.now

    def cut(self, which: Callable[["SimConnection"], bool], *, may_be_done_later: bool = False) -> None:
        """Breaks connections. A running server may still execute a statement that it has received."""
        for connection in sorted(self.connections, key=lambda connection: connection.number):
            if which(connection):
                connection.cut(may_be_done_later=may_be_done_later)

    def way(self) -> float:
        """Returns a random latency for one direction, in seconds."""
        seconds = self.troubles.latency * (0.2 + self.random.random())
        return seconds * 100 if self.random.random() < self.troubles.slow else seconds

    def lock(self, connection: "SimConnection") -> bool:
        """Models `pg_try_advisory_xact_lock`. Returns whether the connection now holds the lock."""
        holder = self.lock_holder
        if holder is None or not holder.in_transaction() or holder is connection:
            self.lock_holder = connection
            return True
        return False


Effect = Callable[[datetime], Any]
"""Carries a statement out. It gets `now()`: the time at which the transaction began.

Without a transaction, this is the time at which the statement arrived.
"""


class UnknownStatement(Exception):
    """The code under simulation sent a statement that `statements.py` does not model."""

    def __init__(self, statement: str) -> None:
        super().__init__(f"tests/simulation/statements.py must model this statement: {statement}")


class SimConnection:
    """A simulated connection, which replaces asyncpg's connection."""

    made = 0

    def __init__(self, server: Postgres, client: Process) -> None:
        self.number = SimConnection.made = SimConnection.made + 1
        self.client = client
        self.transaction_open: Transaction | None = None
        self._server = server
        self._closed = False
        self._gone = False  # whether the server has ended the session
        self._asked: asyncio.Future[Any] | None = None
        self._effect: asyncio.TimerHandle | None = None
        self._do: Callable[[], None] = lambda: None

    async def fetch(self, statement: str, *values: Any) -> list[Row]:
        known = self._server.statements.get(statement)
        if known is None:
            raise self._fatal(UnknownStatement(statement))
        return cast(list[Row], await self._ask(known.name, lambda now: known.carry_out(self._server, self, now, values)))

    async def fetchrow(self, statement: str, *values: Any) -> Row | None:
        return next(iter(await self.fetch(statement, *values)), None)

    async def fetchval(self, statement: str, *values: Any) -> Any:
        row = await self.fetchrow(statement, *values)
        return None if row is None else row[0]

    async def execute(self, statement: str, *values: Any) -> None:
        await self.fetch(statement, *values)

    @contextlib.asynccontextmanager
    async def transaction(self, **options: Any) -> AsyncIterator[None]:
        await self._ask("begin", self._begin)
        try:
            yield
        except BaseException:
            self._must_be_open()
            await self._ask("rollback", lambda _: self._roll_back())
            raise
        self._must_be_open()
        await self._ask("commit", lambda _: self._commit())

    def is_closed(self) -> bool:
        return self._closed

    def terminate(self) -> None:
        """Closes the client's side. The server still executes the statements that it was sent."""
        self._closed = True
        self._hang_up()

    async def close(self, timeout: float | None = None) -> None:
        self.terminate()

    def in_transaction(self) -> bool:
        """Whether the server holds an open transaction, and its locks, for this connection."""
        open = self.transaction_open
        if open is None or self._gone or self.client.dead:
            return False
        return self._effect is not None or self._server.loop.time() - open.used <= IDLE_IN_TRANSACTION

    def cut(self, *, may_be_done_later: bool) -> None:
        self._hang_up()
        if self._effect is not None and not (may_be_done_later and self._server.random.random() < 0.5):
            self._effect.cancel()
            self._effect = None
        self._answer(ConnectionResetError("connection reset by peer"), self._server.way())

    async def _ask(self, name: str, effect: Effect) -> Any:
        """Sends one statement and waits for its answer."""
        self._must_be_open()
        server, loop = self._server, self._server.loop
        answer = self._asked = loop.create_future()
        there, back = server.way(), server.way()
        if self._gone or not server.reachable:
            self._answer(ConnectionResetError("connection reset by peer"), there)
        else:
            arrives = loop.time() + there
            self._send(name, effect, arrives, arrives + server.way(), back)
        try:
            return await answer
        except asyncio.CancelledError:
            self._cancel_statement()
            raise
        except (OSError, TimeoutError, asyncpg.IdleInTransactionSessionTimeoutError):
            self.terminate()
            raise
        finally:
            self._asked = None

    def _send(self, name: str, effect: Effect, arrives: float, done: float, back: float) -> None:
        """Chooses at random whether a statement is executed normally or meets one of the faults."""
        server, troubles, fate = self._server, self._server.troubles, self._server.random.random()
        answers = True
        for odds, happens in (
            (troubles.broken_before, "is lost"),
            (troubles.broken_but_done_later, "is done later"),
            (troubles.broken_after, "loses its answer"),
            (troubles.silent, "is never answered"),
            (troubles.rolled_back, "is rolled back"),
        ):
            if fate < odds:
                server.trace(f"{name} {happens}")
                break
            fate -= odds
        else:
            happens = ""
        if (happens and happens != "is rolled back") or done + back > server.loop.time() + 1:
            self.client.excuse(done + back + (CLIENT_GIVES_UP if "never" in happens else 0.5))
        match happens:
            case "is lost":
                self._answer(ConnectionResetError("connection reset by peer"), back)
                self._gone = True
                return
            case "is done later":
                self._answer(ConnectionResetError("connection reset by peer"), back)
                done += server.random.random() * 3
                answers = False
            case "loses its answer":
                self._answer(ConnectionResetError("connection reset by peer"), done - server.loop.time() + back)
                answers = False
            case "is never answered":
                self._answer(TimeoutError(), CLIENT_GIVES_UP)
                answers = False
                if server.random.random() < 0.5:
                    return
            case "is rolled back":
                effect = _roll_back
        now = at(arrives) if self.transaction_open is None else self.transaction_open.now
        self._do = partial(self._carry_out, name, effect, now, back if answers else None, self._asked)
        self._effect = server.loop.call_at(done, self._do, context=WORLD.context)

    def _carry_out(
        self, name: str, effect: Effect, now: datetime, back: float | None, asked: asyncio.Future[Any] | None
    ) -> None:  # fmt: skip
        self._effect = None
        if self.transaction_open is not None and self._idle_for() > IDLE_IN_TRANSACTION:
            self._answer(asyncpg.IdleInTransactionSessionTimeoutError("idle in transaction for too long"), back or 0.0)
            self._hang_up()
            return
        try:
            outcome = effect(now)
        except asyncpg.PostgresError as error:
            outcome = error
        if self._server.watched:
            self._server.trace(f"{self.client.name} {name} -> {_short(outcome)}")
        if self.transaction_open is not None:
            self.transaction_open.used = self._server.loop.time()
        if self._gone:
            self._hang_up()
        elif back is not None and asked is self._asked:
            self._answer(outcome, back)

    def _cancel_statement(self) -> None:
        """Cancels the statement. In half of the cases the cancel comes too late.

        In both cases the connection can be used afterwards.
        """
        if self._effect is not None:
            self._effect.cancel()
            self._effect = None
            if self._server.random.random() < 0.5:
                WORLD.context.copy().run(self._do)

    def _answer(self, outcome: Any, after: float) -> None:
        """Delivers an outcome to the client, unless another outcome came first."""
        if self._asked is not None:
            self._server.loop.call_later(after, _resolve, self._asked, outcome, context=self.client.context)

    def _idle_for(self) -> float:
        open = self.transaction_open
        return 0.0 if open is None else self._server.loop.time() - self._server.troubles.latency * 4 - open.used

    def _begin(self, now: datetime) -> None:
        self.transaction_open = Transaction(now, self._server.loop.time())

    def _commit(self) -> None:
        if self.transaction_open is not None:
            for write in self.transaction_open.writes:
                write()
        self._roll_back()

    def _roll_back(self) -> None:
        self.transaction_open = None
        if self._server.lock_holder is self:
            self._server.lock_holder = None

    def _hang_up(self) -> None:
        """Ends the session on the server. A statement that is being executed still takes effect."""
        self._gone = True
        if self._effect is None:
            self._roll_back()
            self._server.connections.discard(self)

    def _must_be_open(self) -> None:
        if self._closed:
            raise asyncpg.InterfaceError("the underlying connection is closed")

    def _fatal(self, error: BaseException) -> BaseException:
        self._server.loop.failure = error
        return error


Values = Sequence[Any]
"""The `$n` parameters of a statement in order, or a dictionary of its `:name` parameters."""

CarryOut = Callable[[Postgres, SimConnection, datetime, Values], list[Row]]


@dataclass(frozen=True, slots=True)
class Statement:
    """The model of one SQL statement: its name, the digest of its text, and its effect."""

    name: str
    digest: str
    carry_out: CarryOut


class SimDatabase(Database):
    """The real class `Database`, but with simulated connections."""

    def __init__(self, server: Postgres, *, pool_size: int = 10) -> None:
        self.url = "simulated"
        self._server = server
        self._free: list[SimConnection] = []
        self._places = asyncio.Semaphore(pool_size)
        self._of_tasks: dict[asyncio.Task[Any] | None, _Queries] = {}

    async def connect(self) -> None:
        self._free.append(await self._server.connect())

    async def disconnect(self) -> None:
        for connection in self._free:
            connection.terminate()

    async def hold(self, **settings: str) -> Connection:
        return cast(Connection, await self._server.connect())

    @contextlib.asynccontextmanager
    async def _lent(self) -> AsyncIterator[Any]:
        """Lends a connection to the calling task. Its nested queries get the same connection."""
        task = asyncio.current_task()
        if (mine := self._of_tasks.get(task)) is not None:
            yield mine
            return
        async with self._places:
            connection = self._free.pop() if self._free else await self._server.connect()
            if connection.is_closed():
                connection = await self._server.connect()
            self._of_tasks[task] = _Queries(connection)
            try:
                yield self._of_tasks[task]
            finally:
                del self._of_tasks[task]
                if not connection.is_closed():
                    self._free.append(connection)


class _Queries:
    """Gives a connection the methods of the library `databases`, with parameters like `:name`."""

    def __init__(self, connection: SimConnection) -> None:
        self.raw_connection = connection

    async def fetch_all(self, query: str, values: dict[str, Any] | None = None) -> Sequence[Row]:
        return await self.raw_connection.fetch(query, values or {})

    async def fetch_one(self, query: str, values: dict[str, Any] | None = None) -> Row | None:
        return await self.raw_connection.fetchrow(query, values or {})

    async def fetch_val(self, query: str, values: dict[str, Any] | None = None) -> Any:
        return await self.raw_connection.fetchval(query, values or {})

    async def execute(self, query: str, values: dict[str, Any] | None = None) -> None:
        await self.raw_connection.execute(query, values or {})


def _roll_back(now: datetime) -> None:
    raise asyncpg.DeadlockDetectedError("deadlock detected")


def _resolve(asked: asyncio.Future[Any], outcome: Any) -> None:
    if asked.done():
        return
    if isinstance(outcome, BaseException):
        asked.set_exception(outcome)
    else:
        asked.set_result(outcome)


def _short(outcome: Any) -> str:
    match outcome:
        case BaseException():
            return repr(outcome)
        case list():
            return " ".join(str(next(iter(row)))[:36] for row in outcome[:4]) or "nothing"
    return str(outcome)
