"""The state of a witness: the last checkpoint of each log that it has cosigned.

The state is a folder with one file for each log, and the file `witness`, which names the witness's key. A witness that has lost
its state would cosign another history. So a folder without the file `witness` is refused: its disk may not be mounted.
"""

import contextlib
import fcntl
import hashlib
import os
import re
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from projections.proof.checkpoint import BadCheckpoint, read_checkpoint
from projections.proof.cosignature import Witness, cosigned_at
from projections.proof.notes import LONGEST_KEPT
from projections.proof.signed_note import BadNote, read_note

OWNER = "witness"
EVIDENCE = ".two-trees"
HASH = re.compile(r"[0-9a-f]{64}", re.ASCII)
# A write that was cut off when the process was killed.
UNFINISHED = re.compile(r"\.[0-9a-z-]{1,64}(?:\.two-trees)?\.[0-9a-f]{8}\.new", re.ASCII)


class BadState(Exception):
    """The state cannot be used. The message is one line with the remedy."""


@dataclass(frozen=True, slots=True)
class Seen:
    """The last checkpoint of a log that was cosigned, with the time in seconds since 1970.

    `note` has the signatures of the log and of the witness.
    """

    origin: str
    size: int
    root: bytes
    at: int
    note: str


class WitnessState:
    """The state in a folder. A lock lets one process at a time use it."""

    def __init__(self, folder: Path, lock: int, witness: Witness) -> None:
        self._folder = folder
        self._lock = lock
        self._witness = witness
        self._seen: dict[str, Seen] = {}  # the last checkpoint of each log, by the hash of the log's origin

    @classmethod
    def make(cls, folder: Path, witness: Witness) -> None:
        """Makes the empty state of a new witness. Raises `BadState`."""
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if any(folder.iterdir()):
                raise BadState(f"{folder} is not empty: a new witness needs an empty folder")
            _write_durably(folder / OWNER, f"{witness}\n")
        except OSError as error:
            raise BadState(f"{folder} cannot be made: {error.strerror}") from error

    @classmethod
    def open(cls, folder: Path, witness: Witness) -> Self:
        """Opens the state, and reads all of it.

        Raises `BadState`: the folder is not the state of this witness, is damaged, or another process has it.
        """
        try:
            lock = os.open(folder / OWNER, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise BadState(
                f"{folder} is not the state of a witness ({error.strerror}): mount or restore it, because a witness that has"
                " forgotten would cosign another history. `--init NAME` makes the state of a new witness"
            ) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.read(lock, LONGEST_KEPT).decode(errors="replace").strip() != str(witness):
                raise BadState(f"{folder} is the state of another witness: name its own key file")
            state = cls(folder, lock, witness)
            state._read_all()
        except BlockingIOError:
            os.close(lock)
            raise BadState(f"another witness runs with the state in {folder}: stop it first") from None
        except (OSError, BadState) as error:
            os.close(lock)
            if isinstance(error, BadState):
                raise
            raise BadState(f"{folder} cannot be read: {error.strerror}") from error
        return state

    def seen(self, origin: str) -> Seen | None:
        return self._seen.get(origin_hash(origin))

    def seen_by_hash(self, hashed: str) -> Seen | None:
        return self._seen.get(hashed)

    def remember(self, seen: Seen) -> None:
        """Makes a checkpoint durable.

        Raises `OSError`. Then the file may hold the old checkpoint or the new one.
        """
        _write_durably(self._folder / origin_hash(seen.origin), seen.note)
        self._seen[origin_hash(seen.origin)] = seen

    def keep_evidence(self, origin: str, note: str) -> Path:
        """Keeps the first note that contradicts a remembered one. Returns the path of the file."""
        path = self._folder / f"{origin_hash(origin)}{EVIDENCE}"
        if not path.exists():
            with contextlib.suppress(OSError):
                _write_durably(path, note)
        return path

    def close(self) -> None:
        os.close(self._lock)

    def _read_all(self) -> None:
        for path in self._folder.iterdir():
            if HASH.fullmatch(path.name):
                self._seen[path.name] = _read_seen(path, self._witness)
            elif UNFINISHED.fullmatch(path.name):
                path.unlink(missing_ok=True)


def origin_hash(origin: str) -> str:
    """Returns the SHA-256 of an origin in hexadecimal, by which C2SP tlog-witness names logs."""
    return hashlib.sha256(origin.encode()).hexdigest()


def _read_seen(path: Path, witness: Witness) -> Seen:
    damaged = BadState(f"{path} is damaged: restore it, because a witness that has forgotten would cosign another history")
    with path.open("rb") as file:
        data = file.read(LONGEST_KEPT + 1)
    try:
        note = read_note(data)
        checkpoint, at = read_checkpoint(note.text), cosigned_at(note, witness)
    except (BadNote, BadCheckpoint) as error:
        raise damaged from error
    if at is None or origin_hash(checkpoint.origin) != path.name:
        raise damaged
    return Seen(checkpoint.origin, checkpoint.size, checkpoint.root, at, data.decode())


def _write_durably(path: Path, text: str) -> None:
    """Replaces a file. After a crash, it has either the old text or the new one.

    Raises `OSError`.
    """
    written = path.with_name(f".{path.name}.{secrets.token_hex(4)}.new")
    try:
        with os.fdopen(
            os.open(written, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "w", encoding="utf-8"
        ) as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        written.replace(path)
    except OSError:
        written.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
