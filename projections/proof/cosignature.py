"""Cosignatures: a witness states that it has seen no other history of the log.

The format is C2SP tlog-cosignature, version `cosignature/v1` with Ed25519.

A cosignature is a signature line of a note. It also holds the time at which it was made, and it
covers that time. The ids of a witness's key and of a log's key are computed in different ways, so the keys cannot be mixed up.
"""

import secrets
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from projections.proof import signed_note
from projections.proof.checkpoint import read_checkpoint
from projections.proof.signed_note import BadKey, Note, Signature, UntrustedNote, Verifier, key_id

COSIGNATURE = 4  # the algorithm byte of a key for cosignature/v1
SIGNATURE_BYTES = 64
LATEST = 2**63 - 1  # the largest time
STAMP = struct.Struct(">Q")


@dataclass(frozen=True, slots=True)
class Witness:
    """The public half of a witness's key."""

    name: str
    public_key: bytes

    @property
    def id(self) -> bytes:
        return key_id(self.name, COSIGNATURE, self.public_key)

    def __str__(self) -> str:
        """Returns the key as text (vkey)."""
        return signed_note.key_text(self.name, self.id, COSIGNATURE, self.public_key)


@dataclass(frozen=True, slots=True)
class Cosigner:
    """The private key of a witness. Its `repr` does not show the secret."""

    name: str
    secret: bytes = field(repr=False)

    @property
    def witness(self) -> Witness:
        return Witness(self.name, Ed25519PrivateKey.from_private_bytes(self.secret).public_key().public_bytes_raw())

    def cosign(self, text: str, at: int) -> Signature:
        """Signs the text of a checkpoint. `at` is the time, in seconds since 1970.

        Raises:
            BadCheckpoint: the text is not a checkpoint.
            ValueError: no cosignature can have this time.
        """
        read_checkpoint(text)
        if not 0 < at <= LATEST:
            raise ValueError(f"The time of a cosignature must be 1 to {LATEST} seconds after 1970.")
        signature = Ed25519PrivateKey.from_private_bytes(self.secret).sign(_message(text, at))
        return Signature(self.name, self.witness.id, STAMP.pack(at) + signature)

    def to_text(self) -> str:
        """Returns the private key as text."""
        return signed_note.PRIVATE + signed_note.key_text(self.name, self.witness.id, COSIGNATURE, self.secret)


def new_cosigner(name: str) -> Cosigner:
    """Makes a random key. Raises `BadKey` for a name that no key may have."""
    signed_note.check_name(name)
    return Cosigner(name, secrets.token_bytes(signed_note.KEY_BYTES))


def read_cosigner(text: str) -> Cosigner:
    """Reads the private key of a witness. Raises `BadKey`."""
    if not text.startswith(signed_note.PRIVATE):
        raise BadKey(f"A private key must begin with {signed_note.PRIVATE}.")
    name, named_id, secret = signed_note.key_parts(text.removeprefix(signed_note.PRIVATE), COSIGNATURE)
    cosigner = Cosigner(name, secret)
    if cosigner.witness.id != named_id:
        raise BadKey("The id of the private key does not belong to its name and secret; a part was changed or cut off.")
    return cosigner


def read_witness(text: str) -> Witness:
    """Reads the verifier's key (vkey) of a witness. Raises `BadKey`."""
    name, named_id, public_key = signed_note.key_parts(text, COSIGNATURE)
    witness = Witness(name, public_key)
    if witness.id != named_id:
        raise BadKey("The id of the witness's key does not belong to its name and key; a part was changed or cut off.")
    return witness


def cosigned_at(note: Note, witness: Witness) -> int | None:
    """Returns when the witness has cosigned this checkpoint, in seconds since 1970.

    Returns None if the note has no cosignature by this witness. Of several, the latest counts.

    Raises `UntrustedNote` if a line names the witness's key and its signature is wrong.
    """
    times = [
        _time_of(signature, note.text, witness)
        for signature in note.signatures
        if (signature.name, signature.key_id) == (witness.name, witness.id)
    ]
    return max(times, default=None)


def missing_witnesses(note: Note, wanted: Iterable[Witness]) -> list[Witness]:
    """Returns those witnesses that have not cosigned the note.

    Raises `UntrustedNote` if a cosignature of one of them is wrong.
    """
    return [witness for witness in wanted if cosigned_at(note, witness) is None]


def read_cosignatures(text: str, checkpoint: str, witness: Witness) -> Sequence[Signature]:
    """Reads a witness's answer: signature lines for the text of a checkpoint.

    Returns the lines by this witness. Other lines are ignored.

    Raises:
        BadNote: the answer does not consist of signature lines.
        UntrustedNote: no line is by this witness, or a signature of it is wrong.
    """
    note = signed_note.read_note(f"{checkpoint}\n{text}".encode())
    if note.text != checkpoint:
        raise signed_note.BadNote("The answer must consist of signature lines.")
    if cosigned_at(note, witness) is None:
        raise UntrustedNote(f"No signature is by the witness {witness.name}.")
    return [signature for signature in note.signatures if (signature.name, signature.key_id) == (witness.name, witness.id)]


def _time_of(signature: Signature, text: str, witness: Witness) -> int:
    wrong = UntrustedNote(f"The cosignature of {signature.name} ({signature.key_id.hex()}) does not belong to this text.")
    if len(signature.signature) != STAMP.size + SIGNATURE_BYTES:
        raise wrong
    (at,) = STAMP.unpack(signature.signature[: STAMP.size])
    signed = Verifier(witness.name, witness.public_key)
    if not 0 < at <= LATEST or not signed.verifies(_message(text, at), signature.signature[STAMP.size :]):
        raise wrong
    return int(at)


def _message(text: str, at: int) -> bytes:
    return f"cosignature/v1\ntime {at}\n{text}".encode()
