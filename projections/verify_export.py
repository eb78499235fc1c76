"""Verifies an exported directory with the keys of the log, without a database or a network.

The directory may come from a stranger. So only regular files are read, each up to the size that it may have, and only the files
that a tree of the checkpoint's size needs. Findings have the names of `rireki audit verify`.

The entries are hashed into a tree. If its root is that of the signed checkpoint, no entry has changed since it was sealed. If
not, but the tiles have the signed root, the tiles show which entries have changed. The events are compared with the entries.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from projections.export_lines import LONGEST_LINE
from projections.exported_events import EventLines, ExportFinding
from projections.exported_files import MissingFile, UnfitFile, lines_of, open_file, read_file
from projections.proof.checkpoint import Checkpoint
from projections.proof.entry import MOST_BYTES
from projections.proof.log_proof import BadProof
from projections.proof.merkle import HASH_BYTES, leaf_hash, root_of
from projections.proof.signed_note import MOST_NOTE_BYTES, Verifier
from projections.proof.tiles import ENTRIES, WIDTH, BadBundle, Tile, entries_in, hashes_in, tile_with
from projections.verify_proof import FalseProof, open_checkpoint

MOST_LISTED = 10_000  # findings; more are only counted
MOST_FILES_MISSED = 1_000  # missing files after which the verification ends
NO_FAULT = "REDACTED"


class CannotVerify(Exception):
    """The directory is not an export, or the export is not complete."""


@dataclass(slots=True)
class VerifiedExport:
    """The result of a verification. `events` is the number of lines in the events' file."""

    checkpoint: Checkpoint | None = None
    events: int = 0
    findings: list[ExportFinding] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    @property
    def faults(self) -> int:
        return self.counts.total() - self.counts[NO_FAULT]

    def add(self, findings: Iterable[ExportFinding]) -> None:
        for finding in findings:
            self.counts[finding.name] += 1
            if len(self.findings) < MOST_LISTED:
                self.findings.append(finding)


def verify_export(directory: Path, trusted: Sequence[Verifier], *, after: int = 0) -> VerifiedExport:
    """Verifies a directory. `after` is the position after which its events begin.

    Raises `CannotVerify` if it has no readable checkpoint.
    """
    verified = VerifiedExport()
    try:
        verified.checkpoint = open_checkpoint(read_file(directory, "checkpoint", MOST_NOTE_BYTES), trusted)
    except FalseProof as false:
        verified.add([ExportFinding(false.name, str(false))])
        return verified
    except MissingFile as error:
        raise CannotVerify("it has no checkpoint, so it is not an export, or the export has not ended") from error
    except (UnfitFile, BadProof) as error:
        raise CannotVerify(str(error)) from error
    _Verification(directory, verified, verified.checkpoint, trusted, after).run()
    return verified


