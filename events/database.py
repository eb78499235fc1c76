"""The connections to PostgreSQL: a pool for ordinary queries, single ones for appends.

The connections of the pool, and those of `connect` and `Database.hold`, have time limits. The server ends a statement, a wait
for a lock and an idle transaction that take too long, so that a frozen process cannot hold row locks. The client ends a call
that gets no answer at all.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import asyncpg
import databases

from events.database_faults import refuse_other_encodings
from events.database_url import DatabaseUrl, read_database_url

if TYPE_CHECKING:
    Connection = asyncpg.Connection[asyncpg.Record]
else:
    Connection = asyncpg.Connection
Record = asyncpg.Record
Row = Mapping[str, Any]

STATEMENT_TIMEOUT = 30  # seconds
NO_ANSWER = STATEMENT_TIMEOUT + 5  # seconds after which the client gives up a call without an answer
CLOSES_WITHIN = 2.0  # seconds that `disconnect` waits for connections that are still in use
SERVER_SETTINGS = {
    "application_name": "rireki",
    "timezone": "UTC",
    "jit": "off",
    # A cached plan that was made for a small table would scan the whole table for every job after the table has grown.
    "plan_cache_mode": "force_custom_plan",
    "statement_timeout": f"{STATEMENT_TIMEOUT}s",
    "lock_timeout": "5s",
    "idle_in_transaction_session_timeout": "5s",
    # A client that disappears without closing its connection holds its locks until the server's TCP gives up. By default that
    # takes hours, with these settings about 30 seconds.
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "4",
    "tcp_user_timeout": "30000",  # milliseconds
    # The following are PostgreSQL's defaults. Our statements depend on them, and a server, a database or a role may have
    # others.
    "client_encoding": "UTF8",
    "default_transaction_isolation": "read committed",
    "default_transaction_deferrable": "off",
    "standard_conforming_strings": "on",
    "datestyle": "ISO, MDY",
    "intervalstyle": "postgres",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "idle_session_timeout": "0",
    # With `off`, a policy that hides rows from our role raises an error. Otherwise a rebuild or a verification would miss rows.
    "row_security": "off",
}

# `synchronous_commit = off` becomes `on`, because a killed PostgreSQL would lose jobs that were answered with 202. With
# every other value a commit waits for the disk. Such a value is kept, because the operator decides whether a commit
# also waits for a standby. `transaction_timeout` is turned off where it exists (since PostgreSQL 17).
# `session_replication_role = replica` turns foreign keys off, so it is set back. PostgreSQL answers with an error if
# the role has no right to set it.
SETTINGS_BY_CASE = """
set_config('synchronous_commit', case current_setting('synchronous_commit')
    when 'off' then 'on' else current_setting('synchronous_commit') end, false),
