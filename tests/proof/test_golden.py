"""Evidence survives an upgrade: exported logs and proofs of every released format are verified in every run."""

from pathlib import Path

import pytest

from projections.export_lines import read_line
from projections.proof.signed_note import read_verifier
from projections.verify_export import verify_export
from projections.verify_proof import verify_proof
from tests.proof import stranger

FOLDERS = sorted(path for path in (Path(__file__).parent / "golden").iterdir() if path.name.startswith("format-"))
KINDS = {"queued", "started", "progress", "completed", "failed", "canceled"}


def test_there_is_a_golden_log() -> None:
    assert FOLDERS


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_golden_log_is_verified(folder: Path) -> None:
    verified = verify_export(folder / "log", [read_verifier((folder / "key").read_text().strip())])

    assert [finding.name for finding in verified.findings] == ["REDACTED"]
    assert verified.checkpoint is not None
    assert verified.events == verified.checkpoint.size > 256


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_golden_log_has_every_kind_of_event(folder: Path) -> None:
    lines = (folder / "log" / "events.ndjson").read_bytes().splitlines()

    assert {read_line(line).entry.type for line in lines} == KINDS


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_the_second_implementation_verifies_a_golden_log(folder: Path) -> None:
    assert stranger.verified_directory(folder / "log", (folder / "key").read_text().strip()) > 256


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_golden_proof_is_verified(folder: Path) -> None:
    key, proof = (folder / "key").read_text().strip(), (folder / "event.tlog-proof").read_bytes()

    proved = verify_proof(proof, [read_verifier(key)])

    assert (proved.entry.seq, proved.entry.type) == (3, "failed")
    assert proved.data is not None
    assert stranger.event_of_proof(proof.decode(), key)[2] == proved.data
