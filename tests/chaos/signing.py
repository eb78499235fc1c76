"""The signing of the log in a campaign: the log's key, a file of copies, and a witness.

The API processes seal, sign, copy and ask the witness. The witness is a process of its own, which the faults kill.
"""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from projections.proof.checkpoint import Checkpoint, read_checkpoint
from projections.proof.cosignature import Cosigner, cosigned_at, read_cosigner
from projections.proof.entry import ENTRY
from projections.proof.merkle import EMPTY_ROOT, leaf_hash, node_hash
from projections.proof.notes import notes_in
from projections.proof.signed_note import BadNote, Signer, new_signer, open_note, read_note
from service.process.witness import make_key
from tests.chaos import rows
from tests.chaos.history import Violation

ROOT = Path(__file__).parents[2]
SIGN_EVERY = 1.0  # seconds between two checkpoints, in place of a minute, so that a campaign has many
SETTLED_WITHIN = 60.0  # seconds after the last event in which it must be signed, copied and cosigned

ORIGIN = "select origin from log_origins order by number desc limit 1"
ENTRIES = f"select {ENTRY} as entry from job_events e join job_event_log l using (event_id) order by l.position"
SIGNED = "select origin, size, root, note, copied_at from checkpoints order by size"
COSIGNED = """
select c.size, c.note, s.line from cosignatures s join checkpoints c on (c.origin, c.size) = (s.origin, s.size) order by c.size
"""
SETTLED = """
select exists (
    select from checkpoints c join cosignatures s on (s.origin, s.size) = (c.origin, c.size)
    where c.copied_at is not null and c.size = (select count(*) from job_events)
)
"""


class Signing:
    """The key, the copies and the witness of a campaign."""

    def __init__(self, folder: Path, origin: str, port: int) -> None:
        self.key: Signer = new_signer(origin)
        self.copies = folder / "checkpoints"
        self.port = port
        self.violations: list[Violation] = []
        self._folder = folder
        self._key_file, self._state = folder / "witness-key", folder / "witness-state"
        make_key("witness.chaos", self._key_file, self._state)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def cosigner(self) -> Cosigner:
        return read_cosigner(self._key_file.read_text().strip())

    @property
    def environment(self) -> dict[str, str]:
        """The settings of the processes that sign."""
        return {
            "AUDIT_SIGNING_KEY": self.key.to_text(),
            "AUDIT_CHECKPOINT_URL": self.copies.as_uri(),
            "AUDIT_WITNESSES": f"{self.cosigner.witness} http://127.0.0.1:{self.port}",
            "CHAOS_SIGN_EVERY": str(SIGN_EVERY),
        }

    def start_witness(self) -> None:
        settings = {
            "CHAOS_WITNESS_LOG": str(self.key.verifier), "CHAOS_WITNESS_PORT": str(self.port),
            "CHAOS_WITNESS_KEY": str(self._key_file), "CHAOS_WITNESS_STATE": str(self._state),
        }  # fmt: skip
        with (self._folder / "logs" / "witness.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.chaos.processes", "witness"], cwd=ROOT, env=os.environ | settings,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

    async def kill_witness(self, *, down: float) -> None:
        """Kills the witness, and starts it again after `down` seconds."""
        assert self._process is not None
        if (status := self._process.poll()) is not None:
            self.violations.append(Violation("process", None, f"the witness ended by itself with status {status}: see its log"))
        self._process.kill()
        await asyncio.to_thread(self._process.wait)
        await asyncio.sleep(down)
        self.start_witness()

    def close(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()

    async def settled(self, url: str) -> None:
        """Waits until the last event is signed, copied and cosigned. If that takes too long, it is a violation."""
        connection = await rows.connect(url)
        until = time.monotonic() + SETTLED_WITHIN
        try:
            while not await connection.fetchval(SETTLED):
                if time.monotonic() > until:
                    detail = f"the last event is not signed, copied and cosigned {SETTLED_WITHIN:g} s after the last job ended"
                    self.violations.append(Violation("signing", None, detail))
                    return
                await asyncio.sleep(0.2)
        finally:
            await connection.close()

    async def judge(self, url: str) -> tuple[list[Violation], str]:
        """Checks invariant 10. Returns the violations, and the figures for the report."""
        connection = await rows.connect(url)
        try:
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                entries = [row["entry"] for row in await connection.fetch(ENTRIES)]
                signed = [read_signed(row["note"], self.key) for row in await connection.fetch(SIGNED)]
                cosigned = [(row["note"], row["line"]) for row in await connection.fetch(COSIGNED)]
        finally:
            await connection.close()
        copied = list(notes_in([self.copies.read_bytes()])) if self.copies.exists() else []
        found = [*signed, *(read_signed(note.decode(), self.key) for note in copied)]
        found += [read_checkpoint(read_note(path.read_bytes()).text) for path in self._state.glob("?" * 64)]
        violations = [*self.violations, *forked(found, entries), *self._wrong(cosigned)]
        return violations, f"{len(signed)} signed, {len(copied)} copied, {len(cosigned)} cosigned"

    def _wrong(self, cosigned: Iterable[tuple[str, str]]) -> Iterator[Violation]:
        for note, line in cosigned:
            try:
                if cosigned_at(read_note((note + line).encode()), self.cosigner.witness) is None:
                    yield Violation(10, None, "a cosignature in the table is by a key other than the witness's")
            except BadNote as error:
                yield Violation(10, None, f"a cosignature in the table is wrong: {error}")


def read_signed(note: str, key: Signer) -> Checkpoint:
    """Returns the checkpoint of a note that this key has signed. Raises `BadNote`."""
    return read_checkpoint(open_note(note.encode(), [key.verifier]))


def forked(checkpoints: Iterable[Checkpoint], entries: Sequence[bytes]) -> Iterator[Violation]:
    """Checks invariant 10: yields a violation for each checkpoint that the log does not extend."""
    by_size: dict[int, set[bytes]] = {}
    for checkpoint in checkpoints:
        by_size.setdefault(checkpoint.size, set()).add(checkpoint.root)
    roots = roots_of(entries, set(by_size))
    for size, claimed in sorted(by_size.items()):
        if claimed != {roots.get(size)}:
            yield Violation(10, None, f"the log does not extend a checkpoint of size {size} that was published before")


def roots_of(entries: Sequence[bytes], sizes: set[int]) -> dict[int, bytes]:
    """Returns the root of the tree of each of these sizes, computed from the entries alone."""
    roots, peaks = {0: EMPTY_ROOT}, list[tuple[int, bytes]]()
    for size, entry in enumerate(entries, 1):
        height, node = 0, leaf_hash(entry)
        while peaks and peaks[-1][0] == height:
            height, node = height + 1, node_hash(peaks.pop()[1], node)
        peaks.append((height, node))
        if size in sizes:
            root = peaks[-1][1]
            for _, left in reversed(peaks[:-1]):
                root = node_hash(left, root)
            roots[size] = root
    return roots