case when current_setting('transaction_timeout', true) is not null then set_config('transaction_timeout', '0', false) end,
case when current_setting('session_replication_role') <> 'origin' then set_config('session_replication_role', 'origin', false) end
"""

AWAY = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # asyncpg raises it on a connection that the server is closing
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.CannotConnectNowError,
    asyncpg.InsufficientResourcesError,  # disk full, out of memory, too many connections
    asyncpg.PostgresSystemError,  # an I/O error of the server's disk
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.ReadOnlySQLTransactionError,
)
"""Errors of an outage of PostgreSQL. The statement may or may not have been carried out."""

NOT_LET_IN = (
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.InsufficientPrivilegeError,
)
"""Errors of a wrong password, a missing database, or a missing right of the role."""


def cannot_enter(error: Exception) -> bool:
    """Returns whether PostgreSQL refuses the connection or the role (error of `NOT_LET_IN`)."""
    return isinstance(error, NOT_LET_IN)


MAY_ONLY_READ = (asyncpg.InsufficientPrivilegeError, asyncpg.ReadOnlySQLTransactionError)
"""Errors of a write when the role has no right to write, or the server is a replica."""

LockNotAvailable = asyncpg.LockNotAvailableError
"""Another transaction held the lock for longer than `lock_timeout`."""

ConstraintViolated = asyncpg.IntegrityConstraintViolationError
"""A constraint refuses the values. The name of the constraint (`constraint_name`) says the rule."""

NoSuchTable = asyncpg.UndefinedTableError
"""A table is missing: the database has no schema, or an old one."""

DATABASE_ERRORS = (*AWAY, asyncpg.PostgresError)
"""All errors of a database, for loops that must survive them."""


def is_away(error: Exception) -> bool:
    """Returns whether the error is an outage of PostgreSQL (an error of `AWAY`)."""
    # For an argument that it cannot encode, asyncpg raises an InterfaceError that is also a ValueError. That is no outage.
    return isinstance(error, AWAY) and not isinstance(error, ValueError)


class _Reused(Connection):
    """A connection that returns to the pool without asyncpg's reset query.

    The reset query runs `RESET ALL`, which would undo the settings that `_connect` made for the session. No query on the pool
    changes session settings or holds locks beyond its transaction. asyncpg still rolls an open transaction back.
    """

    def get_reset_query(self) -> str:
        return ""


class Database:
    """One PostgreSQL database. `fetch_*` and `execute` take SQL with `:name` parameters.

    UUIDs come back as text. The library `databases` has two dangers. It takes a `:word` in a SQL comment for a parameter. And
    a connection belongs to the asyncio task that opened it, so start no task inside a transaction.
    """

    def __init__(self, url: str, *, pool_size: int = 10) -> None:
        self.url = url
        self._pool = databases.Database(
            "postgresql://", connect=partial(_connect_for_pool, url), min_size=1, max_size=pool_size, connection_class=_Reused
        )

    async def connect(self) -> None:
        """Opens the pool with one connection.

        Raises `BadDatabaseUrl`, `UnsuitableDatabase`, or PostgreSQL's error.
        """
        await self._pool.connect()

    async def disconnect(self) -> None:
        """Closes the pool. Terminates connections still in use after `CLOSES_WITHIN` seconds.

        asyncpg alone would wait for ever for these connections. When its wait is cancelled, it terminates all connections.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSES_WITHIN):
                await self._pool.disconnect()

    async def fetch_all(self, query: str, values: dict[str, Any] | None = None) -> Sequence[Row]:
        async with self._connection() as connection:
            return await connection.fetch_all(query, values)  # type: ignore[return-value]

    async def fetch_one(self, query: str, values: dict[str, Any] | None = None) -> Row | None:
        async with self._connection() as connection:
            return await connection.fetch_one(query, values)  # type: ignore[return-value]

    async def fetch_val(self, query: str, values: dict[str, Any] | None = None) -> Any:
        async with self._connection() as connection:
            return await connection.fetch_val(query, values)

    async def execute(self, query: str, values: dict[str, Any] | None = None) -> Any:
        async with self._connection() as connection:
            return await connection.execute(query, values)

    @asynccontextmanager
    async def transaction(self, **options: Any) -> AsyncIterator[None]:
        """Runs the queries of this task in a transaction.

        `options` are asyncpg's, such as `isolation="repeatable_read"` and `readonly=True`. Keep the transaction short: make no
        network call and start no task inside it.
        """
        # This is asyncpg's transaction, because a transaction of `databases` that is cancelled during BEGIN, COMMIT or
        # ROLLBACK never returns its connection to the pool.
        async with self.raw() as connection, connection.transaction(**options):
            yield

    @asynccontextmanager
    async def raw(self) -> AsyncIterator[Connection]:
        """Yields asyncpg's connection from the pool, for bulk statements and cursors.

        Its parameters are written `$1`.
        """
        async with self._connection() as connection:
            yield connection.raw_connection

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[databases.core.Connection]:
        """Yields this task's connection, and makes sure that no cancellation of the task is lost.

        If the connection breaks while the task is being cancelled, the error of the ROLLBACK replaces the
        `CancelledError`. This function then raises `CancelledError` again. Otherwise a loop that survives every
        database error would never end.
        """
        try:
            async with self._lent() as connection:
                yield connection
        except DATABASE_ERRORS as error:
            if _met_while_cancelled(error):
                raise asyncio.CancelledError from error
            raise

    @asynccontextmanager
    async def _lent(self) -> AsyncIterator[databases.core.Connection]:
        """Yields this task's connection, and handles two cases that `databases` does not handle.

        If a connection breaks while it returns to the pool, `databases` keeps it as this task's connection, and the task
        could never get another one. So this function removes the connection from the task. After a cancelled or timed-out
        statement the connection is terminated, because to return it to the pool would mean waiting for a server that may
        never answer.
        """
        connection = self._pool.connection()
        try:
            async with connection:
                try:
                    yield connection
                except (asyncio.CancelledError, TimeoutError):
                    connection.raw_connection.terminate()
                    raise
        finally:
            if connection._connection_counter == 0:
                self._pool._connection = None

    async def hold(self, **settings: str) -> Connection:
        """Opens a connection outside the pool, which the caller closes.

        `settings` are PostgreSQL's, for this session. Raises: as `connect`.
        """
        connection = await connect(self.url, **settings)
        # A stored time may be `infinity`. asyncpg returns it without a time zone, and other times cannot be compared with that.
        await connection.set_type_codec(
            "timestamptz", schema="pg_catalog", encoder=_microseconds, decoder=_time_from_microseconds, format="tuple"
        )
        return connection


