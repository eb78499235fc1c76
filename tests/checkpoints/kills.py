"""Kills processes that seal, sign and copy, and checks all checkpoints that they have signed.

Two `rireki seal` run at once over one database and one file of copies, while events are appended. One of them is killed with
SIGKILL at a random moment and started again, many times.
"""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

from events.database import Connection, Database
from projections import checkpoints, tree
from projections.proof.checkpoint import Checkpoint, read_checkpoint
from projections.proof.signed_note import open_note
from tests.checkpoints.quick_signer import main
from tests.checkpoints.signers import SignedLog, copies_in, signed_log
from tests.commands import Command
from tests.histories import until
from tests.projections.tiled_logs import append

SIGNERS = 2
LONGEST_LIFE = 0.25  # the most seconds from a process's first new checkpoint until the process is killed
SIGNS_WITHIN = 60  # seconds

SINCE = "select origin, size, root, note, copied_at from checkpoints where size > $1 order by size"
UNCOPIED = "select count(*) from checkpoints where copied_at is null"


@dataclass(slots=True)
class Judge:
    """Checks each checkpoint once, in the table and outside, and remembers its root."""

    log: SignedLog
    roots: dict[int, bytes] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    checked: int = 0

    async def look(self, connection: Connection) -> None:
        """Checks the checkpoints that are new since the last look, and all copies."""
        for row in await connection.fetch(SINCE, self.checked):
            in_note = read_checkpoint(open_note(row["note"].encode(), [self.log.key.verifier]))
            self._expect((in_note.size, in_note.root) == (row["size"], row["root"]), f"the note of size {row['size']} differs")
            self._expect(await tree.root(connection, row["size"]) == row["root"], f"the tree of size {row['size']} differs")
            self.roots[row["size"]] = row["root"]
            self.checked = row["size"]
        # The row of this copy may have been committed after the rows were read. The next check compares them.
        for copy in copies_in(self.log.file):
            self._expect(self._fits(copy), f"the copy of size {copy.size} differs from the table")

    async def end(self, connection: Connection) -> None:
        """Checks after the end that each checkpoint has its copy, and the root of the tree."""
        await self.look(connection)
        copied = {copy.size: copy.root for copy in copies_in(self.log.file)}
        self._expect(copied == self.roots, "the copies are not the checkpoints of the table")
        for size, root in self.roots.items():
            self._expect(await tree.root(connection, size) == root, f"the tree of size {size} has changed")
        self._expect(list(self.roots) == sorted(self.roots), "the sizes do not grow")

    def _fits(self, copy: Checkpoint) -> bool:
        return copy.origin == self.log.key.name and (copy.size > self.checked or self.roots.get(copy.size) == copy.root)

    def _expect(self, true: bool, fault: str) -> None:
        if not true:
            self.wrong.append(fault)


async def kill_signers(database: Database, home: Path, *, kills: int, seed: int) -> Judge:
    """Kills a signer `kills` times, and returns what was found."""
    log = await signed_log(database, home / "copies")
    judge, chance = Judge(log), random.Random(seed)
    commands: list[Command] = []
    async with _growing(log, chance), database.raw() as connection:
        try:
            for number in range(kills):
                while len(commands) < SIGNERS:
                    commands.append(await _started(log, home, len(commands) + number))
                await _signs_again(connection, log)
                await asyncio.sleep(chance.uniform(0, LONGEST_LIFE))
                await commands.pop(chance.randrange(len(commands))).kill()
                await judge.look(connection)
        finally:
            for command in commands:
                await command.kill()
    async with database.raw() as connection:
        last = await _started(log, home, kills + SIGNERS)
        await until(lambda: _is_done(connection, log), seconds=SIGNS_WITHIN)
        await last.kill()
        await judge.end(connection)
    return judge


async def _started(log: SignedLog, home: Path, number: int) -> Command:
    folder = home / str(number % 10)
    folder.mkdir(exist_ok=True)
    settings = {
        "APP_ENV": "test",
        "RIREKI_HOME": str(folder),
        "SEALER_DATABASE_URL": log.database.url,
        "AUDIT_SIGNING_KEY": log.key.to_text(),
        "AUDIT_CHECKPOINT_URL": log.file.as_uri(),
    }
    command = Command(folder, ["seal"], settings, main)
    await command.start()
    return command


@contextlib.asynccontextmanager
async def _growing(log: SignedLog, chance: random.Random) -> AsyncIterator[None]:
    """Appends events all the time."""

    async def grow() -> None:
        number = 0
        while True:
            number += 1
            async with log.database.raw() as connection:
                await append(connection, f"grows {number}", jobs=chance.randint(1, 3), seqs=chance.randint(1, 60))
            await asyncio.sleep(0.02)

    growing = asyncio.create_task(grow())
    try:
        yield
    finally:
        growing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await growing


async def _signs_again(connection: Connection, log: SignedLog) -> None:
    before = await checkpoints.newest_checkpoint(connection, log.key.name)
    least = 0 if before is None else before.size

    async def has_signed() -> bool:
        newest = await checkpoints.newest_checkpoint(connection, log.key.name)
        return newest is not None and newest.size > least

    await until(has_signed, seconds=SIGNS_WITHIN)


async def _is_done(connection: Connection, log: SignedLog) -> bool:
    newest = await checkpoints.newest_checkpoint(connection, log.key.name)
    is_signed = newest is not None and newest.size == await tree.sealed_size(connection)
    return is_signed and not await connection.fetchval(UNCOPIED)
