"""The entry of an event: the bytes whose hash is its leaf in the Merkle tree.

This is format 1 of docs/log-format.md.

`ENTRY` computes the same bytes in PostgreSQL. A leaf hash must never depend on how a driver reads a row.
"""

import hashlib
import struct
from dataclasses import dataclass
from uuid import UUID

FORMAT = 1
LONGEST_TEXT = 8192  # bytes of UTF-8; if a text is longer, its entry holds only the text's length and hash
MOST_BYTES = 1 + 16 + 4 + 4 + 4 * (3 + LONGEST_TEXT) + 8 + 32
"""The length of the longest possible entry. Entry bundles allow 65,535 bytes."""

NO_TEXT, TEXT, LONG_TEXT = 0, 1, 2
SALT_BYTES = 16
EPOCH = 946_684_800_000_000  # microseconds from 1970-01-01 to 2000-01-01, both in UTC


def _text_in_sql(column: str) -> str:
    return f"""case
        when {column} is null then '\\x00'::bytea
        when octet_length({column}) <= {LONGEST_TEXT}
            then '\\x01'::bytea || int2send(octet_length({column})::int2) || convert_to({column}, 'UTF8')
        else '\\x02'::bytea || int8send(octet_length({column})) || sha256(convert_to({column}, 'UTF8'))
    end"""


ENTRY = f"""'\\x01'::bytea || uuid_send(e.job_id) || int4send(e.seq) || int4send(e.attempt)
    || {_text_in_sql("e.type")}
    || {_text_in_sql("e.actor")}
    || {_text_in_sql("e.request_id")}
    || {_text_in_sql("e.cause")}
    || timestamptz_send(e.at)
    || sha256(e.salt || convert_to(e.data::text, 'UTF8'))"""
"""The entry of the row `e` of `job_events`, as an SQL expression. The database's encoding must be UTF-8."""

LEAF = f"sha256('\\x00'::bytea || {ENTRY})"
"""The leaf hash of the row `e` of `job_events`, as an SQL expression."""


class BadEntry(ValueError):
    """The bytes are not an entry of format 1."""


@dataclass(frozen=True, slots=True)
class LongText:
    """A text of more than `LONGEST_TEXT` bytes.

    An entry does not hold the text itself, but its length in bytes and its SHA-256.
    """

    length: int
    digest: bytes


EntryText = str | LongText | None


@dataclass(frozen=True, slots=True)
class Entry:
    """The contents of an entry. `at` is in microseconds since 1970-01-01T00:00:00Z.

    `data_hash` is the SHA-256 of the event's salt followed by the bytes of its stored data.
    """

    job_id: UUID
    seq: int
    attempt: int
    type: EntryText
    actor: EntryText
    request_id: EntryText
    cause: EntryText
    at: int
    data_hash: bytes

    def to_bytes(self) -> bytes:
        return b"".join(
            (
                bytes((FORMAT,)),
                self.job_id.bytes,
                struct.pack(">ii", self.seq, self.attempt),
                *map(_text, (self.type, self.actor, self.request_id, self.cause)),
                struct.pack(">q", self.at - EPOCH),
                self.data_hash,
            )
        )


def data_hash(salt: bytes, data: bytes) -> bytes:
    return hashlib.sha256(salt + data).digest()


def read_entry(entry: bytes) -> Entry:
    """Reads an entry. Accepts exactly one form of each event.

    Raises `BadEntry`.
    """
    if len(entry) > MOST_BYTES:
        raise BadEntry(f"An entry has at most {MOST_BYTES} bytes; this one has {len(entry)}.")
    read, length = read_entry_in(entry)
    if length < len(entry):
        raise BadEntry(f"The entry has {len(entry) - length} bytes after its end.")
    return read


def read_entry_in(contents: bytes) -> tuple[Entry, int]:
    """Reads the entry at the beginning of `contents`. Returns it and its length in bytes.

    Raises `BadEntry`.
    """
    reader = _Reader(contents)
    if (form := reader.take(1)[0]) != FORMAT:
        raise BadEntry(f"The entry has format {form}; this program reads format {FORMAT}. Use a newer version of it.")
    job_id = UUID(bytes=reader.take(16))
    seq, attempt = struct.unpack(">ii", reader.take(8))
    kind, actor, request_id, cause = (reader.text() for _ in range(4))
    (at,) = struct.unpack(">q", reader.take(8))
    return Entry(job_id, seq, attempt, kind, actor, request_id, cause, at + EPOCH, reader.take(32)), reader.at


def _text(text: EntryText) -> bytes:
    if text is None:
        return bytes((NO_TEXT,))
    if isinstance(text, LongText):
        return bytes((LONG_TEXT,)) + struct.pack(">q", text.length) + text.digest
    encoded = text.encode()
    if len(encoded) > LONGEST_TEXT:
        return _text(LongText(len(encoded), hashlib.sha256(encoded).digest()))
    return bytes((TEXT,)) + struct.pack(">H", len(encoded)) + encoded


class _Reader:
    """Takes an entry apart from its beginning to its end."""

    def __init__(self, entry: bytes) -> None:
        self._entry = entry
        self.at = 0

    def take(self, length: int) -> bytes:
        left = len(self._entry) - self.at
        if length > left:
            raise BadEntry(f"The entry ends too early: {length} bytes are expected and {left} are left.")
        self.at += length
        return self._entry[self.at - length : self.at]

    def text(self) -> EntryText:
        match self.take(1)[0]:
            case 0:
                return None
            case 1:
                (length,) = struct.unpack(">H", self.take(2))
                if length > LONGEST_TEXT:
                    raise BadEntry(f"A text of {length} bytes must enter as its length and hash.")
                try:
                    return self.take(length).decode()
                except UnicodeDecodeError as error:
                    raise BadEntry("A text of the entry is not valid UTF-8.") from error
            case 2:
                (length,) = struct.unpack(">q", self.take(8))
                if length <= LONGEST_TEXT:
                    raise BadEntry(f"A text of {length} bytes must enter as it is.")
                return LongText(length, self.take(32))
            case tag:
                raise BadEntry(f"A text of the entry begins with {tag}; it must begin with 0, 1 or 2.")