async def connect(url: str, **settings: str) -> Connection:
    """Opens one connection with our time limits and codecs. `settings` are PostgreSQL's.

    Raises: `BadDatabaseUrl`, `UnsuitableDatabase`, or PostgreSQL's error.
    """
    return await _connect(url, Connection, settings)


async def connect_unsettled(url: str) -> Connection:
    """Opens one connection with the address's settings, without our codecs and time limits."""
    connection = await connect_bare(url)
    if settings := _read(url).settings:
        await connection.execute(set_for_session(settings))
    return connection


async def connect_bare(url: str) -> Connection:
    """Opens one connection, and sends no statement on it.

    A pooler may share the connection's session with other clients, so the caller must not change the session.
    """
    return await asyncpg.connect(**_read(url).arguments)


async def _connect(url: str, connection_class: type[Connection], settings: dict[str, str]) -> Connection:
    """Opens a connection, and gives it the settings and codecs that all our queries need.

    Raises `UnsuitableDatabase`.
    """
    address = _read(url)
    connection = await asyncpg.connect(**address.arguments, connection_class=connection_class, command_timeout=NO_ANSWER)
    try:
        refuse_other_encodings(connection.get_settings().server_encoding)
        await connection.execute(f"{set_for_session(SERVER_SETTINGS | address.settings | settings)}, {SETTINGS_BY_CASE}")
        await _set_codecs(connection)
    except BaseException:
        connection.terminate()
        raise
    return connection


async def _connect_for_pool(url: str, *_: Any, connection_class: type[Connection], **__: Any) -> Connection:
    """Opens a connection of the pool to `url`, and ignores the pool's own, empty address."""
    return await _connect(url, connection_class, {})


def _read(url: str) -> DatabaseUrl:
    return read_database_url(url, pinned=SERVER_SETTINGS)


def set_for_session(settings: Mapping[str, str]) -> str:
    """Returns one SQL statement that sets these settings for the session.

    The settings do not go into the startup packet, because PgBouncer refuses settings that it does not know there. The values
    are literals, because bound arguments would cost a second round trip.
    """
    return f"select {', '.join(f'set_config({_literal(name)}, {_literal(value)}, false)' for name, value in settings.items())}"


def _literal(text: str) -> str:
    # An E'' string means the same under both values of `standard_conforming_strings`.
    escaped = text.replace("\\", "\\\\").replace("'", "''")
    return f"E'{escaped}'"


def _met_while_cancelled(error: BaseException | None) -> bool:
    task = asyncio.current_task()
    if task is None or not task.cancelling():
        return False  # a `CancelledError` in the chain may come from an `asyncio.timeout` that has already ended
    while error is not None and not isinstance(error, asyncio.CancelledError):
        error = error.__context__
    return error is not None


async def _set_codecs(connection: Connection) -> None:
    # Ids are text in Python, because they go into JSON and Redis keys, where asyncpg's UUID class does not fit.
    # The format is binary, because COPY supports no other.
    await connection.set_type_codec("uuid", schema="pg_catalog", encoder=_uuid_bytes, decoder=_uuid_text, format="binary")


_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)  # PostgreSQL stores a timestamp as microseconds since then
_MICROSECOND = timedelta(microseconds=1)


def _microseconds(time: datetime) -> tuple[int]:
    return ((time - _EPOCH) // _MICROSECOND,)


def _time_from_microseconds(microseconds: tuple[int]) -> datetime:
    try:
        return _EPOCH + timedelta(microseconds=microseconds[0])
    except OverflowError:
        # The time is PostgreSQL's infinity, or in a year that Python's datetime does not support.
        return (datetime.max if microseconds[0] > 0 else datetime.min).replace(tzinfo=UTC)


def _uuid_bytes(text: str) -> bytes:
    value = bytes.fromhex(text.replace("-", ""))
    if len(value) != 16:
        raise ValueError(f"not a UUID: {text!r}")
    return value


def _uuid_text(value: bytes) -> str:
    digits = value.hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
