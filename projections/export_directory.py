"""Writes the log as a directory: the files of C2SP tlog-tiles, and one file with all events.

Files: `checkpoint`, `tile/<level>/…`, `tile/entries/…` up to the newest signed checkpoint, and `events.ndjson`
(`projections/export_lines.py`). `.export.json` holds the progress of the export.

What always holds:

1. `checkpoint` is written last. An export that continues an earlier one removes it first. So a directory with a checkpoint is
   complete.
2. Everything that `.export.json` names is on the disk, because all files are synced before `.export.json` is replaced. The next
   export continues from there, and cuts off later lines of `events.ndjson`.
3. A lock on `.lock` lets one process write at a time.
"""

import fcntl
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO, TypeVar

import orjson

from events.database import Database, Record
from projections import tree
from projections.checkpoints import SignedCheckpoint, newest_of_current_log, with_cosignatures
from projections.export import entry_in, line_in, rows_of
from projections.proof.checkpoint import BadCheckpoint, read_checkpoint
from projections.proof.signed_note import BadNote, read_note
from projections.proof.tiles import ENTRIES, WIDTH, Tile, bundle, tile_with, tiles_of

T = TypeVar("T")

CHECKPOINT, EVENTS, PROGRESS, LOCK = "checkpoint", "events.ndjson", ".export.json", ".lock"
SYNC_EVERY = 20.0  # seconds
UPPER_AT_ONCE = 64  # tiles


class NothingSigned(RuntimeError):
    """The log has no signed checkpoint, so there is nothing to prove."""


