"""Helpers: logs with a signer, and the invariants of all signed checkpoints."""

import contextlib
import secrets
from collections.abc import AsyncIterator, Iterable, Sequence
from pathlib import Path

from events.database import Connection, Database
from projections import checkpoints, tree
from projections.proof.checkpoint import Checkpoint, read_checkpoint
from projections.proof.notes import notes_in
from projections.proof.signed_note import Signer, Verifier, new_signer, open_note, read_note, verified_by
from service.checkpoints.copies_in_file import CopiesInFile
from service.checkpoints.signing import Signing
from tests.histories import give_positions
from tests.projections.tiled_logs import append

ALL_SIGNED = "select origin, size, root, note, copied_at from checkpoints order by signed_at, size"


class SignedLog:
    """A database, its log's key, and a file of copies."""

    def __init__(self, database: Database, key: Signer, file: Path) -> None:
        self.database = database
        self.key = key
        self.file = file

    async def grow(self, events: int = 4) -> None:
        """Appends events and gives them positions."""
        async with self.database.raw() as connection:
            await append(connection, secrets.token_hex(8), jobs=1, seqs=events)
        await give_positions(self.database)

    @contextlib.asynccontextmanager
    async def signer(
        self, *, copies: bool = True, keys: Sequence[Signer] = (), trusted: Sequence[Verifier] = ()
    ) -> AsyncIterator[Signing]:
        """Yields the signing of a new process."""
        outside = CopiesInFile(self.file) if copies else None
        yield Signing(self.database, keys or [self.key], outside, trusted)
        if outside is not None:
            await outside.close()

    async def size(self) -> int:
        async with self.database.raw() as connection:
            return await tree.sealed_size(connection)

    async def signed(self) -> list[Checkpoint]:
        """Checks the checkpoints of the table, and returns them."""
        async with self.database.raw() as connection:
            return await signed_in(connection)

    def copied(self) -> list[Checkpoint]:
        """Returns the copies outside, in their order."""
        return copies_in(self.file)


def copies_in(file: Path) -> list[Checkpoint]:
    if not file.exists():
        return []
    return [read_checkpoint(read_note(note).text) for note in notes_in([file.read_bytes()])]


async def signed_in(connection: Connection) -> list[Checkpoint]:
    rows = await connection.fetch(ALL_SIGNED)
    found = [read_checkpoint(read_note(row["note"].encode()).text) for row in rows]
    assert [(each.origin, each.size, each.root) for each in found] == [
        (row["origin"], row["size"], row["root"]) for row in rows
    ]
    return found


async def what_is_wrong(connection: Connection, copies: Iterable[Checkpoint], trusted: Sequence[Verifier] = ()) -> list[str]:
    """Returns each rule that the signed checkpoints break.

    The tree must have the root of every checkpoint of the current log, in the table and outside. Each size of a log must have
    one root. A checkpoint that is marked as copied must have a copy outside.
    """
    wrong = []
    origin = await checkpoints.current_origin(connection)
    in_table, outside = await signed_in(connection), list(copies)
    roots: dict[tuple[str, int], bytes] = {}
    for each in (*in_table, *outside):
        if roots.setdefault((each.origin, each.size), each.root) != each.root:
            wrong.append(f"two roots were signed for size {each.size} of {each.origin}")
        if each.origin == origin and each.root != await tree.root(connection, each.size):
            wrong.append(f"the tree of {each.size} events has another root than its checkpoint")
    places = {(each.origin, each.size) for each in outside}
    for row in await connection.fetch(ALL_SIGNED):
        if row["copied_at"] is not None and (row["origin"], row["size"]) not in places:
            wrong.append(f"the copy of size {row['size']} is not outside")
        if trusted:
            open_note(row["note"].encode(), trusted)
    return wrong


async def signed_log(database: Database, file: Path) -> SignedLog:
    async with database.raw() as connection:
        return SignedLog(database, new_signer(await checkpoints.current_origin(connection)), file)


def signers_of(note: str, keys: Sequence[Signer]) -> list[Signer]:
    """Returns which of the keys have signed a note, in the order of its signatures."""
    by_verifier = {key.verifier: key for key in keys}
    return [by_verifier[verifier] for verifier in verified_by(read_note(note.encode()), list(by_verifier))]
