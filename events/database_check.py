"""Checks at the start of each process that the database can be used.

A refusal is one line with the cause and the remedy. It quotes no password, and only the first line of the server's own
message.
"""

import asyncio
import re
import socket
import ssl
import time
from collections.abc import Iterator

import asyncpg

from events.database import Connection, Database, connect_bare, connect_unsettled, set_for_session
from events.database_url import BadDatabaseUrl, DatabaseUrl, read_database_url

STARTS_WITHIN = 20.0  # seconds to wait for a server that is starting
ASKED_AGAIN = 0.25  # seconds between two tries to connect
PROBES = 10  # how many times `_check_pooling` compares the server processes of its two connections
PROBE_WITHIN = 5.0  # seconds that the check waits for a second connection; a small pool may have none left
LONGEST = 300  # how many characters of the server's own message are quoted

PLACE = (
    "select c.system_identifier, d.oid::bigint from pg_control_system() c, pg_database d where d.datname = current_database()"
)

TRANSACTION_POOLING = (
    "leads to a pooler that hands out its connections for one transaction at a time. Rireki needs whole sessions: set the"
    " pooler's pool_mode to session (with server_reset_query = DISCARD ALL), or name PostgreSQL itself"
)


class Unusable(Exception):
    """The database cannot be used.

    The message is one line that continues a sentence which begins with the variable's name.
    """


async def check_database(url: str) -> None:
    """Checks that the database at `url` accepts a connection and the settings of the address.

    Waits for a server that is starting. Raises `Unusable`.
    """
    try:
        address = read_database_url(url)
        connection = await _as_soon_as_it_has_started(url)
    except Exception as error:
        raise Unusable(refusal(error, url)) from error
    try:
        await _check_pooling(url, connection)
        await _check_settings(connection, address)
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise Unusable(refusal(error, url)) from error
    finally:
        connection.terminate()


async def place_of(database: Database) -> tuple[int, int]:
    """Returns ids of the cluster and the database, equal for two addresses of one database."""
    async with database.raw() as connection:
        row = await connection.fetchrow(PLACE)
    assert row is not None
    return row["system_identifier"], row["oid"]


async def check_schema(url: str) -> None:
    """Raises asyncpg's error when the tables are missing, or the role may not read them."""
    connection = await connect_unsettled(url)
    try:
        await connection.execute("select from jobs limit 0; select from job_events limit 0")
    finally:
        connection.terminate()


async def _as_soon_as_it_has_started(url: str) -> Connection:
    until = time.monotonic() + STARTS_WITHIN
    while True:
        try:
            return await connect_bare(url)
        except asyncpg.CannotConnectNowError:
            if time.monotonic() > until:
                raise
            await asyncio.sleep(ASKED_AGAIN)


async def _check_settings(connection: Connection, address: DatabaseUrl) -> None:
    for name, value in address.settings.items():
        try:
            async with connection.transaction():
                await connection.execute(set_for_session({name: value}))
        except asyncpg.PostgresError as error:
            raise Unusable(f"has the option `{name}`, and PostgreSQL refuses it as a setting: correct or remove it") from error


async def _check_pooling(url: str, connection: Connection) -> None:
    """Raises `Unusable` when the address leads to a pooler in transaction mode.

    When a connection starts, a pooler reports a process id that is not the id of the server process. In session mode each
    connection keeps its server process. In transaction mode two connections share a server process, or one connection moves
    to another. The check sets nothing and prepares nothing, because that would remain on server connections that other
    clients use.
    """
    first = await _server_process(connection)
    if first == connection.get_server_pid():
        return
    try:
        async with asyncio.timeout(PROBE_WITHIN):
            await _compare_with_a_second(url, connection, first)
    except (TimeoutError, OSError, asyncpg.PostgresError):
        # The pooler opened no second connection, so all its server connections are in use. It keeps
        # one of them for our first connection, although our connection is idle. This is session
        # mode.
        return


async def _compare_with_a_second(url: str, connection: Connection, first: int) -> None:
    second = await connect_bare(url)
    try:
        for _ in range(PROBES):
            here, there = await _server_process(connection), await _server_process(second)
            if here == there or here != first:
                raise Unusable(TRANSACTION_POOLING)
    finally:
        second.terminate()


