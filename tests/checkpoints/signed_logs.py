"""Signed logs in a database: events, their positions and their checkpoints."""

from events.database import Connection, Database
from projections.checkpoints import (
    Known,
    SignedCheckpoint,
    current_origin,
    newest_checkpoint,
    place_of_log,
    sign,
    with_cosignatures,
)
from projections.proof.signed_note import Signer
from projections.proof.signed_note import sign as sign_note
from tests.histories import give_positions
from tests.projections.tiled_logs import append

SECRET = bytes(range(32))


async def grow(database: Database, name: str, jobs: int, *, known: tuple[Known, ...] = ()) -> SignedCheckpoint:
    """Appends events, seals them, and signs a checkpoint with the key of `SECRET`."""
    async with database.raw() as connection:
        await append(connection, name, jobs=jobs)
    await give_positions(database)
    async with database.transaction(isolation="read_committed"), database.raw() as connection:
        origin = await current_origin(connection)
        key = Signer(origin, SECRET)
        place = await place_of_log(connection)
        signed = await sign(
            connection, origin, lambda text: sign_note(text, [key]).to_bytes().decode(), known, place=place, wait=True
        )  # fmt: skip
    assert signed is not None
    return signed


async def signer_of(database: Database) -> Signer:
    async with database.raw() as connection:
        return Signer(await current_origin(connection), SECRET)


async def published_note(connection: Connection, origin: str) -> str | None:
    """Returns the newest note of a log, with the signature lines of its witnesses. Returns None if there is no note."""
    newest = await newest_checkpoint(connection, origin)
    return None if newest is None else await with_cosignatures(connection, newest)
