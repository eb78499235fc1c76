"""The connection that migrates a database, and the lock by which processes take turns."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import asyncpg

if TYPE_CHECKING:
    Connection = asyncpg.Connection[asyncpg.Record]
else:
    Connection = asyncpg.Connection
Opening = Callable[[str], Awaitable[Connection]]
"""A function that opens a connection to an address.

The service passes a function that reads the address by the rules of DATABASE_URL.
"""

MIGRATING = 0x726972656B69  # the key of the advisory lock; in ASCII it reads "rireki"
LOOK_EVERY = 0.1  # seconds between two tries to get the lock
LOCK_TIMEOUT = 5  # seconds; short, because all queries on a table wait behind a statement that waits to alter the table

# Time limits for statements are off, because a role may have a `statement_timeout`, and building an index on a large table
# takes longer. The other settings make the revisions independent of the settings of the server, the database or the role.
SETTLE = f"""
select set_config('statement_timeout', '0', false), set_config('lock_timeout', '{LOCK_TIMEOUT}s', false),
    set_config('idle_in_transaction_session_timeout', '0', false), set_config('idle_session_timeout', '0', false),
    set_config('default_transaction_isolation', 'read committed', false), set_config('row_security', 'off', false),
    set_config('standard_conforming_strings', 'on', false), set_config('synchronous_commit', 'on', false),
    case when current_setting('transaction_timeout', true) is not null then set_config('transaction_timeout', '0', false) end
"""

# New tables go into the schema of the existing tables. Otherwise they would go into a schema that was created later, and that
# the search path names first.
GO_WHERE_THE_TABLES_ARE = """
select set_config('search_path', quote_ident(n.nspname) || ', ' || current_setting('search_path'), false)
from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = to_regclass('job_events')
"""


class UnsuitableDatabase(Exception):
    """The database cannot hold the schema.

    The message is one line with the cause and the remedy.
    """


async def open_plainly(url: str) -> Connection:
    """Opens a connection to an address that asyncpg reads, without the service's rules."""
    return await asyncpg.connect(url, timeout=10)


async def connect(url: str, opening: Opening = open_plainly) -> Connection:
    """Opens a connection with the settings for migrations. Raises `UnsuitableDatabase`."""
    connection = await opening(url)
    try:
        encoding = connection.get_settings().server_encoding
        if encoding != "UTF8":
            raise UnsuitableDatabase(
                f"the database has the encoding {encoding}, and Rireki needs UTF8: create another with"
                " `create database … encoding 'UTF8' template template0`"
            )
        await connection.execute(SETTLE)
        await connection.execute(GO_WHERE_THE_TABLES_ARE)
    except BaseException:
        connection.terminate()
        raise
    return connection


async def take_turn(connection: Connection) -> None:
    """Waits until no other process migrates this database, then makes the others wait.

    It takes an advisory lock of the session, which PostgreSQL also releases when the process is killed. The lock is polled,
    because a session that waits for it inside PostgreSQL holds a snapshot, and other statements may have to wait for the end
    of that snapshot.
    """
    while not await connection.fetchval("select pg_try_advisory_lock($1)", MIGRATING):  # noqa: ASYNC110
        await asyncio.sleep(LOOK_EVERY)
