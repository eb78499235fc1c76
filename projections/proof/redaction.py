"""The text that is signed when the data of an event are erased.

docs/log-format.md describes it.

An entry holds only a hash of the data, so an erasure does not change the leaf. A redaction holds
that hash, because it can no longer be computed, and the hash of the data that are left.
"""

import base64
import binascii
import re
from dataclasses import dataclass
from datetime import UTC, datetime

from projections.proof.merkle import HASH_BYTES
from projections.proof.signed_note import is_key_name

TITLE = "rireki redaction v1"
POSITION = re.compile(r"[1-9][0-9]{0,18}", re.ASCII)
TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z", re.ASCII)
ERASED_SALT = bytes(16)
"""The salt of an erased event."""


class BadRedaction(ValueError):
    """The text is not a redaction."""


@dataclass(frozen=True, slots=True)
class Redaction:
    """The erasure of the data of one event.

    `data_hash` is the hash in the event's entry, `left` the SHA-256 of the data that are stored after the erasure.
    """

    origin: str
    position: int
    data_hash: bytes
    left: bytes
    actor: str
    at: datetime

    def to_text(self) -> str:
        """Returns the text to sign.

        Its first line cannot be the origin of a log, so it is never the text of a checkpoint.
        """
        at = self.at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        lines = [TITLE, self.origin, str(self.position), _base64(self.data_hash), _base64(self.left), self.actor, at]
        return "".join(f"{line}\n" for line in lines)


def read_redaction(text: str) -> Redaction:
    """Reads the text of a note as a redaction. Raises `BadRedaction`."""
    lines = text.split("\n")
    if len(lines) != 8 or lines[0] != TITLE or lines[7]:
        raise BadRedaction(f"A redaction must have seven lines, the first of them `{TITLE}`.")
    _, origin, position, old, left, actor, at, _ = lines
    if not is_key_name(origin) or not actor:
        raise BadRedaction("The second line of a redaction must be the log's origin, and the sixth its actor.")
    if not POSITION.fullmatch(position):
        raise BadRedaction("The third line of a redaction must be the position of the event in decimal digits.")
    return Redaction(origin, int(position), _hash(old), _hash(left), actor, _time(at))


def _time(text: str) -> datetime:
    if not TIME.fullmatch(text):
        raise BadRedaction("The last line of a redaction must be a time such as 2026-11-30T09:00:00.000000Z.")
    try:
        return datetime.fromisoformat(text)
    except ValueError as error:
        raise BadRedaction("The last line of a redaction must be a time that exists.") from error


def _hash(text: str) -> bytes:
    try:
        found = base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        found = b""
    if len(found) != HASH_BYTES or _base64(found) != text:
        raise BadRedaction("The fourth and the fifth line of a redaction must be hashes: 32 bytes in base64.")
    return found


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
