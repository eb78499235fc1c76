"""Tests of the check of everything that was signed."""

from projections.proof.checkpoint import Checkpoint
from projections.proof.merkle import EMPTY_ROOT, leaf_hash, root_of
from tests.chaos.signing import forked, roots_of

ENTRIES = [b"entry %d" % number for number in range(300)]


def checkpoint(size: int, entries: list[bytes] = ENTRIES) -> Checkpoint:
    return Checkpoint("log", size, root_of([leaf_hash(entry) for entry in entries[:size]]))


def test_the_roots_of_all_sizes_are_those_of_the_tree() -> None:
    roots = roots_of(ENTRIES, set(range(301)))

    assert roots == {0: EMPTY_ROOT} | {size: checkpoint(size).root for size in range(1, 301)}


def test_checkpoints_that_the_log_extends_are_no_violation() -> None:
    assert list(forked([checkpoint(size) for size in (0, 1, 7, 7, 256, 300)], ENTRIES)) == []


def test_a_fork_and_a_log_that_was_cut_are_violations_of_invariant_10() -> None:
    other = [*ENTRIES[:20], b"other", *ENTRIES[21:]]

    found = list(forked([checkpoint(7), checkpoint(30, other), checkpoint(300)], ENTRIES[:299]))

    assert [violation.invariant for violation in found] == [10, 10]
    assert "size 30" in found[0].detail
    assert "size 300" in found[1].detail
