"""The readers of the log's proofs, for `inputs.py`.

They read notes, checkpoints, redactions, keys, entries and tiles.

Each reader accepts only one form of a value. So the functions here also write the value that was
read, and compare the bytes.
"""

import base64
import contextlib
from datetime import UTC, datetime
from uuid import UUID

from projections.export_lines import EPOCH, BadLine, line_of, read_line, time_text
from projections.proof.checkpoint import BadCheckpoint, Checkpoint, read_checkpoint
from projections.proof.cosignature import Cosigner, read_cosignatures, read_cosigner, read_witness
from projections.proof.entry import BadEntry, Entry, data_hash, read_entry
from projections.proof.log_proof import BadProof, LogProof, Shown, read_log_proof
from projections.proof.merkle import leaf_hash, node_hash
from projections.proof.notes import notes_in
from projections.proof.redaction import BadRedaction, Redaction, read_redaction
from projections.proof.signed_note import BadKey, BadNote, Signer, open_note, read_note, read_signer, read_verifier, sign
from projections.proof.tiles import BadBundle, bundle, entries_in, tile_at
from projections.proof.witness_request import BadRequest, CosignRequest, read_cosign_request
from projections.verify_proof import FalseProof, verify_proof
from tests.fuzz.inputs import Reader, pieces

ORIGIN = "rireki/0123456789abcdef"
SIGNER = Signer(ORIGIN, bytes(range(32)))
AT = datetime(2026, 11, 30, 9, tzinfo=UTC)
CHECKPOINT = Checkpoint(ORIGIN, 70_000, bytes(32)).to_text()
NOTE = sign(CHECKPOINT, [SIGNER, Signer("witness", bytes(32))]).to_bytes()
REDACTION = Redaction(ORIGIN, 42, bytes(32), bytes(32), "user:x", AT).to_text()
SALT, DATA = bytes(range(16)), b'{"reason": "new"}'
ENTRY = Entry(
    UUID(int=7), 3, 1, "queued", "user:x", None, "schedule:履歴", 1_764_550_800_000_000, data_hash(SALT, DATA)
).to_bytes()
LEAF, OTHER_LEAF = leaf_hash(ENTRY), bytes(32)
FIELDS = {
    "jobId": str(UUID(int=7)), "seq": 3, "position": 9, "type": "queued", "attempt": 1, "actor": "user:x", "requestId": None,
    "cause": "schedule:履歴", "at": time_text(1_764_550_800_000_000 - EPOCH), "salt": SALT.hex(),
}  # fmt: skip
LINE = line_of(dict(FIELDS), DATA.decode())[:-1]
LINE_OF_TEXT = line_of(FIELDS | {"redaction": "x"}, "{\n}")[:-1]
TREE_OF_TWO = sign(Checkpoint(ORIGIN, 2, node_hash(LEAF, OTHER_LEAF)).to_text(), [SIGNER]).to_bytes()
PROOF = LogProof(0, [OTHER_LEAF], TREE_OF_TWO, Shown(ENTRY, SALT, DATA).to_bytes()).to_bytes()
PROOF_WITHOUT_DATA = LogProof(0, [OTHER_LEAF], TREE_OF_TWO, ENTRY).to_bytes()
BUNDLE = bundle([ENTRY, ENTRY])
COSIGNER = Cosigner("witness", bytes(range(32)))
COSIGNATURE = COSIGNER.cosign(CHECKPOINT, 1_900_000_000).to_line()
COSIGN_REQUEST = CosignRequest(69_000, [bytes(32), bytes(range(32))], read_note(NOTE)).to_bytes()


class Refused(Exception):
    """The text is not the path of a tile, or not a key."""


def read_a_note(given: bytes) -> None:
    """Reads a note. Checks that an accepted note has the text that was signed."""
    assert read_note(given).to_bytes() == given
    assert open_note(given, [SIGNER.verifier]) == CHECKPOINT


def read_a_checkpoint(given: bytes) -> None:
    text = given.decode("utf-8", "replace")
    assert read_checkpoint(text).to_text() == text


def read_a_redaction(given: bytes) -> None:
    text = given.decode("utf-8", "replace")
    assert read_redaction(text).to_text() == text


def read_a_key(given: bytes) -> None:
    text = given.decode("utf-8", "replace")
    read = 0
    for reader in (read_verifier, read_signer, read_witness, read_cosigner):
        with contextlib.suppress(BadKey):
            reader(text)
            read += 1
    if not read:
        raise Refused


