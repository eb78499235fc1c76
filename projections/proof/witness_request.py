"""The request of a log to a witness.

It holds a checkpoint, and the proof that this checkpoint extends an earlier one.

The format is the body of `add-checkpoint` of C2SP tlog-witness.
"""

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass

from projections.proof.checkpoint import SIZE
from projections.proof.merkle import HASH_BYTES
from projections.proof.signed_note import BadNote, Note, read_note

MOST_PROOF_LINES = 63
LONGEST_REQUEST = 65_536  # bytes
OLD = re.compile(rf"old ({SIZE.pattern})", re.ASCII)


class BadRequest(ValueError):
    """The bytes are not a request to cosign a checkpoint."""


@dataclass(frozen=True, slots=True)
class CosignRequest:
    """A checkpoint, and a proof about its tree.

    The proof shows that the tree begins with the tree of the first `old_size` entries.
    """

    old_size: int
    proof: Sequence[bytes]
    note: Note

    def to_bytes(self) -> bytes:
        """Returns the body to send."""
        lines = [f"old {self.old_size}", *(base64.b64encode(node).decode() for node in self.proof), ""]
        return "".join(f"{line}\n" for line in lines).encode() + self.note.to_bytes()


def read_cosign_request(data: bytes) -> CosignRequest:
    """Reads a request. Accepts exactly one form of each. Raises `BadRequest`."""
    if len(data) > LONGEST_REQUEST:
        raise BadRequest(f"A request has at most {LONGEST_REQUEST} bytes; this one has {len(data)}.")
    head, separator, note = data.partition(b"\n\n")
    if not separator or not head.isascii():
        raise BadRequest("A request must have a line with the old size, lines of a proof, an empty line and a checkpoint.")
    old, *proof = head.decode().split("\n")
    found = OLD.fullmatch(old)
    if found is None:
        raise BadRequest("The first line of a request must be `old` and the size of an earlier tree, such as `old 0`.")
    if len(proof) > MOST_PROOF_LINES:
        raise BadRequest(f"A request has at most {MOST_PROOF_LINES} lines of a proof; this one has {len(proof)}.")
    try:
        return CosignRequest(int(found[1]), tuple(map(_hash, proof)), read_note(note))
    except BadNote as error:
        raise BadRequest(str(error)) from None


def _hash(line: str) -> bytes:
    try:
        found = base64.b64decode(line, validate=True)
    except (ValueError, binascii.Error):
        found = b""
    if len(found) != HASH_BYTES or base64.b64encode(found).decode() != line:
        raise BadRequest("Each line of the proof must be a hash: 32 bytes in base64.")
    return found
