"""The checkpoint, which a log signs: its origin, its size, and the root of its tree.

The format is C2SP tlog-checkpoint.
"""

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass

from projections.proof.merkle import HASH_BYTES

SIZE = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)
MOST_SIZE = 2**63 - 1
MOST_EXTENSIONS = 16


class BadCheckpoint(ValueError):
    """The text is not a checkpoint."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The state of a log: its name, its number of entries, and the root of its tree.

    `extensions` are further lines, for example of a new log that names the log before it.
    """

    origin: str
    size: int
    root: bytes
    extensions: Sequence[str] = ()

    def to_text(self) -> str:
        """Returns the text to sign."""
        lines = [self.origin, str(self.size), base64.b64encode(self.root).decode(), *self.extensions]
        return "".join(f"{line}\n" for line in lines)


def read_checkpoint(text: str) -> Checkpoint:
    """Reads the text of a note as a checkpoint. Raises `BadCheckpoint`."""
    lines = text.split("\n")
    if len(lines) < 4 or lines[-1] or not all(lines[:-1]):
        raise BadCheckpoint("A checkpoint must have at least three lines (origin, size, root), and none of them is empty.")
    origin, size, root, *extensions = lines[:-1]
    if len(extensions) > MOST_EXTENSIONS:
        raise BadCheckpoint(f"A checkpoint has at most {MOST_EXTENSIONS} lines after its root; this one has {len(extensions)}.")
    if not SIZE.fullmatch(size) or int(size) > MOST_SIZE:
        raise BadCheckpoint("The second line of a checkpoint must be the size of the tree in decimal digits.")
    return Checkpoint(origin, int(size), _root(root), tuple(extensions))


def _root(text: str) -> bytes:
    try:
        root = base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        root = b""
    if len(root) != HASH_BYTES or base64.b64encode(root).decode() != text:
        raise BadCheckpoint("The third line of a checkpoint must be the root of the tree: 32 bytes in base64.")
    return root
