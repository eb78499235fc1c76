"""Texts with Ed25519 signatures, and the keys that sign and verify them.

The format is C2SP signed-note.

Keys are written as Go's `sumdb/note` writes them: a verifier's key is `<name>+<id>+<base64>`, a signer's key is
`PRIVATE+KEY+<name>+<id>+<base64>`. A note may come from a stranger. So its size and its number of signatures are bounded.
"""

import base64
import binascii
import hashlib
import re
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

ED25519 = 1
KINDS = {ED25519: "a log's signatures", 4: "a witness's cosignatures"}
"""The purpose of a key, by the byte before its 32 bytes."""

KEY_BYTES = 32
ID_BYTES = 4
MOST_NOTE_BYTES = 1_000_000
MOST_SIGNATURES = 100
MOST_KEY_CHARACTERS = 1_000

DASH = "— "
PRIVATE = "PRIVATE+KEY+"
KEY_ID = re.compile(r"[0-9a-f]{8}", re.ASCII)
CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")


class BadKey(ValueError):
    """The text is not a key of the expected kind. The message never quotes the text."""


class BadNote(ValueError):
    """The bytes are not a signed note."""


class UntrustedNote(BadNote):
    """No signature is by a trusted key, or the signature of a trusted key is wrong."""


@dataclass(frozen=True, slots=True)
class Verifier:
    """The public half of a key."""

    name: str
    public_key: bytes

    @property
    def id(self) -> bytes:
        return key_id(self.name, ED25519, self.public_key)

    def verifies(self, text: bytes, signature: bytes) -> bool:
        try:
            Ed25519PublicKey.from_public_bytes(self.public_key).verify(signature, text)
        except (InvalidSignature, ValueError):
            return False
        return True

    def __str__(self) -> str:
        """Returns the key as text (vkey)."""
        return key_text(self.name, self.id, ED25519, self.public_key)


@dataclass(frozen=True, slots=True)
class Signer:
    """A private key. Its `repr` does not show the secret."""

    name: str
    secret: bytes = field(repr=False)

    @property
    def verifier(self) -> Verifier:
        return Verifier(self.name, Ed25519PrivateKey.from_private_bytes(self.secret).public_key().public_bytes_raw())

    def sign(self, text: bytes) -> bytes:
        return Ed25519PrivateKey.from_private_bytes(self.secret).sign(text)

    def to_text(self) -> str:
        """Returns the private key as text."""
        return PRIVATE + key_text(self.name, self.verifier.id, ED25519, self.secret)


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature of a note, with the name and the id of the key that made it."""

    name: str
    key_id: bytes
    signature: bytes

    def to_line(self) -> str:
        return f"{DASH}{self.name} {_base64(self.key_id + self.signature)}\n"


@dataclass(frozen=True, slots=True)
class Note:
    """A text, which ends in a newline, and its signatures. Nothing is verified yet."""

    text: str
    signatures: Sequence[Signature]

    def to_bytes(self) -> bytes:
        return (self.text + "\n" + "".join(signature.to_line() for signature in self.signatures)).encode()


def key_id(name: str, algorithm: int, public_key: bytes) -> bytes:
    return hashlib.sha256(name.encode() + b"\n" + bytes((algorithm,)) + public_key).digest()[:ID_BYTES]


def key_text(name: str, named_id: bytes, algorithm: int, key: bytes) -> str:
    """Returns a key as text. A private key has `PRIVATE` before it."""
    return f"{name}+{named_id.hex()}+{_base64(bytes((algorithm,)) + key)}"


def new_signer(name: str) -> Signer:
    """Makes a random key. Raises `BadKey` for a name that no key may have."""
    check_name(name)
    return Signer(name, secrets.token_bytes(KEY_BYTES))


def read_signer(text: str) -> Signer:
    """Reads a private key. Raises `BadKey`."""
    if not text.startswith(PRIVATE):
        raise BadKey(f"A private key must begin with {PRIVATE}.")
    name, named_id, secret = key_parts(text.removeprefix(PRIVATE))
    signer = Signer(name, secret)
    if signer.verifier.id != named_id:
        raise BadKey("The id of the private key does not belong to its name and secret; a part was changed or cut off.")
    return signer


def read_verifier(text: str) -> Verifier:
    """Reads a verifier's key (vkey). Raises `BadKey`."""
    name, named_id, public_key = key_parts(text)
    verifier = Verifier(name, public_key)
    if verifier.id != named_id:
        raise BadKey("The id of the verifier's key does not belong to its name and key; a part was changed or cut off.")
    return verifier


def sign(text: str, signers: Iterable[Signer]) -> Note:
    """Signs a text with each key, in the order of `signers`.

    Raises `BadNote` if a note may not have this text.
    """
    _check_text(text)
    data = text.encode()
    return Note(text, tuple(Signature(signer.name, signer.verifier.id, signer.sign(data)) for signer in signers))


