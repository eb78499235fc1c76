"""The sound database, its keys, and the outside copies of its checkpoints. Each tamper gets a copy of this database."""

import contextlib
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field

import uvloop

from events.bus import Bus
from events.database import Connection, Database, connect
from events.store import Store
from migrations.migrate import migrate
from projections import tree
from projections.proof.checkpoint import Checkpoint
from projections.proof.signed_note import Signer, new_signer, sign
from projections.verify import Trust, Verified, verify
from projections.verifying.checkpoints import Copies
from tests.conftest import administer, with_database
from tests.histories import give_positions
from tests.projections.histories_in_log import one_of_each, unique_key

ROUNDS = 24  # of about 30 events, so that there are two full tiles and a tail
SIGNED_EVERY = 3  # rounds

ORIGIN = "select origin from log_origins order by number desc limit 1"
SIZE = "select position from job_event_log_cursor"
ADD = "insert into checkpoints (origin, size, root, note) values ($1, $2, $3, $4)"


@dataclass(slots=True)
class World:
    """A server, its sound database, the log's key, and the notes that were copied outside."""

    server: str
    template: str
    signer: Signer
    copied: list[str] = field(default_factory=list)

    @property
    def keys(self) -> Trust:
        """The trust of a person who has the key and kept no checkpoint."""
        return Trust(keys=[self.signer.verifier])

    @property
    def copies(self) -> Trust:
        """The trust of a person who has the key and kept copies of all checkpoints."""
        return Trust(keys=[self.signer.verifier], copies=[Copies("the copy outside", self.copied)])

    @contextmanager
    def copy(self) -> Iterator[str]:
        """Makes a copy of the sound database for the block. Yields its URL."""
        name = f"rireki_tamper_{secrets.token_hex(4)}"
        administer(self.server, f"create database {name} template {self.template}")
        try:
            yield with_database(self.server, name)
        finally:
            administer(self.server, f"drop database if exists {name} with (force)")


@contextmanager
def world(server: str) -> Iterator[World]:
    """Makes the sound database for the block."""
    name = f"rireki_sound_{secrets.token_hex(4)}"
    administer(server, f"create database {name}")
    try:
        migrate(with_database(server, name))
        made = uvloop.run(_fill(server, name))
        yield made
    finally:
        administer(server, f"drop database if exists {name} with (force)")


async def _fill(server: str, name: str) -> World:
    url = with_database(server, name)
    async with opened(url) as (database, connection):
        made = World(server, name, new_signer(await connection.fetchval(ORIGIN)))
        store = Store(database, Bus())
        await store.start()
        for turn in range(ROUNDS):
            await one_of_each(store, f"{turn} ")
            if turn % SIGNED_EVERY == SIGNED_EVERY - 1:
                await give_positions(database)
                made.copied.append(await sign_checkpoint(connection, made.signer))
        await store.stop()
    return made


async def sign_checkpoint(connection: Connection, signer: Signer, *, origin: str | None = None) -> str:
    """Signs the sealed log, keeps the checkpoint in the table, and returns its note."""
    size = await connection.fetchval(SIZE)
    root = await tree.root(connection, size)
    origin = origin or await connection.fetchval(ORIGIN)
    note = sign(Checkpoint(origin, size, root).to_text(), [signer]).to_bytes().decode()
    await connection.execute(ADD, origin, size, root, note)
    return note


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[tuple[Database, Connection]]:
    """Yields a pool, and a connection as superuser."""
    database = Database(url, pool_size=2)
    await database.connect()
    connection = await connect(url, idle_in_transaction_session_timeout="0")
    try:
        yield database, connection
    finally:
        with contextlib.suppress(OSError):
            await connection.close()
        await database.disconnect()


async def verified(database: Database, trust: Trust) -> Verified:
    return await verify(database, unique_key=unique_key, trust=trust, processes=None)
