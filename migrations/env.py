"""Alembic's entry: brings a database to the newest schema.

Alembic's attributes hold the `url` of the database, `opening`, a function that opens a connection to this database, and
`origin`, the name of a new log or None. Processes take turns to migrate. The turn is a session lock of the migrating
connection, because a transaction lock would end with the first revision, and a lock of another session could end before or
after the migrating session.
"""

import asyncio

from alembic import context
from sqlalchemy import Connection, pool
from sqlalchemy.ext.asyncio import create_async_engine

from migrations import connection as connections


def migrate(connection: Connection) -> None:
    context.configure(connection=connection, transaction_per_migration=True)
    with context.begin_transaction():
        context.run_migrations()


async def in_turn() -> connections.Connection:
    attributes = context.config.attributes
    connection = await connections.connect(attributes["url"], attributes["opening"])
    await connections.take_turn(connection)
    return connection


async def main() -> None:
    engine = create_async_engine("postgresql+asyncpg://", poolclass=pool.NullPool, async_creator=in_turn)
    try:
        async with engine.connect() as connection:
            await connection.run_sync(migrate)
            await connection.commit()
    finally:
        await engine.dispose()


asyncio.run(main())
