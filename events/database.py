"""The connections to PostgreSQL: a pool for ordinary queries, and connections held by one owner for the hot path.

Every connection gives up by itself: the server ends a statement, a wait for a lock or an idle transaction that takes too long
(a frozen process must not hold its row locks), and the client ends a call that gets no answer at all.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
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
NO_ANSWER = STATEMENT_TIMEOUT + 5  # seconds, after which a client takes it that none will come
CLOSES_WITHIN = 2.0  # seconds for which closing waits for who uses a connection
SERVER_SETTINGS = {
    "application_name": "rireki",
    "timezone": "UTC",
    "jit": "off",
    # A plan made while a table was small would be kept while it grows, and scan it whole for every job.
    "plan_cache_mode": "force_custom_plan",
    "statement_timeout": f"{STATEMENT_TIMEOUT}s",
    "lock_timeout": "5s",
    "idle_in_transaction_session_timeout": "5s",
    # A client that has vanished without a word, in the middle of a statement or before its end is confirmed, holds its locks
    # until the server's TCP gives up: by itself after hours.
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "4",
    "tcp_user_timeout": "30000",  # milliseconds
    # The rest is what most servers have anyway. Our statements rest on it, and a server, a database or a role may say otherwise.
    "client_encoding": "UTF8",
    "default_transaction_isolation": "read committed",
    "default_transaction_deferrable": "off",
    "standard_conforming_strings": "on",
    "datestyle": "ISO, MDY",
    "intervalstyle": "postgres",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "idle_session_timeout": "0",
    # A policy that hides rows from us is an error then. Otherwise a view or a verification would lack them in silence.
    "row_security": "off",
}

# `off` loses what was answered with 202 when PostgreSQL is killed. Every other value waits for the disk, and says beyond that how
# much is asked of a standby, which the operator decides. `transaction_timeout` came with PostgreSQL 17. Only a superuser may set
# `session_replication_role`, so anybody else whose role has it as `replica`, without foreign keys, is refused here.
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
    asyncpg.InternalClientError,  # what asyncpg says on a connection to which the server has just said goodbye
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.CannotConnectNowError,
    asyncpg.InsufficientResourcesError,  # the disk is full, no memory, too many connections
    asyncpg.PostgresSystemError,  # the disk cannot be read or written
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.ReadOnlySQLTransactionError,
)
"""What is raised while PostgreSQL is away, going away or unable to work: the statement may or may not have been carried out."""

NOT_LET_IN = (
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.InsufficientPrivilegeError,
)
"""A wrong password, a database that is not there, a right that the role does not have."""


def cannot_enter(error: Exception) -> bool:
    return isinstance(error, NOT_LET_IN)


MAY_ONLY_READ = (asyncpg.InsufficientPrivilegeError, asyncpg.ReadOnlySQLTransactionError)
"""The role may not write, or the server is a replica."""

LockNotAvailable = asyncpg.LockNotAvailableError
"""Somebody else held the lock for longer than `lock_timeout`."""

ConstraintViolated = asyncpg.IntegrityConstraintViolationError
"""The database guards what matters: `constraint_name` says which sentence was broken."""

NoSuchTable = asyncpg.UndefinedTableError
"""The database has no schema yet, or an old one."""

DATABASE_ERRORS = (*AWAY, asyncpg.PostgresError)
"""Whatever a database may answer. For loops that must go on."""


def is_away(error: Exception) -> bool:
    # asyncpg's error for an argument that it cannot encode is an InterfaceError too, and a ValueError.
    return isinstance(error, AWAY) and not isinstance(error, ValueError)


class _Reused(Connection):
    """A connection of the pool. Nothing here changes a session's settings or keeps locks beyond a transaction, so giving it back
    takes no question to the server, which would double the cost of a short query. An open transaction is rolled back."""

    def get_reset_query(self) -> str:
        return ""


class Database:
    """One PostgreSQL database. `fetch_*` and `execute` take SQL with `:name` parameters; ids come back as text.

    Beware (`databases`): a `:word` in a SQL comment counts as a parameter, and a connection belongs to the asyncio task that
    opened it, so no task is started inside a transaction.
    """

    def __init__(self, url: str, *, pool_size: int = 10) -> None:
        self.url = url
        self._pool = databases.Database(
            "postgresql://", connect=partial(_connect_for_pool, url), min_size=1, max_size=pool_size, connection_class=_Reused
        )

    async def connect(self) -> None:
        await self._pool.connect()

    async def disconnect(self) -> None:
        """Waits a moment for who uses a connection. Who uses it for longer loses it: asyncpg would wait for ever, and terminates
        them all where its waiting is cancelled."""
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
        """A transaction around the queries of this task. Keep it short: no network call and no new task inside it.
        `options`: `isolation="repeatable_read"`, `readonly=True`."""
        # asyncpg's transaction, not that of `databases`: the latter never gives its connection back to the pool when it is
        # cancelled in the middle of BEGIN, COMMIT or ROLLBACK.
        async with self.raw() as connection, connection.transaction(**options):
            yield

    @asynccontextmanager
    async def raw(self) -> AsyncIterator[Connection]:
        """asyncpg's own connection, from the pool, for bulk statements and cursors (`$1` parameters)."""
        async with self._connection() as connection:
            yield connection.raw_connection

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[databases.core.Connection]:
        """This task's connection. Who is cancelled while it breaks hears of the cancellation: the ROLLBACK's own error would
        take its place, and a loop that outlives every error of the database would never end."""
        try:
            async with self._lent() as connection:
                yield connection
        except DATABASE_ERRORS as error:
            if _met_while_cancelled(error):
                raise asyncio.CancelledError from error
            raise

    @asynccontextmanager
    async def _lent(self) -> AsyncIterator[databases.core.Connection]:
        """`databases` would keep a connection that broke while it was given back, and the task could never ask for another. Who
        is cancelled in the middle of a statement, or gets no answer, ends the connection with it: giving it back would wait for a
        server that may never answer."""
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
        """A connection outside the pool for one owner, who closes it. `settings` are PostgreSQL's, for this session."""
        connection = await connect(self.url, **settings)
        # asyncpg's own encoder asks a time for its zone again and again: half of what a row of an append costs.
        await connection.set_type_codec(
            "timestamptz", schema="pg_catalog", encoder=_time_encoder(), decoder=_time_from_microseconds, format="tuple"
        )
        return connection


