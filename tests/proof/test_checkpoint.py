"""Checkpoints and redactions are texts of a fixed form, and no text is both."""

import base64
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from projections.proof.checkpoint import BadCheckpoint, Checkpoint, read_checkpoint
from projections.proof.redaction import BadRedaction, Redaction, read_redaction

ROOT = base64.b64encode(bytes(range(32))).decode()
lines = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=30)
hashes = st.binary(min_size=32, max_size=32)
times = st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))


@given(st.builds(Checkpoint, lines, st.integers(0, 2**63 - 1), hashes, st.tuples() | st.tuples(lines, lines)))
def test_a_checkpoint_survives_its_text(checkpoint: Checkpoint) -> None:
    assert read_checkpoint(checkpoint.to_text()) == checkpoint


def test_a_checkpoint_has_origin_size_and_root_in_this_order() -> None:
    assert Checkpoint("rireki/1", 42, bytes(range(32)), ("one",)).to_text() == f"rireki/1\n42\n{ROOT}\none\n"


@pytest.mark.parametrize(
    "text",
    [
        "", "\n", "a\n1\n", f"a\n1\n{ROOT}", f"\n1\n{ROOT}\n", f"a\n01\n{ROOT}\n", f"a\n-1\n{ROOT}\n", f"a\n+1\n{ROOT}\n",
        f"a\n1_0\n{ROOT}\n", f"a\n٣\n{ROOT}\n", f"a\n{2**63}\n{ROOT}\n", f"a\n{'9' * 5000}\n{ROOT}\n", f"a\n\n{ROOT}\n",
        f"a\n1\n{ROOT[:-1]}\n", f"a\n1\n{ROOT} \n", f"a\n1\n{base64.b64encode(bytes(31)).decode()}\n",
        f"a\n1\n{base64.b64encode(bytes(33)).decode()}\n", f"a\n1\n{ROOT[:-2]}9=\n", f"a\n1\n{ROOT}\n\n", f"a\n1\n{ROOT}\nb",
        f"a\n1\n{ROOT}\n\nb\n",
        f"a\n1\n{ROOT}\n" + "b\n" * 17,
    ],
)  # fmt: skip
def test_a_text_that_is_no_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(BadCheckpoint):
        read_checkpoint(text)


redactions = st.builds(
    Redaction, st.just("rireki/1"), st.integers(1, 2**62), hashes, hashes, st.just("user:0199") | st.just("system:audit"), times
)


@given(redactions)
def test_a_redaction_survives_its_text_and_is_no_checkpoint(redaction: Redaction) -> None:
    assert read_redaction(redaction.to_text()) == redaction
    with pytest.raises(BadCheckpoint):
        read_checkpoint(redaction.to_text())


GOOD = Redaction("rireki/1", 7, bytes(32), bytes(32), "user:1", datetime(2026, 11, 30, 9, tzinfo=UTC)).to_text()


@pytest.mark.parametrize(
    ("was", "becomes"),
    [
        ("v1", "v2"), ("\n7\n", "\n07\n"), ("\n7\n", "\n0\n"), ("\n7\n", "\n-7\n"), ("rireki/1", ""), ("rireki/1", "a b"),
        ("user:1", ""), ("AA=", "AB="), ("AA=", "A=="), (".000000Z", "Z"), ("2026-11-30", "2026-11-31"), ("Z\n", "Z"),
        ("Z\n", "Z\nmore\n"), ("Z\n", "Z\nmore"), (GOOD, ""), (GOOD, f"rireki/1\n1\n{ROOT}\n"),
    ],
)  # fmt: skip
def test_a_text_that_is_no_redaction_is_refused(was: str, becomes: str) -> None:
    assert was in GOOD
    with pytest.raises(BadRedaction):
        read_redaction(GOOD.replace(was, becomes))