def read_note(data: bytes) -> Note:
    """Takes a note apart without verifying it. Raises `BadNote`."""
    if len(data) > MOST_NOTE_BYTES:
        raise BadNote(f"A note has at most {MOST_NOTE_BYTES} bytes; this one has {len(data)}.")
    try:
        note = data.decode()
    except UnicodeDecodeError as error:
        raise BadNote("The note is not valid UTF-8.") from error
    text, separator, lines = note.rpartition("\n\n")
    if not separator or not lines.endswith("\n"):
        raise BadNote("A note must have a text, an empty line, and signatures that end in a newline.")
    text += "\n"
    _check_text(text)
    signatures = lines[:-1].split("\n")
    if len(signatures) > MOST_SIGNATURES:
        raise BadNote(f"A note has at most {MOST_SIGNATURES} signatures; this one has {len(signatures)}.")
    return Note(text, tuple(map(_signature, signatures)))


def verified_by(note: Note, trusted: Iterable[Verifier]) -> list[Verifier]:
    """Returns the trusted keys that have signed the note.

    They are in the order of the signatures, each once.

    Raises `UntrustedNote` if there is none, or if the signature of a trusted key is wrong.
    """
    known = {(verifier.name, verifier.id): verifier for verifier in trusted}
    found: list[Verifier] = []
    data = note.text.encode()
    for signature in note.signatures:
        verifier = known.get((signature.name, signature.key_id))
        if verifier is None or verifier in found:
            continue
        if not verifier.verifies(data, signature.signature):
            raise UntrustedNote(f"The signature of {signature.name} ({signature.key_id.hex()}) does not belong to this text.")
        found.append(verifier)
    if not found:
        raise UntrustedNote("None of the note's signatures is by a trusted key.")
    return found


def open_note(data: bytes, trusted: Iterable[Verifier]) -> str:
    """Returns the text of a note that at least one trusted key has signed. Raises `BadNote`."""
    note = read_note(data)
    verified_by(note, trusted)
    return note.text


def is_key_name(name: str) -> bool:
    """Returns whether this name is valid for a key, and so as the origin of a log."""
    return bool(name) and len(name) <= MOST_KEY_CHARACTERS // 2 and name.isprintable() and not re.search(r"[\s+]", name)


def check_name(name: str) -> None:
    """Raises `BadKey` for a name that no key may have."""
    if not is_key_name(name):
        raise BadKey("The name of a key must have 1 to 500 visible characters, without spaces and without a plus sign.")


def key_parts(text: str, algorithm: int = ED25519) -> tuple[str, bytes, bytes]:
    """Returns the name, the id and the 32 bytes of a key of this algorithm.

    Does not check that the id belongs to the name and the bytes. Raises `BadKey`.
    """
    if len(text) > MOST_KEY_CHARACTERS:
        raise BadKey(f"A key has at most {MOST_KEY_CHARACTERS} characters; this one has {len(text)}.")
    if text.startswith(PRIVATE):
        raise BadKey("This is a private key; the verifier's key that belongs to it is needed here.")
    name, _, rest = text.partition("+")
    named_id, _, encoded = rest.partition("+")
    check_name(name)
    if not KEY_ID.fullmatch(named_id):
        raise BadKey("The id of a key must be 8 hexadecimal digits (0-9, a-f).")
    key = _from_base64(encoded)
    if key is None or len(key) != 1 + KEY_BYTES or key[0] not in KINDS:
        raise BadKey("The last part of a key must be an Ed25519 key in base64: the byte 1 (of a witness: 4), then 32 bytes.")
    if key[0] != algorithm:
        raise BadKey(f"This key is for {KINDS[key[0]]}; a key for {KINDS[algorithm]} is needed here.")
    return name, bytes.fromhex(named_id), key[1:]


def _check_text(text: str) -> None:
    if not text.endswith("\n") or CONTROL.search(text):
        raise BadNote("The text of a note must end in a newline and hold no other control characters.")


def _signature(line: str) -> Signature:
    name, _, encoded = line.removeprefix(DASH).partition(" ")
    signature = _from_base64(encoded)
    if not line.startswith(DASH) or not is_key_name(name) or signature is None or len(signature) <= ID_BYTES:
        raise BadNote("Each signature of a note must be a line of an em dash, a key's name and base64, with spaces between.")
    return Signature(name, signature[:ID_BYTES], signature[ID_BYTES:])


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _from_base64(text: str) -> bytes | None:
    """Decodes standard base64. Returns None for any other text.

    Text is also refused if encoding the decoded bytes again gives another text.
    """
    try:
        data = base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        return None
    return data if _base64(data) == text else None
