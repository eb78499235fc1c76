"""Cosignatures of a witness under a checkpoint."""

import base64
import hashlib
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from projections.proof.checkpoint import BadCheckpoint
from projections.proof.cosignature import (
    Cosigner,
    cosigned_at,
    missing_witnesses,
    new_cosigner,
    read_cosignatures,
    read_cosigner,
    read_witness,
)
from projections.proof.signed_note import BadKey, BadNote, Note, UntrustedNote, read_note, read_signer, read_verifier
from tests.checkpoints.logs import Log

AT = 1_679_315_147
COSIGNER = Cosigner("witness.example/w1", bytes(range(32)))
WITNESS = COSIGNER.witness
NOTE = read_note(Log().note(300).encode())


def cosigned(note: Note = NOTE, at: int = AT, by: Cosigner = COSIGNER) -> Note:
    return replace(note, signatures=[*note.signatures, by.cosign(note.text, at)])


def test_a_cosignature_has_the_bytes_of_the_specification() -> None:
    """The test builds the signed bytes itself, from the text of C2SP tlog-cosignature."""
    line = COSIGNER.cosign(NOTE.text, AT).to_line()

    name, encoded = line.removeprefix("— ").removesuffix("\n").split(" ")
    data = base64.b64decode(encoded)
    assert name == "witness.example/w1"
    assert data[:4] == hashlib.sha256(b"witness.example/w1\n\x04" + WITNESS.public_key).digest()[:4]
    assert int.from_bytes(data[4:12], "big") == AT
    signed = f"cosignature/v1\ntime {AT}\n{NOTE.text}".encode()
    Ed25519PublicKey.from_public_bytes(WITNESS.public_key).verify(data[12:], signed)


def test_a_cosigned_note_tells_the_time() -> None:
    assert cosigned_at(cosigned(), WITNESS) == AT
    assert cosigned_at(cosigned(cosigned(), AT + 60), WITNESS) == AT + 60
    assert cosigned_at(NOTE, WITNESS) is None
    assert cosigned_at(cosigned(by=new_cosigner("other")), WITNESS) is None


def test_the_witnesses_that_are_missing_are_named() -> None:
    other = new_cosigner("other").witness

    assert missing_witnesses(cosigned(), [WITNESS, other]) == [other]


@pytest.mark.parametrize("place", [0, 7, 8, 71])
def test_a_cosignature_with_a_changed_byte_is_refused(place: int) -> None:
    line = COSIGNER.cosign(NOTE.text, AT)
    changed = bytes(byte ^ (at == place) for at, byte in enumerate(line.signature))

    with pytest.raises(UntrustedNote):
        cosigned_at(replace(NOTE, signatures=[replace(line, signature=changed)]), WITNESS)


def test_a_cosignature_of_another_text_or_with_another_length_is_refused() -> None:
    line = COSIGNER.cosign(read_note(Log().note(299).encode()).text, AT)

    for wrong in (line, replace(line, signature=line.signature[8:]), replace(line, signature=line.signature + b"\0")):
        with pytest.raises(UntrustedNote):
            cosigned_at(replace(NOTE, signatures=[wrong]), WITNESS)


def test_keys_are_read_as_they_were_written() -> None:
    assert read_cosigner(COSIGNER.to_text()) == COSIGNER
    assert read_witness(str(WITNESS)) == WITNESS
    assert "00" not in repr(COSIGNER)


def test_the_key_of_a_log_is_not_taken_for_that_of_a_witness() -> None:
    signer = Log().signer

    with pytest.raises(BadKey, match="a key for a witness's cosignatures is needed"):
        read_witness(str(signer.verifier))
    with pytest.raises(BadKey, match="a key for a witness's cosignatures is needed"):
        read_cosigner(signer.to_text())
    with pytest.raises(BadKey, match="a key for a log's signatures is needed"):
        read_verifier(str(WITNESS))
    with pytest.raises(BadKey, match="a key for a log's signatures is needed"):
        read_signer(COSIGNER.to_text())


@pytest.mark.parametrize("text", [str(WITNESS)[:-4], str(WITNESS).replace("w1", "w2"), "", "a+b+c", "witness.example/w1"])
def test_a_damaged_key_is_refused(text: str) -> None:
    with pytest.raises(BadKey):
        read_witness(text)
    with pytest.raises(BadKey):
        read_cosigner(f"PRIVATE+KEY+{text}")


def test_only_checkpoints_at_possible_times_are_cosigned() -> None:
    with pytest.raises(BadCheckpoint):
        COSIGNER.cosign("rireki redaction v1\nx\n", AT)
    for at in (0, -1, 2**63):
        with pytest.raises(ValueError, match="The time of a cosignature"):
            COSIGNER.cosign(NOTE.text, at)


def test_an_answer_gives_the_lines_of_the_witness() -> None:
    line, other = COSIGNER.cosign(NOTE.text, AT), new_cosigner("other").cosign(NOTE.text, AT)

    assert read_cosignatures(other.to_line() + line.to_line(), NOTE.text, WITNESS) == [line]


@pytest.mark.parametrize("answer", ["", "x", "\n", "\n— ", "— other AAAA\n", "text\n\n— other AAAAAAAAAAA=\n", "— a b\n" * 101])
def test_any_other_answer_is_refused(answer: str) -> None:
    with pytest.raises(BadNote):
        read_cosignatures(answer, NOTE.text, WITNESS)
