"""The second implementation agrees with the first one and with the test vectors."""

import ast
import base64
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from projections.proof import tiles
from projections.proof.entry import LONGEST_TEXT, MOST_BYTES
from projections.proof.merkle import leaf_hash
from projections.proof.redaction import read_redaction
from projections.proof.signed_note import Signer, open_note, read_note, sign
from tests.proof import stranger, vectors

VECTORS: dict[str, Any] = json.loads(vectors.FILE.read_text("utf-8"))
TREE = VECTORS["tree"]
LEAVES = [stranger.leaf(f"entry {number}".encode()) for number in range(600)]


def test_the_vectors_in_the_documents_are_those_of_the_code() -> None:
    assert vectors.FILE.read_bytes() == vectors.written(), "run python -m tests.proof.vectors"


def test_the_worked_example_is_that_of_the_code() -> None:
    page = vectors.PAGE.read_text("utf-8")
    block = re.search(r"```\nentry\n([0-9a-f\n]+)leaf hash\n([0-9a-f\n]+)```", page)
    entry = vectors.worked_example().to_bytes()

    assert block is not None
    assert block[1].replace("\n", "") == entry.hex()
    assert block[2].replace("\n", "") == leaf_hash(entry).hex()
    assert f"It has at most {MOST_BYTES:,}." in page
    assert f"at most {LONGEST_TEXT:,} bytes" in page


def test_the_stranger_imports_nothing_of_ours() -> None:
    tree = ast.parse(Path(stranger.__file__).read_text("utf-8"))
    imported = {
        name.partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names])
    }

    assert imported == {"base64", "hashlib", "datetime", "json", "pathlib", "typing"}


@pytest.mark.parametrize("event", VECTORS["entries"], ids=lambda event: event["type"])
def test_the_stranger_computes_the_same_entries_and_leaves(event: dict[str, Any]) -> None:
    assert stranger.entry(event).hex() == event["entry"]
    assert stranger.leaf(stranger.entry(event)).hex() == event["leaf"]


@pytest.mark.parametrize("size", TREE["roots"])
def test_the_stranger_computes_the_same_roots(size: str) -> None:
    assert stranger.root(LEAVES[: int(size)]).hex() == TREE["roots"][size]


@pytest.mark.parametrize("case", TREE["inclusion"], ids=lambda case: f"{case['index']} in {case['size']}")
def test_the_stranger_accepts_the_inclusion_proofs(case: dict[str, Any]) -> None:
    proof = [bytes.fromhex(part) for part in case["proof"]]

    assert stranger.root_from_inclusion(LEAVES[case["index"]], case["index"], case["size"], proof) == stranger.root(
        LEAVES[: case["size"]]
    )


@pytest.mark.parametrize("case", TREE["consistency"], ids=lambda case: f"{case['oldSize']} in {case['size']}")
def test_the_stranger_accepts_the_consistency_proofs(case: dict[str, Any]) -> None:
    proof = [bytes.fromhex(part) for part in case["proof"]]
    old, new = stranger.root(LEAVES[: case["oldSize"]]), stranger.root(LEAVES[: case["size"]])

    assert stranger.roots_from_consistency(case["oldSize"], case["size"], proof, old) == (old, new)


def test_the_stranger_verifies_the_checkpoint_and_the_redaction() -> None:
    verifier = VECTORS["key"]["verifier"]

    checkpoint = stranger.verified_text(VECTORS["checkpoint"], verifier)
    redaction = stranger.verified_text(VECTORS["redaction"], verifier)

    origin, size, root = checkpoint.splitlines()
    assert (origin, size, base64.b64decode(root)) == (verifier.split("+")[0], "600", stranger.root(LEAVES))
    assert redaction.splitlines()[:3] == ["rireki redaction v1", origin, "1"]
    assert read_redaction(redaction).position == 1


def test_the_strangers_key_is_ours() -> None:
    secret = bytes.fromhex(VECTORS["key"]["secret"])
    private = base64.b64decode(VECTORS["key"]["signer"].split("+", 4)[4])

    assert private == b"\x01" + secret
    assert base64.b64decode(VECTORS["key"]["verifier"].split("+", 2)[2]) == b"\x01" + stranger.public_key_of(secret)


@settings(deadline=None, max_examples=20)
@given(st.binary(min_size=32, max_size=32), st.text("abc\n", max_size=20))
def test_the_stranger_verifies_what_any_key_of_ours_signs(secret: bytes, text: str) -> None:
    signer = Signer("rireki/x", secret)
    note = sign(f"first\n{text}x\n", [signer]).to_bytes().decode()

    assert stranger.verified_text(note, str(signer.verifier)) == open_note(note.encode(), [signer.verifier])
    forged = note.replace("first", "other")
    with pytest.raises(AssertionError):
        stranger.verified_text(forged, str(signer.verifier))
    assert read_note(forged.encode()).text.startswith("other")


@given(st.integers(0, 2**40), st.integers(1, 256))
def test_the_stranger_names_tiles_as_we_do(number: int, width: int) -> None:
    assert stranger.tile_path("0", number, width) == tiles.Tile(0, number, width).path
    assert stranger.tile_path("entries", number, width) == tiles.Tile(tiles.ENTRIES, number, width).path


@given(st.lists(st.binary(max_size=300), max_size=10))
def test_the_stranger_reads_our_bundles(entries: list[bytes]) -> None:
    assert stranger.bundle_entries(tiles.bundle(entries)) == entries
