"""The file that holds the result of this machine's last verification without a fault.

`rireki audit verify --since-checkpoint` reads this file, and checks only later events. The file is under RIREKI_HOME, because a
person who can change the database must not be able to change the file.
"""

import base64
import binascii
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import orjson

LONGEST = 10_000  # bytes


class UnreadableState(Exception):
    """The file exists and cannot be read. The message says what to do."""


@dataclass(frozen=True, slots=True)
class VerifiedTo:
    """The part of the log that was verified: its first `size` positions, whose root is `root`.

    `epoch`, `xid` and `event_id` are of the event at position `size`. `greatest` is the greatest time of an event up to there,
    in microseconds since 2000-01-01T00:00:00Z.
    """

    origin: str
    size: int
    root: bytes
    epoch: int
    xid: int
    event_id: int
    greatest: int


def path_of(home: Path, origin: str) -> Path:
    """Returns the path of the file of a log."""
    return home / f"verified-{hashlib.sha256(origin.encode()).hexdigest()[:16]}.json"


def read_state(home: Path, origin: str) -> VerifiedTo | None:
    """Reads the file. Returns None if it does not exist. Raises `UnreadableState`."""
    path = path_of(home, origin)
    try:
        with path.open("rb") as file:
            found = orjson.loads(file.read(LONGEST))
        state = VerifiedTo(**(found | {"root": base64.b64decode(found["root"], validate=True)}))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError, binascii.Error) as error:
        raise UnreadableState(f"{path} cannot be read ({error}): remove it, and verify everything once") from error
    if state.origin != origin or not 0 < state.size < 2**62:
        raise UnreadableState(f"{path} is of another log: remove it, and verify everything once")
    return state


def write_state(home: Path, state: VerifiedTo) -> None:
    """Replaces the file atomically: a crash leaves the old or the new contents. Raises `OSError`."""
    path = path_of(home, state.origin)
    home.mkdir(parents=True, exist_ok=True)
    fields = {name: getattr(state, name) for name in VerifiedTo.__slots__}
    beside = path.with_suffix(f".{os.getpid()}")
    with beside.open("wb") as file:
        file.write(orjson.dumps(fields | {"root": base64.b64encode(state.root).decode()}))
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