class _Verification:
    def __init__(
        self, directory: Path, verified: VerifiedExport, checkpoint: Checkpoint, trusted: Sequence[Verifier], after: int
    ) -> None:
        self._directory = directory
        self._verified = verified
        self._checkpoint = checkpoint
        self._trusted = trusted
        self._after = min(after, checkpoint.size)
        self._by_entries: list[bytes] = []  # the root of each tile of level 0
        self._by_tiles: list[bytes] = []
        self._differing: list[ExportFinding] = []  # entries that do not belong to their leaf
        self._missed = 0

    def run(self) -> None:
        size = self._checkpoint.size
        try:
            file = open_file(self._directory, "events.ndjson")
        except (MissingFile, UnfitFile) as error:
            self._verified.add([ExportFinding("MISSING", str(error))])
            self._compare(size, EventLines(iter(()), after=size, size=size, trusted=self._trusted))
            return
        with file:
            lines = EventLines(lines_of(file, LONGEST_LINE), after=self._after, size=size, trusted=self._trusted)
            self._compare(size, lines)
            self._verified.events = lines.events

    def _compare(self, size: int, lines: EventLines) -> None:
        for number in range(-(-size // WIDTH)):
            entries = self._tile(tile_with(0, number, size))
            self._verified.add(lines.compare(number * WIDTH + 1, entries))
            if self._missed > MOST_FILES_MISSED:
                self._verified.add([ExportFinding("MISSING", "more files are missing, so the verification ends here")])
                return
        self._verified.add(lines.rest())
        self._judge(size)

    def _tile(self, tile: Tile) -> Sequence[bytes | None]:
        """Reads a tile of level 0 and its entries. Returns the entries. If they are missing, returns as many None."""
        entries = self._entries(tile)
        hashes = self._hashes(tile)
        if entries is not None:
            leaves = [leaf_hash(entry) for entry in entries]
            self._by_entries.append(root_of(leaves))
            if hashes is not None and leaves != hashes:
                self._differ(tile, entries, leaves, hashes)
        if hashes is not None:
            self._by_tiles.append(root_of(hashes))
        return [None] * tile.width if entries is None else entries

    def _differ(self, tile: Tile, entries: Sequence[bytes], leaves: Sequence[bytes], hashes: Sequence[bytes]) -> None:
        for at, entry in enumerate(entries):
            if leaves[at] == hashes[at]:
                continue
            position = tile.number * WIDTH + at + 1
            name, detail = ("MODIFIED", "the entry does not belong to its leaf") if entry else ("MISSING", "the event is gone")
            if len(self._differing) < MOST_LISTED:
                self._differing.append(ExportFinding(name, detail, position))

    def _judge(self, size: int) -> None:
        """Compares the tree of the entries and the tree of the tiles with the signed root.

        Then compares the tiles above level 0 with the tree that has this root.
        """
        tiles = -(-size // WIDTH)
        sound = [roots for roots in (self._by_entries, self._by_tiles) if len(roots) == tiles and self._is_signed(roots)]
        if not sound:
            self._verified.add(self._differing)
            self._verified.add(
                [ExportFinding("INCONSISTENT", "the entries and the tiles do not have the root of the checkpoint")]
            )
            return
        if sound[0] is self._by_entries and self._differing:
            files = sorted({Tile(0, ((finding.position or 1) - 1) // WIDTH).path for finding in self._differing})
            self._verified.add(ExportFinding("MODIFIED", f"{path} is not the tile of its entries") for path in files)
        elif sound[0] is self._by_tiles:
            self._verified.add(self._differing)
        self._verified.add(self._upper_tiles(size, sound[0]))

    def _is_signed(self, roots: Sequence[bytes]) -> bool:
        return root_of(roots) == self._checkpoint.root

    def _upper_tiles(self, size: int, roots: Sequence[bytes]) -> Iterator[ExportFinding]:
        level, hashes = 1, list(roots[: size // WIDTH])
        while hashes:
            for number in range(-(-len(hashes) // WIDTH)):
                tile = tile_with(level, number, size)
                own = hashes[number * WIDTH : (number + 1) * WIDTH]
                found = self._hashes(tile)
                if found is not None and found != own:
                    yield ExportFinding("MODIFIED", f"{tile.path} does not have the roots of the tiles below")
            full = len(hashes) // WIDTH
            hashes = [root_of(hashes[at * WIDTH : (at + 1) * WIDTH]) for at in range(full)]
            level += 1

    def _hashes(self, tile: Tile) -> list[bytes] | None:
        contents = self._read(tile.path, tile.width * HASH_BYTES)
        if contents is not None and len(contents) < tile.width * HASH_BYTES:
            self._verified.add([ExportFinding("MODIFIED", f"{tile.path} must have {tile.width * HASH_BYTES} bytes")])
            return None
        return None if contents is None else hashes_in(contents)

    def _entries(self, tile: Tile) -> list[bytes] | None:
        path = Tile(ENTRIES, tile.number, tile.width).path
        contents = self._read(path, tile.width * (2 + MOST_BYTES))
        try:
            return None if contents is None else entries_in(contents, tile.width)
        except BadBundle as error:
            self._verified.add([ExportFinding("MODIFIED", f"{path} cannot be read: {error}")])
            return None

    def _read(self, name: str, most: int) -> bytes | None:
        try:
            return read_file(self._directory, name, most)
        except (MissingFile, UnfitFile) as error:
            self._missed += 1
            self._verified.add([ExportFinding("MISSING" if isinstance(error, MissingFile) else "MODIFIED", str(error))])
            return None
