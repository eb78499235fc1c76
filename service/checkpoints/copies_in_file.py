"""Copies of checkpoints in a file that is only appended to.

The file may be `chattr +a`, so no code here changes its bytes. If a write was cut off, the next try appends the whole note
again (`projections/proof/notes.py`).
"""

import asyncio
import fcntl
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from projections.proof.checkpoint import BadCheckpoint, read_checkpoint
from projections.proof.notes import LONGEST_KEPT, notes_in, separated
from projections.proof.signed_note import read_note
from service.checkpoints.copy_types import CheckpointCopies, CopyDiffers, CopyFailed

ENDS_WITHIN = 10.0  # seconds; a disk in a network may never answer
BLOCK = 65_536  # bytes
SEARCHED = (2 * LONGEST_KEPT, 2**24, None)  # bytes at the end of the file that are searched; None: the whole file

R = TypeVar("R")


class CopiesInFile(CheckpointCopies):
    """The copies in one file. Several processes may append to it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        # The file has a thread of its own, because a disk that does not answer may block the thread for ever.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoint-copies")
        self._stuck: asyncio.Future[Any] | None = None

    async def add(self, origin: str, size: int, note: str) -> None:
        await self._in_thread(lambda: _append(self._path, origin, size, note.encode()))

    async def newest(self, origin: str) -> str | None:
        found = await self._in_thread(lambda: _newest_at(self._path, origin))
        return None if found is None else found[1].decode()

    async def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _in_thread(self, work: Callable[[], R]) -> R:
        if self._stuck is not None and not self._stuck.done():
            raise CopyFailed("The disk with the copies of checkpoints still has not answered.")
        running = asyncio.get_running_loop().run_in_executor(self._thread, work)
        done, _ = await asyncio.wait([running], timeout=ENDS_WITHIN)
        if not done:
            self._stuck = running
            running.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
            raise CopyFailed(f"The disk with the copies of checkpoints has not answered for {ENDS_WITHIN:.0f} s.")
        try:
            return running.result()
        except OSError as error:
            raise CopyFailed(f"The file of copies cannot be used: {error.strerror or error}.") from error


def _append(path: Path, origin: str, size: int, note: bytes) -> None:
    """Appends a note durably, unless the newest copy is this note."""
    is_new = not path.exists()
    file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        # Without the lock, a process could take the half-written note of another process for a cut-off write.
        fcntl.flock(file, fcntl.LOCK_EX)
        newest = _newest_in(file, origin)
        if newest is None or newest[0] != size:
            _write(file, separated(note, after=_end_of(file)))
        elif newest[1] != note:
            raise CopyDiffers(size, newest[1].decode())
        # The note may be there without being synced, because a process was killed between the two.
        os.fsync(file)
    finally:
        os.close(file)
    if is_new:
        _sync_folder(path.parent)


def _write(file: int, data: bytes) -> None:
    written = os.write(file, data)
    if written != len(data):
        raise OSError(28, f"only {written} of {len(data)} bytes could be written")


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _newest_at(path: Path, origin: str) -> tuple[int, bytes] | None:
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_SH)
        return _newest_in(file, origin)
    finally:
        os.close(file)


def _newest_in(file: int, origin: str) -> tuple[int, bytes] | None:
    """Returns the largest size among the last notes of this origin, and its note."""
    length = os.fstat(file).st_size
    for searched in SEARCHED:
        start = 0 if searched is None else max(0, length - searched)
        notes = notes_in(_blocks(file, start))
        if start:
            # The search began at any byte, so the first note may lack its beginning.
            next(notes, None)
        if found := [(size, note) for note in notes if (size := _size_in(note, origin)) is not None]:
            return max(found, key=lambda one: one[0])
        if not start:
            break
    return None


def _blocks(file: int, start: int) -> Iterator[bytes]:
    while block := os.pread(file, BLOCK, start):
        yield block
        start += len(block)


def _end_of(file: int) -> bytes:
    length = os.fstat(file).st_size
    return os.pread(file, 1, length - 1) if length else b""


def _size_in(note: bytes, origin: str) -> int | None:
    """Returns the size of a checkpoint of this origin, or None for another note."""
    try:
        checkpoint = read_checkpoint(read_note(note).text)
    except BadCheckpoint:
        return None
    return checkpoint.size if checkpoint.origin == origin else None
