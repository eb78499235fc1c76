"""The Merkle tree of RFC 9162 over SHA-256: root, inclusion and consistency proofs.

Section 2.1 of the RFC defines them.

A proof is made from the hashes of perfect subtrees. A perfect subtree covers 2^height leaves, beginning at a multiple of
2^height, and its hash never changes once these leaves exist. So a proof needs only a function that returns such hashes, and
never the whole tree.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

HASH_BYTES = 32
LONGEST_PROOF = 64  # hashes; a proof in a tree of 2^63 leaves has 63
EMPTY_ROOT = hashlib.sha256().digest()


class Subtree(NamedTuple):
    """A perfect subtree, with `2**height` leaves.

    Its leaves run from `number * 2**height` (inclusive) to `(number + 1) * 2**height` (exclusive).
    """

    height: int
    number: int


class Span(NamedTuple):
    """The leaves from `start` (inclusive) to `end` (exclusive)."""

    start: int
    end: int


HashOf = Callable[[Subtree], bytes]
"""Returns the hash of a perfect subtree."""


def leaf_hash(entry: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def root_of(leaves: Sequence[bytes]) -> bytes:
    """Returns the root of the tree with these leaf hashes."""
    if not leaves:
        return EMPTY_ROOT
    level = list(leaves)
    while len(level) > 1:
        odd = level[-1:] if len(level) % 2 else []
        # A node without a sibling moves up unchanged, which gives the same tree as RFC 9162's recursive definition.
        level = [node_hash(level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)] + odd
    return level[0]


def perfect_subtrees(span: Span) -> Iterator[Subtree]:
    """Yields the fewest perfect subtrees that cover a span, from left to right."""
    start, end = span
    while start < end:
        aligned = (start & -start).bit_length() - 1 if start else 64
        height = min(aligned, (end - start).bit_length() - 1)
        yield Subtree(height, start >> height)
        start += 1 << height


def span_hash(span: Span, hash_of: HashOf) -> bytes:
    """Returns the hash of the tree over a span.

    The span must be the whole tree, or a span that `inclusion_spans` or `consistency_spans` returns.

    In these spans the perfect subtrees become smaller from left to right, as RFC 9162 splits a tree.
    """
    hashes = [hash_of(subtree) for subtree in perfect_subtrees(span)]
    if not hashes:
        return EMPTY_ROOT
    root = hashes.pop()
    while hashes:
        root = node_hash(hashes.pop(), root)
    return root


def inclusion_proof(index: int, size: int, hash_of: HashOf) -> list[bytes]:
    """Returns the proof that the tree of `size` leaves has the leaf `index`.

    The first leaf has the index 0.

    Raises `ValueError` if the tree has no such leaf.
    """
    return [span_hash(span, hash_of) for span in inclusion_spans(index, size)]


def consistency_proof(old_size: int, size: int, hash_of: HashOf) -> list[bytes]:
    """Returns the proof that a tree begins with an older tree of `old_size` leaves.

    The newer tree has `size` leaves.

    The proof is empty if the sizes are equal, or if the old tree is empty. Raises `ValueError` if the old tree is larger.
    """
    return [span_hash(span, hash_of) for span in consistency_spans(old_size, size)]


def inclusion_spans(index: int, size: int) -> list[Span]:
    """Returns the spans whose hashes are an inclusion proof.

    This is PATH of RFC 9162 section 2.1.3.1.

    Raises `ValueError` if the tree has no such leaf.
    """
    if not 0 <= index < size:
        raise ValueError(f"The tree has {size} leaves, so it has no leaf {index}.")
    start, end = 0, size
    spans = []
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            spans.append(Span(middle, end))
            end = middle
        else:
            spans.append(Span(start, middle))
            start = middle
    return spans[::-1]


def consistency_spans(old_size: int, size: int) -> list[Span]:
    """Returns the spans whose hashes are a consistency proof.

    This is PROOF of RFC 9162 section 2.1.4.1.

    Raises `ValueError` if the old tree is larger.
    """
    if not 0 <= old_size <= size:
        raise ValueError(f"A tree of {size} leaves cannot begin with a tree of {old_size} leaves.")
    if old_size in (0, size):
        return []
    start, end = 0, size
    spans = []
    while old_size != end:
        middle = start + _split(end - start)
        if old_size <= middle:
            spans.append(Span(middle, end))
            end = middle
        else:
            spans.append(Span(start, middle))
            start = middle
    # The verifier knows the old root. So a span that is the whole old tree needs no hash.
    own = [] if start == 0 else [Span(start, end)]
    return [*own, *spans[::-1]]


def is_included(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> bool:
    """Checks an inclusion proof, as RFC 9162 section 2.1.3.2 describes it.

    `leaf` is a leaf hash.
    """
    if not 0 <= index < size or not _is_proof(proof):
        return False
    node, last, found = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            return False
        if node & 1 or node == last:
            found = node_hash(sibling, found)
            while node and not node & 1:
                node, last = node >> 1, last >> 1
        else:
            found = node_hash(found, sibling)
        node, last = node >> 1, last >> 1
    return last == 0 and found == root


def is_consistent(old_size: int, old_root: bytes, size: int, root: bytes, proof: Sequence[bytes]) -> bool:
    """Checks a consistency proof, as RFC 9162 section 2.1.4.2 describes it.

    An empty old tree is consistent with every tree.
    """
    if not 0 <= old_size <= size or not _is_proof(proof):
        return False
    if old_size == 0:
        return not proof and old_root == EMPTY_ROOT
    if old_size == size:
        return not proof and old_root == root
    path = [old_root, *proof] if old_size & (old_size - 1) == 0 else list(proof)
    if not path:
        return False
    node, last = old_size - 1, size - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    old = new = path[0]
    for sibling in path[1:]:
        if last == 0:
            return False
        if node & 1 or node == last:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            while node and not node & 1:
                node, last = node >> 1, last >> 1
        else:
            new = node_hash(new, sibling)
        node, last = node >> 1, last >> 1
    return last == 0 and old == old_root and new == root


def _split(size: int) -> int:
    """Returns the largest power of two that is smaller than `size`."""
    return 1 << ((size - 1).bit_length() - 1)


def _is_proof(proof: Sequence[bytes]) -> bool:
    return len(proof) <= LONGEST_PROOF and all(len(sibling) == HASH_BYTES for sibling in proof)