async def connect(url: str, **settings: str) -> Connection:
    """One connection with our timeouts and codecs. `settings` are PostgreSQL's, for this session."""
    return await _connect(url, Connection, settings)


async def connect_unsettled(url: str) -> Connection:
    """One connection as the address alone describes it: without our settings and codecs, and without a limit on a statement."""
    connection = await connect_bare(url)
    if settings := _read(url).settings:
        await connection.execute(set_for_session(settings))
    return connection


async def connect_bare(url: str) -> Connection:
    """One connection on which nothing was said yet: its session may be other people's too, behind a pooler."""
    return await asyncpg.connect(**_read(url).arguments)


async def _connect(url: str, connection_class: type[Connection], settings: dict[str, str]) -> Connection:
    """The one place where a connection gets its settings and codecs. Raises `UnsuitableDatabase`."""
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
    """asyncpg's pool hands on an address of its own, too, which is empty."""
    return await _connect(url, connection_class, {})


def _read(url: str) -> DatabaseUrl:
    return read_database_url(url, pinned=SERVER_SETTINGS)


def set_for_session(settings: Mapping[str, str]) -> str:
    """One statement that sets these for the session. They do not go with the startup packet, because PgBouncer refuses those
    that it does not know; and without arguments, because then they cost one round trip instead of two."""
    return f"select {', '.join(f'set_config({_literal(name)}, {_literal(value)}, false)' for name, value in settings.items())}"


def _literal(text: str) -> str:
    # An E'' string means the same whatever `standard_conforming_strings` says.
    escaped = text.replace("\\", "\\\\").replace("'", "''")
    return f"E'{escaped}'"


def _met_while_cancelled(error: BaseException | None) -> bool:
    task = asyncio.current_task()
    if task is None or not task.cancelling():
        return False  # A timeout has a cancellation in its history too, which nobody asked for.
    while error is not None and not isinstance(error, asyncio.CancelledError):
        error = error.__context__
    return error is not None


async def _set_codecs(connection: Connection) -> None:
    # Ids are text in Python: they go into JSON, Redis keys and dictionaries, and asyncpg's own UUID class into none of them.
    # In binary, since COPY takes nothing else.
    await connection.set_type_codec("uuid", schema="pg_catalog", encoder=_uuid_bytes, decoder=_uuid_text, format="binary")


_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)  # PostgreSQL's
_MICROSECOND = timedelta(microseconds=1)


def _time_encoder() -> Callable[[datetime], tuple[int]]:
    last, microseconds = _EPOCH, (0,)

    def encode(time: datetime) -> tuple[int]:
        # The rows of a batch all bear the same time, most of them more than once.
        nonlocal last, microseconds
        if time is not last:
            last, microseconds = time, ((time - _EPOCH) // _MICROSECOND,)
        return microseconds

    return encode


def _time_from_microseconds(microseconds: tuple[int]) -> datetime:
    try:
        return _EPOCH + timedelta(microseconds=microseconds[0])
    except OverflowError:
        # Infinity, and years that Python does not know.
        return (datetime.max if microseconds[0] > 0 else datetime.min).replace(tzinfo=UTC)


def _uuid_bytes(text: str) -> bytes:
    value = bytes.fromhex(text.replace("-", ""))
    if len(value) != 16:
        raise ValueError(f"not a UUID: {text!r}")
    return value


def _uuid_text(value: bytes) -> str:
    digits = value.hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
