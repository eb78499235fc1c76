"""The tree, its proofs and their checks agree with the recursive definitions of RFC 9162."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from projections.proof.merkle import (
    EMPTY_ROOT,
    Span,
    Subtree,
    consistency_proof,
    inclusion_proof,
    is_consistent,
    is_included,
    leaf_hash,
    perfect_subtrees,
    root_of,
    span_hash,
)
from tests.proof.trees import entries_of, mth, path, proof

sizes = st.integers(0, 300)


def hash_of(entries: list[bytes]) -> Callable[[Subtree], bytes]:
    """Returns a function that hashes the perfect subtrees of these entries.

    The function refuses a subtree that has leaves beyond the entries.
    """

    def answer(subtree: Subtree) -> bytes:
        first, last = subtree.number << subtree.height, (subtree.number + 1) << subtree.height
        assert last <= len(entries)
        return mth(entries[first:last])

    return answer


@settings(deadline=None)
@given(sizes)
def test_the_root_is_that_of_the_definition(size: int) -> None:
    entries = entries_of(size)

    assert root_of([leaf_hash(entry) for entry in entries]) == mth(entries)
    assert span_hash(Span(0, size), hash_of(entries)) == mth(entries)


@settings(deadline=None)
@given(st.data(), st.integers(1, 300))
def test_an_inclusion_proof_is_that_of_the_definition_and_is_accepted(data: st.DataObject, size: int) -> None:
    entries = entries_of(size)
    index = data.draw(st.integers(0, size - 1))

    found = inclusion_proof(index, size, hash_of(entries))

    assert found == path(index, entries)
    assert is_included(leaf_hash(entries[index]), index, size, found, mth(entries))


@settings(deadline=None)
@given(st.data(), sizes)
def test_a_consistency_proof_is_that_of_the_definition_and_is_accepted(data: st.DataObject, size: int) -> None:
    entries = entries_of(size)
    old_size = data.draw(st.integers(0, size))

    found = consistency_proof(old_size, size, hash_of(entries))

    assert found == proof(old_size, entries)
    assert is_consistent(old_size, mth(entries[:old_size]), size, mth(entries), found)


def test_every_proof_of_every_small_tree_is_accepted() -> None:
    for size in range(1, 40):
        entries = entries_of(size)
        root = mth(entries)
        for number in range(size):
            assert is_included(leaf_hash(entries[number]), number, size, path(number, entries), root)
            assert is_consistent(number, mth(entries[:number]), size, root, proof(number, entries))


def one_change(data: st.DataObject, hashes: list[bytes]) -> list[bytes]:
    """Returns the hashes of a proof with one of them changed, left out or added."""
    changed = list(hashes)
    place = data.draw(st.integers(0, len(hashes)))
    kinds = ["add"] if place == len(hashes) else ["add", "leave out", "change"]
    match data.draw(st.sampled_from(kinds)):
        case "add":
            changed.insert(place, data.draw(st.sampled_from([bytes(32), leaf_hash(b"x"), *hashes])))
        case "leave out":
            del changed[place]
        case _:
            bit = data.draw(st.integers(0, 255))
            changed[place] = (int.from_bytes(changed[place], "big") ^ 1 << bit).to_bytes(32, "big")
    return changed


@settings(deadline=None)
@given(st.data(), st.integers(1, 300))
def test_an_inclusion_proof_with_one_change_is_refused(data: st.DataObject, size: int) -> None:
    entries = entries_of(size)
    index = data.draw(st.integers(0, size - 1))
    root, found = mth(entries), path(index, entries)
    other = data.draw(st.integers(0, size).filter(lambda number: number != index))

    assert not is_included(leaf_hash(b"another entry"), index, size, found, root)
    assert not is_included(leaf_hash(entries[index]), other, size, found, root)
    assert not is_included(leaf_hash(entries[index]), index, size, found, leaf_hash(b"another root"))
    assert not is_included(leaf_hash(entries[index]), index, size, one_change(data, found), root)


@settings(deadline=None)
@given(st.data(), st.integers(2, 300))
def test_a_consistency_proof_with_one_change_is_refused(data: st.DataObject, size: int) -> None:
    entries = entries_of(size)
    old_size = data.draw(st.integers(1, size))
    old_root, root, found = mth(entries[:old_size]), mth(entries), proof(old_size, entries)

    assert not is_consistent(old_size, leaf_hash(b"another root"), size, root, found)
    assert not is_consistent(old_size, old_root, size, leaf_hash(b"another root"), found)
    assert not is_consistent(old_size, old_root, size, root, one_change(data, found))


@settings(deadline=None)
@given(st.data(), st.integers(2, 200))
def test_two_histories_are_never_consistent(data: st.DataObject, size: int) -> None:
    entries = entries_of(size)
    old_size = data.draw(st.integers(1, size - 1))
    changed = data.draw(st.integers(0, old_size - 1))
    other = [*entries[:changed], b"another entry", *entries[changed + 1 :]]

    for found in (proof(old_size, entries), proof(old_size, other)):
        assert not is_consistent(old_size, mth(entries[:old_size]), size, mth(other), found)


@pytest.mark.parametrize(
    ("index", "size"), [(0, 0), (1, 1), (-1, 5), (5, 5), (2**63, 2**62)], ids=["empty", "one", "negative", "end", "far"]
)
def test_a_leaf_that_the_tree_does_not_have_is_refused(index: int, size: int) -> None:
    with pytest.raises(ValueError, match=f"has no leaf {index}"):
        inclusion_proof(index, size, hash_of([]))

    assert not is_included(bytes(32), index, size, [], bytes(32))


def test_a_tree_does_not_begin_with_a_larger_one() -> None:
    with pytest.raises(ValueError, match="cannot begin with a tree of 6 leaves"):
        consistency_proof(6, 5, hash_of([]))

    assert not is_consistent(6, bytes(32), 5, bytes(32), [])
    assert not is_consistent(-1, bytes(32), 5, bytes(32), [])


def test_proofs_of_hostile_length_or_width_are_refused() -> None:
    leaf = leaf_hash(b"entry 0")

    assert not is_included(leaf, 0, 2**62, [bytes(32)] * 65, bytes(32))
    assert not is_included(leaf, 0, 2, [b"short"], bytes(32))
    assert not is_consistent(3, bytes(32), 2**62, bytes(32), [bytes(32)] * 65)
    assert not is_consistent(3, bytes(32), 4, bytes(32), [])


def test_an_empty_tree_is_the_beginning_of_every_tree() -> None:
    assert is_consistent(0, EMPTY_ROOT, 5, mth(entries_of(5)), [])
    assert not is_consistent(0, bytes(32), 5, mth(entries_of(5)), [])
    assert not is_consistent(0, EMPTY_ROOT, 5, mth(entries_of(5)), [bytes(32)])


@settings(deadline=None)
@given(st.integers(0, 2**40), st.integers(0, 2**40))
def test_perfect_subtrees_cover_a_span_exactly(start: int, length: int) -> None:
    at = start
    for subtree in perfect_subtrees(Span(start, start + length)):
        assert at == subtree.number << subtree.height
        at += 1 << subtree.height

    assert at == start + length