class UnfitDirectory(RuntimeError):
    """The directory cannot take this export. The message says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Progress:
    """The part of a directory that is on the disk.

    All tiles up to `position`, a multiple of 256, and the first `written` bytes of the events' file are there. `after` is the
    position after which the events' file begins.
    """

    origin: str
    after: int
    position: int = 0
    written: int = 0


async def export_directory(database: Database, directory: Path, *, after: int = 0) -> SignedCheckpoint:
    """Writes the log up to its newest checkpoint into a directory, which may hold an earlier export of it.

    `after` limits only the events' file. Raises `NothingSigned`, `UnfitDirectory`, `OSError`, `tree.TreeUnfinished`,
    `tree.TreeDamaged`.
    """
    async with database.raw() as connection:
        newest = await newest_of_current_log(connection)
        if newest is None:
            raise NothingSigned("the log has no signed checkpoint yet: `/readyz` of the service says whether it is signed")
        note = await with_cosignatures(connection, newest)
    with _locked(directory):
        progress = _progress(directory, Progress(newest.origin, after))
        await _check_earlier(database, directory, newest, progress)
        (directory / CHECKPOINT).unlink(missing_ok=True)
        progress = await _write_events(database, directory, newest.size, progress)
        await _write_upper_tiles(database, directory, newest.size)
        os.sync()
        _save(directory, progress)
        _replace(directory / CHECKPOINT, note.encode())
    return newest


async def _check_earlier(database: Database, directory: Path, newest: SignedCheckpoint, progress: Progress) -> None:
    """Raises `UnfitDirectory` unless the log extends the earlier export in the directory."""
    if progress.position > newest.size:
        raise UnfitDirectory(
            f"the directory holds {progress.position} events, and the newest checkpoint covers {newest.size}: was the database"
            " restored? Choose an empty directory, and keep this one, because it proves the log as it was"
        )
    try:
        earlier = read_checkpoint(read_note((directory / CHECKPOINT).read_bytes()).text)
    except FileNotFoundError:
        return
    except (BadNote, BadCheckpoint) as error:
        raise UnfitDirectory(f"its file {CHECKPOINT} cannot be read ({error}): choose an empty directory") from error
    async with database.raw() as connection:
        if earlier.size > newest.size or await tree.root(connection, earlier.size) != earlier.root:
            raise UnfitDirectory(
                "INCONSISTENT: the log does not begin with the tree that the directory's checkpoint names. Choose an empty"
                " directory, and keep this one, because it proves the log as it was"
            )


async def _write_events(database: Database, directory: Path, size: int, progress: Progress) -> Progress:
    """Writes level 0 of the tree, the entries and the events. Returns the progress up to the last full tile."""
    synced = time.monotonic()
    path = directory / EVENTS
    path.touch()
    with path.open("r+b") as events:
        if events.seek(0, os.SEEK_END) < progress.written:
            raise UnfitDirectory(f"its file {EVENTS} was cut: choose an empty directory")
        events.truncate(progress.written)
        events.seek(progress.written)
        async for rows in rows_of(database, progress.position, size, with_proof=True):
            await _write_tiles(database, directory, rows, size)
            progress = _write_lines(events, rows, progress)
            if time.monotonic() - synced > SYNC_EVERY:
                events.flush()
                os.sync()
                _save(directory, progress)
                synced = time.monotonic()
    return progress


async def _write_tiles(database: Database, directory: Path, rows: Sequence[Record], size: int) -> None:
    tiles = [tile_with(0, (part[0]["position"] - 1) // WIDTH, size) for part in _groups(rows, WIDTH)]
    async with database.raw() as connection:
        contents = await tree.tiles_contents(connection, tiles, size)
    for tile, part in zip(tiles, _groups(rows, WIDTH), strict=True):
        _write(directory / tile.path, contents[tile])
        _write(directory / Tile(ENTRIES, tile.number, tile.width).path, bundle([entry_in(row) for row in part]))


def _write_lines(events: BinaryIO, rows: Sequence[Record], progress: Progress) -> Progress:
    for part in _groups(rows, WIDTH):
        events.write(b"".join(line_in(row, with_proof=True) for row in part if row["position"] > progress.after))
        if len(part) == WIDTH:
            progress = Progress(progress.origin, progress.after, part[-1]["position"], events.tell())
    return progress


async def _write_upper_tiles(database: Database, directory: Path, size: int) -> None:
    for tiles in _groups([tile for tile in tiles_of(size) if tile.level], UPPER_AT_ONCE):
        async with database.raw() as connection:
            contents = await tree.tiles_contents(connection, tiles, size)
        for tile in tiles:
            _write(directory / tile.path, contents[tile])


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Makes the directory if it does not exist, and locks it against other exports."""
    directory.mkdir(parents=True, exist_ok=True)
    if not (directory / PROGRESS).exists() and any(each.name != LOCK for each in directory.iterdir()):
        raise UnfitDirectory("it is not empty, and holds no earlier export: choose an empty directory, or a new one")
    with (directory / LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UnfitDirectory("another export writes into it: wait until that export has ended") from error
        yield


def _progress(directory: Path, wanted: Progress) -> Progress:
    """Returns the progress of the earlier export. Raises `UnfitDirectory` if the directory holds another export."""
    try:
        found = Progress(**orjson.loads((directory / PROGRESS).read_bytes()))
    except FileNotFoundError:
        _save(directory, wanted)
        return wanted
    except (TypeError, ValueError) as error:
        raise UnfitDirectory(f"its file {PROGRESS} cannot be read ({error}): choose an empty directory") from error
    if found.origin != wanted.origin:
        raise UnfitDirectory(
            f"it holds an export of the log {found.origin}, and this log is {wanted.origin}: choose another one"
        )
    if found.after != wanted.after:
        raise UnfitDirectory(f"its export began with --after {found.after}: give the same option, or choose another directory")
    return found


def _groups(values: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    return (values[at : at + size] for at in range(0, len(values), size))


def _save(directory: Path, progress: Progress) -> None:
    _replace(directory / PROGRESS, orjson.dumps(asdict(progress)))


def _write(path: Path, contents: bytes) -> None:
    try:
        path.write_bytes(contents)
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(contents)


def _replace(path: Path, contents: bytes) -> None:
    """Replaces a file atomically and durably: a crash leaves either the old or the new contents."""
    new = path.with_name(f"{path.name}.new")
    with new.open("wb") as file:
        file.write(contents)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