async def _server_process(connection: Connection) -> int:
    """Asks the server process behind a connection for its process id.

    The answer arrives as a log message, not as a row. To fetch a row, asyncpg would first prepare the statement and
    then execute it, and a pooler may send these two steps to different server processes.
    """
    told: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def hear(_: object, message: asyncpg.PostgresLogMessage) -> None:
        found = re.fullmatch(r"rireki asks: (\d+)", message.message or "")
        if found is not None and not told.done():
            told.set_result(int(found[1]))

    connection.add_log_listener(hear)
    try:
        # INFO always goes to the client, under any `client_min_messages`, and never to the server's log.
        await connection.execute("do $$begin raise info 'rireki asks: %', pg_backend_pid(); end$$")
        return await asyncio.wait_for(told, PROBE_WITHIN)
    finally:
        connection.remove_log_listener(hear)


def refusal(error: BaseException, url: str) -> str:
    """Says in one line why the database at `url` cannot be used, and names the remedy.

    The line continues a sentence that begins with the name of the variable that holds the address.
    """
    if isinstance(error, BadDatabaseUrl):
        return str(error)
    address = read_database_url(url)
    where, tls = address.place, address.sslmode in ("require", "verify-ca", "verify-full")
    match error:
        case asyncpg.InvalidPasswordError():
            return f"names a user or a password that PostgreSQL refuses ({_said(error)}): correct them"
        case asyncpg.InvalidAuthorizationSpecificationError():
            return f"names a user that PostgreSQL refuses ({_said(error)}): create the role, or allow it in pg_hba.conf"
        case asyncpg.InvalidCatalogNameError():
            return f"names a database that does not exist ({_said(error)}): create it, or correct the name"
        case asyncpg.InsufficientPrivilegeError():
            return f"names a role without a right that it needs ({_said(error)}): grant it"
        case asyncpg.CannotConnectNowError():
            return (
                f"leads to a server at {where} that accepts no connections yet ({_said(error)}): try again when it has started"
            )
        case asyncpg.TooManyConnectionsError():
            return f"leads to a server at {where} with no connection left ({_said(error)}): raise its max_connections"
        case asyncpg.TargetServerAttributeNotMatched():
            return f"names no server of the kind that the option `target_session_attrs` asks for, at {where}"
        case ssl.SSLCertVerificationError():
            reason = _plain(error.verify_message)
            return f"leads to {where}, whose certificate is not trusted ({reason}): name its authority in `sslrootcert`"
        case ssl.SSLError():
            return f"leads to {where}, and TLS fails ({_plain(error.reason or 'no reason given')}): check the ssl options"
        case socket.gaierror():
            return f"names a host that cannot be resolved, in {where}: correct the name"
        case TimeoutError():
            return f"leads to {where}, which does not answer: is it PostgreSQL, and is it running?"
        case ConnectionError() if "rejected SSL upgrade" in str(error) and tls:
            return (
                f"leads to {where}, which has no TLS, or is not PostgreSQL: turn TLS on there, or change the option `sslmode`"
            )
        case ConnectionRefusedError() | FileNotFoundError():
            return f"leads to {where}, where no server listens: start PostgreSQL there, or correct the address"
        case ConnectionError() | asyncpg.ConnectionDoesNotExistError() | asyncpg.InternalClientError():
            return f"leads to {where}, where the server is not PostgreSQL, or closes the connection: correct the address"
        case OSError():
            return (
                f"leads to {where}, which cannot be reached ({_reason(error)}): start PostgreSQL there, or correct the address"
            )
        case asyncpg.ClientConfigurationError():
            return f"cannot be used ({first_line(error)})"
        case asyncpg.PostgresError():
            return f"leads to {where}, which refuses the connection ({_said(error)})"
        case asyncpg.InterfaceError() | asyncpg.ProtocolError():
            return f"leads to {where}, and the driver cannot go on ({first_line(error)})"
        case _:
            return f"cannot be used ({type(error).__name__}): check it, and the environment variables PG…"


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yields the error and its chain of causes, because SQLAlchemy wraps asyncpg's errors."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def first_line(error: BaseException) -> str:
    """Returns the first line of an error's message, without terminal control characters."""
    return _plain(str(error))


def _said(error: asyncpg.PostgresError) -> str:
    """Returns the first line of the server's message, without option values.

    A value may be a secret.
    """
    if error.sqlstate is not None and error.sqlstate.startswith("22"):
        named = re.search(r'parameter "([^"]+)"', str(error))
        return f"the value of the option `{_plain(named[1])}` is not valid" if named else "a value is not valid"
    return first_line(error)


def _reason(error: OSError) -> str:
    return _plain(error.strerror or str(error))


def _plain(text: str) -> str:
    line = (text.strip().splitlines() or [""])[0]
    return "".join(character if character.isprintable() else "?" for character in line)[:LONGEST]
