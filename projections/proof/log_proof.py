"""The proof that a log holds an entry, as one text that can be checked offline.

The format is C2SP tlog-proof@v1: the index of the entry, the hashes of its inclusion proof, and a signed checkpoint. Its
`extra` part holds the entry, and, for a reader who may see all of the event's data, the salt and the data.
"""

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass

from projections.proof.entry import SALT_BYTES, BadEntry, Entry, data_hash, read_entry_in
from projections.proof.merkle import HASH_BYTES, LONGEST_PROOF

TITLE = b"c2sp.org/tlog-proof@v1"
INDEX = re.compile(rb"index (0|[1-9][0-9]{0,18})")
MOST_BYTES = 64 * 1024 * 1024
MOST_INDEX = 2**63 - 1


class BadProof(ValueError):
    """The bytes are not a proof."""


@dataclass(frozen=True, slots=True)
class LogProof:
    """An inclusion proof with its checkpoint. Nothing is verified yet.

    `checkpoint` is a signed note. `extra` is what `Shown.to_bytes` returns, or None.
    """

    index: int
    hashes: Sequence[bytes]
    checkpoint: bytes
    extra: bytes | None = None

    def to_bytes(self) -> bytes:
        lines = [TITLE]
        if self.extra is not None:
            lines.append(b"extra " + base64.b64encode(self.extra))
        lines.append(b"index %d" % self.index)
        lines += map(base64.b64encode, self.hashes)
        return b"\n".join(lines) + b"\n\n" + self.checkpoint


@dataclass(frozen=True, slots=True)
class Shown:
    """The part of an event that its proof shows: the entry, and either salt and data or None for both."""

    entry: bytes
    salt: bytes | None = None
    data: bytes | None = None

    def to_bytes(self) -> bytes:
        return self.entry + (self.salt or b"") + (self.data or b"")

    @property
    def has_its_data(self) -> bool:
        """Returns whether the entry has the hash of the shown salt and data."""
        return self.salt is not None and data_hash(self.salt, self.data or b"") == self.read().data_hash

    def read(self) -> Entry:
        return read_entry_in(self.entry)[0]


def read_log_proof(proof: bytes) -> LogProof:
    """Reads a proof. Raises `BadProof`."""
    if len(proof) > MOST_BYTES:
        raise BadProof(f"A proof has at most {MOST_BYTES} bytes; this one has {len(proof)}.")
    head, separator, checkpoint = proof.partition(b"\n\n")
    title, *lines = head.split(b"\n", LONGEST_PROOF + 4)
    if title != TITLE or not separator:
        raise BadProof(f"A proof must begin with the line {TITLE.decode()}, and have an empty line before its checkpoint.")
    extra = _decoded(lines.pop(0)[len(b"extra ") :]) if lines and lines[0].startswith(b"extra ") else None
    index = INDEX.fullmatch(lines.pop(0)) if lines else None
    if index is None or int(index[1]) > MOST_INDEX:
        raise BadProof("The line before the hashes must be `index` and the index of the entry in decimal digits.")
    if len(lines) > LONGEST_PROOF:
        raise BadProof(f"A proof has at most {LONGEST_PROOF} hashes.")
    hashes = tuple(map(_decoded, lines))
    if any(len(each) != HASH_BYTES for each in hashes):
        raise BadProof("Each line after the index must be a hash: 32 bytes in base64.")
    return LogProof(int(index[1]), hashes, checkpoint, extra)


def read_shown(extra: bytes) -> Shown:
    """Reads the `extra` part of a proof. Raises `BadProof`."""
    try:
        _, length = read_entry_in(extra)
    except BadEntry as error:
        raise BadProof(f"The extra part of the proof must begin with the entry of the event. {error}") from error
    rest = extra[length:]
    if not rest:
        return Shown(extra)
    if len(rest) < SALT_BYTES:
        raise BadProof("The extra part of the proof must end after the entry, or have the salt and the data after it.")
    return Shown(extra[:length], rest[:SALT_BYTES], rest[SALT_BYTES:])


def _decoded(text: bytes) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        data = b""
    if not data or base64.b64encode(data) != text:
        raise BadProof("The extra part and the hashes of a proof must be in base64, each on one line.")
    return data