def read_a_file_of_notes(given: bytes) -> None:
    for note in notes_in(given[at : at + 100] for at in range(0, len(given), 100)):
        assert read_note(note).to_bytes() == note


def read_a_request_to_cosign(given: bytes) -> None:
    assert read_cosign_request(given).to_bytes() == given


def read_a_witness_answer(given: bytes) -> None:
    """Reads a witness's answer. Checks that an accepted cosignature is the one that was made."""
    text = given.decode("utf-8", "replace")
    assert {line.to_line() for line in read_cosignatures(text, CHECKPOINT, COSIGNER.witness)} == {COSIGNATURE}


def read_an_entry(given: bytes) -> None:
    assert read_entry(given).to_bytes() == given


def read_a_bundle(given: bytes) -> None:
    for entry in entries_in(given, 2):
        with contextlib.suppress(BadEntry):
            read_entry(entry)
    assert bundle(entries_in(given, 2)) == given


def read_a_tile_path(given: bytes) -> None:
    path = given.decode("utf-8", "replace")
    tile = tile_at(path)
    if tile is None:
        raise Refused
    assert tile.path == path


def read_a_proof(given: bytes) -> None:
    """No changed proof passes, except that it may leave salt and data out."""
    proof = read_log_proof(given)
    assert proof.to_bytes() == given
    proved = verify_proof(given, [SIGNER.verifier])
    assert (proved.position, proved.entry, proved.data) in ((1, read_entry(ENTRY), None), (1, read_entry(ENTRY), DATA))


def read_an_exported_line(given: bytes) -> None:
    """Two lines of the same event differ only in spaces, the order of keys, or further keys."""
    event = read_line(given)
    assert read_entry(event.entry.to_bytes()) == event.entry
    if event.entry == read_entry(ENTRY):
        assert event.data == DATA


READERS = (
    Reader(
        "exported-line", read_an_exported_line, (BadLine,), [LINE, LINE_OF_TEXT],
        pieces('{ } , : "data" "dataText" null 1e9 -1 [ \\ud800'),
    ),
    Reader(
        "proof", read_a_proof, (BadProof, FalseProof), [PROOF, PROOF_WITHOUT_DATA],
        [*pieces("index extra 0 9 = A +"), b"\n", b"\n\n", base64.b64encode(bytes(32))],
    ),
    Reader("note", read_a_note, (BadNote,), [NOTE], [*pieces("— + witness = A"), b"\n", b"\n\n"]),
    Reader("checkpoint", read_a_checkpoint, (BadCheckpoint,), [CHECKPOINT.encode()], [*pieces("0 9 = A +"), b"\n", b"\n\n"]),
    Reader(
        "redaction", read_a_redaction, (BadRedaction,), [REDACTION.encode()], [*pieces("0 9 = Z T : 2026- 02-30"), b"\n"],
    ),
    Reader("notes", read_a_file_of_notes, (), [NOTE + b"\n" + NOTE], [*pieces("— + witness = A"), b"\n", b"\n\n", b"\0"]),
    Reader(
        "cosign-request", read_a_request_to_cosign, (BadRequest,), [COSIGN_REQUEST], [*pieces("old — 0 9 = A"), b"\n", b"\n\n"],
    ),
    Reader("cosignature", read_a_witness_answer, (BadNote,), [COSIGNATURE.encode()], [*pieces("— witness = A"), b"\n"]),
    Reader(
        "key", read_a_key, (Refused,),
        [SIGNER.to_text().encode(), str(SIGNER.verifier).encode(), COSIGNER.to_text().encode(), str(COSIGNER.witness).encode()],
        pieces("+ PRIVATE+KEY+ 0 = A"),
    ),
    Reader("entry", read_an_entry, (BadEntry,), [ENTRY], [b"\x00", b"\x01", b"\x02", b"\xff\xff", bytes(8), bytes(32)]),
    Reader("bundle", read_a_bundle, (BadBundle,), [BUNDLE], [b"\x00", b"\xff\xff", ENTRY, bytes(32)]),
    Reader(
        "tile-path", read_a_tile_path, (Refused,), [b"tile/0/x001/234.p/56", b"tile/entries/000"],
        pieces("tile/ x001 / .p/ 256 000 entries 63 9"),
    ),
)  # fmt: skip
