"""A proof of one event is a C2SP tlog-proof, and proves nothing once anything in it is changed."""

import base64
from dataclasses import replace
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from projections.proof.checkpoint import Checkpoint
from projections.proof.entry import Entry, data_hash
from projections.proof.log_proof import BadProof, LogProof, Shown, read_log_proof, read_shown
from projections.proof.merkle import Subtree, inclusion_proof, leaf_hash, root_of
from projections.proof.signed_note import Signer, sign
from projections.verify_proof import FalseProof, verify_proof
from tests.proof import stranger

ORIGIN = "rireki/0123456789abcdef"
SIGNER, WITNESS = Signer(ORIGIN, bytes(range(32))), Signer("witness.example", bytes(32))
SALT, DATA = bytes(range(16)), b'{"reason": "new"}'
JOB = UUID("01990000-0000-7000-8000-000000000001")
SIZE, INDEX = 5, 3
ENTRIES = [
    Entry(JOB, seq, 1, "queued", "user:7", None, None, 0, data_hash(SALT, DATA)).to_bytes() for seq in range(1, SIZE + 1)
]
LEAVES = [leaf_hash(entry) for entry in ENTRIES]


def hash_of(subtree: Subtree) -> bytes:
    return root_of(LEAVES[subtree.number << subtree.height : (subtree.number + 1) << subtree.height])


CHECKPOINT = Checkpoint(ORIGIN, SIZE, root_of(LEAVES))
NOTE = sign(CHECKPOINT.to_text(), [SIGNER, WITNESS]).to_bytes()
SHOWN = Shown(ENTRIES[INDEX], SALT, DATA)
PROOF = LogProof(INDEX, inclusion_proof(INDEX, SIZE, hash_of), NOTE, SHOWN.to_bytes())


def test_a_proof_has_the_lines_of_the_specification() -> None:
    title, extra, index, *hashes = PROOF.to_bytes().partition(b"\n\n")[0].decode().split("\n")

    assert title == "c2sp.org/tlog-proof@v1"
    assert extra == "extra " + base64.b64encode(ENTRIES[INDEX] + SALT + DATA).decode()
    assert index == "index 3"
    assert [base64.b64decode(line) for line in hashes] == PROOF.hashes
    assert PROOF.to_bytes().endswith(b"\n\n" + NOTE)


def test_the_second_implementation_accepts_the_proof() -> None:
    assert stranger.event_of_proof(PROOF.to_bytes().decode(), str(SIGNER.verifier)) == (INDEX, ENTRIES[INDEX], DATA)


def test_a_proof_proves_its_event() -> None:
    proved = verify_proof(PROOF.to_bytes(), [SIGNER.verifier])

    assert (proved.position, proved.checkpoint, proved.data) == (4, CHECKPOINT, DATA)
    assert (proved.entry.job_id, proved.entry.seq) == (JOB, 4)


def test_a_proof_may_show_the_entry_without_the_data() -> None:
    proved = verify_proof(replace(PROOF, extra=ENTRIES[INDEX]).to_bytes(), [SIGNER.verifier])

    assert proved.data is None


@given(st.builds(LogProof, st.integers(0, 2**63 - 1), st.lists(st.binary(min_size=32, max_size=32), max_size=64),
                 st.binary(max_size=80), st.none() | st.binary(min_size=1, max_size=80)))  # fmt: skip
def test_a_proof_that_is_written_is_read_again(proof: LogProof) -> None:
    read = read_log_proof(proof.to_bytes())

    assert replace(read, hashes=list(read.hashes)) == proof


FALSE = {
    "another index": (replace(PROOF, index=2), "MODIFIED"),
    "another entry": (replace(PROOF, extra=Shown(ENTRIES[2], SALT, DATA).to_bytes()), "MODIFIED"),
    "other data": (replace(PROOF, extra=Shown(ENTRIES[INDEX], SALT, DATA + b" ").to_bytes()), "MODIFIED"),
    "another salt": (replace(PROOF, extra=Shown(ENTRIES[INDEX], bytes(16), DATA).to_bytes()), "MODIFIED"),
    "a hash less": (replace(PROOF, hashes=PROOF.hashes[:-1]), "MODIFIED"),
    "another size": (
        replace(PROOF, checkpoint=sign(replace(CHECKPOINT, size=9).to_text(), [SIGNER]).to_bytes()), "MODIFIED",
    ),
    "another checkpoint's signature": (
        replace(PROOF, checkpoint=NOTE.replace(b"\n5\n", b"\n6\n")), "BAD_SIGNATURE",
    ),
    "only a witness's signature": (replace(PROOF, checkpoint=sign(CHECKPOINT.to_text(), [WITNESS]).to_bytes()), "BAD_SIGNATURE"),
}  # fmt: skip


@pytest.mark.parametrize("what", FALSE)
def test_a_false_proof_is_found(what: str) -> None:
    proof, finding = FALSE[what]

    with pytest.raises(FalseProof) as false:
        verify_proof(proof.to_bytes(), [SIGNER.verifier])

    assert false.value.name == finding


def test_a_witness_alone_does_not_speak_for_the_log() -> None:
    """The key of the checkpoint has another name than the log, so it is no key of the log even if a verifier trusts it."""
    proof = replace(PROOF, checkpoint=sign(CHECKPOINT.to_text(), [WITNESS]).to_bytes())

    with pytest.raises(FalseProof, match=f"no key of the log {ORIGIN}"):
        verify_proof(proof.to_bytes(), [WITNESS.verifier])


GOOD = PROOF.to_bytes()
BROKEN = {
    "another title": GOOD.replace(b"@v1", b"@v2"),
    "no index": GOOD.replace(b"\nindex 3", b""),
    "a leading zero": GOOD.replace(b"index 3", b"index 03"),
    "a great index": GOOD.replace(b"index 3", b"index 9999999999999999999"),
    "a short hash": GOOD.replace(base64.b64encode(PROOF.hashes[0]), b"AAAA"),
    "no base64": GOOD.replace(base64.b64encode(PROOF.hashes[0]), b"!" * 44),
    "no checkpoint": GOOD.partition(b"\n\n")[0] + b"\n",
    "no note": GOOD.partition(b"\n\n")[0] + b"\n\nhello\n",
    "no entry": replace(PROOF, extra=b"\x02").to_bytes(),
    "no extra": replace(PROOF, extra=None).to_bytes(),
    "half a salt": replace(PROOF, extra=ENTRIES[0] + b"1234").to_bytes(),
    "65 hashes": replace(PROOF, hashes=[bytes(32)] * 65).to_bytes(),
    "many lines": b"c2sp.org/tlog-proof@v1\nindex 3\n" + b"\n".join([b"A"] * 100_000) + b"\n\n" + NOTE,
    "nothing": b"",
}


@pytest.mark.parametrize("what", BROKEN)
def test_bytes_that_are_no_proof_are_refused(what: str) -> None:
    with pytest.raises(BadProof):
        verify_proof(BROKEN[what], [SIGNER.verifier])


def test_shown_bytes_are_read_as_they_were_written() -> None:
    assert read_shown(SHOWN.to_bytes()) == SHOWN
    assert read_shown(ENTRIES[0]) == Shown(ENTRIES[0])
