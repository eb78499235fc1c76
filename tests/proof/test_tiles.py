"""Tiles and entry bundles have the paths and the contents of C2SP tlog-tiles."""

import functools
import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from projections.proof.merkle import HASH_BYTES, Span, Subtree, consistency_proof, inclusion_proof, leaf_hash, span_hash
from projections.proof.tiles import (
    ENTRIES,
    BadBundle,
    Tile,
    bundle,
    bundles_of,
    entries_in,
    leaves_of,
    subtree_hash,
    tile_at,
    tile_with,
    tiles_of,
)
from tests.proof.trees import entries_of, path, proof

SIZE = 70_000
LEAVES = [leaf_hash(entry) for entry in entries_of(SIZE)]


@functools.cache
def tile_contents(tile: Tile) -> bytes:
    """Computes a tile of the tree of `entries_of(SIZE)` from the definition."""
    if tile.level == 0:
        return b"".join(LEAVES[tile.number * 256 : tile.number * 256 + tile.width])
    below = (Tile(tile.level - 1, tile.number * 256 + number) for number in range(tile.width))
    return b"".join(root_of_full(tile_contents(full)) for full in below)


def root_of_full(contents: bytes) -> bytes:
    hashes = [contents[at : at + HASH_BYTES] for at in range(0, len(contents), HASH_BYTES)]
    while len(hashes) > 1:
        hashes = [mth_of(hashes[at], hashes[at + 1]) for at in range(0, len(hashes), 2)]
    return hashes[0]


def mth_of(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


PATHS = {
    Tile(0, 0): "tile/0/000",
    Tile(0, 273, 112): "tile/0/273.p/112",
    Tile(2, 0, 1): "tile/2/000.p/1",
    Tile(7, 999): "tile/7/999",
    Tile(0, 1_000): "tile/0/x001/000",
    Tile(0, 1_234_067, 8): "tile/0/x001/x234/067.p/8",
    Tile(ENTRIES, 1_234_067): "tile/entries/x001/x234/067",
    Tile(ENTRIES, 5, 255): "tile/entries/005.p/255",
}


@pytest.mark.parametrize("tile", PATHS)
def test_a_tile_has_its_path(tile: Tile) -> None:
    assert tile.path == PATHS[tile]
    assert tile_at(PATHS[tile]) == tile


@given(st.integers(-1, 7), st.integers(0, 2**63 - 1), st.integers(1, 256))
def test_every_tile_is_found_by_its_path(level: int, index: int, width: int) -> None:
    assert tile_at(Tile(level, index, width).path) == Tile(level, index, width)


@pytest.mark.parametrize(
    "text",
    [
        "tile/0/0", "tile/0/00", "tile/0/0000", "tile/0/1000", "tile/0/x000/001", "tile/0/x001/x001", "tile/0/001/002",
        "tile/00/000", "tile/8/000", "tile/64/000", "tile/-1/000", "tile/+1/000", "tile/0/000.p/0", "tile/0/000.p/01",
        "tile/0/000.p/256", "tile/0/000.p/", "tile/0/000.p/999", "tile/0/-01", "tile/0/٠٠٠", "tile/entries/", "tile/data/000",
        "/tile/0/000", "tile/0/000/", "tile/0/000\n", "tile/0/../000", "", "checkpoint", "tile/0/" + "x001/" * 30 + "001",
    ],
)  # fmt: skip
def test_a_path_of_no_tile_names_none(text: str) -> None:
    assert tile_at(text) is None


def test_a_tree_of_seventy_thousand_leaves_has_the_tiles_of_the_specification() -> None:
    tiles = list(tiles_of(SIZE))

    assert sum(tile.level == 0 and tile.width == 256 for tile in tiles) == 273
    assert [tile for tile in tiles if tile.level or tile.width != 256] == [
        Tile(0, 273, 112), Tile(1, 0), Tile(1, 1, 17), Tile(2, 0, 1),
    ]  # fmt: skip
    assert list(tiles_of(256)) == [Tile(0, 0), Tile(1, 0, 1)]
    assert list(tiles_of(0)) == []
    assert [entry_bundle.width for entry_bundle in bundles_of(SIZE)] == [256] * 273 + [112]


@settings(deadline=None, max_examples=15)
@given(st.integers(1, SIZE))
def test_the_tiles_of_a_tree_give_its_root(size: int) -> None:
    def of_this_tree(tile: Tile) -> bytes:
        assert tile in required
        return tile_contents(tile)

    required = set(tiles_of(size))

    root = span_hash(Span(0, size), lambda subtree: subtree_hash(subtree, size, of_this_tree))

    assert root == mth_of_leaves(size)


def mth_of_leaves(size: int) -> bytes:
    level = LEAVES[:size]
    while len(level) > 1:
        odd = level[-1:] if len(level) % 2 else []
        level = [mth_of(level[at], level[at + 1]) for at in range(0, len(level) - 1, 2)] + odd
    return level[0]


@pytest.mark.parametrize(("index", "size"), [(0, 1), (0, 257), (700, 1_000), (65_535, 65_537), (69_999, SIZE)])
def test_proofs_are_made_from_tiles_alone(index: int, size: int) -> None:
    entries = entries_of(size)

    def hash_of(subtree: Subtree) -> bytes:
        return subtree_hash(subtree, size, tile_contents)

    assert inclusion_proof(index, size, hash_of) == path(index, entries)
    assert consistency_proof(index + 1, size, hash_of) == proof(index + 1, entries)


def test_a_tile_beyond_the_tree_is_refused() -> None:
    assert tile_with(0, 1, 300) == Tile(0, 1, 44)
    for level, index in ((0, 2), (1, 1), (2, 0)):
        with pytest.raises(ValueError, match="A tree of 300 leaves has no tile"):
            tile_with(level, index, 300)


@given(st.lists(st.binary(max_size=300), max_size=20))
def test_a_bundle_gives_its_entries_back(entries: list[bytes]) -> None:
    contents = bundle(entries)

    assert entries_in(contents, len(entries)) == entries
    assert leaves_of(contents, len(entries)) == b"".join(map(leaf_hash, entries))


def test_a_bundle_has_big_endian_lengths() -> None:
    assert bundle([b"", b"ab", b"c" * 258]) == b"\x00\x00" + b"\x00\x02ab" + b"\x01\x02" + b"c" * 258


@given(st.lists(st.binary(max_size=30), min_size=1, max_size=5), st.data())
def test_a_bundle_that_is_cut_or_prolonged_is_refused(entries: list[bytes], data: st.DataObject) -> None:
    contents = bundle(entries)
    cut = data.draw(st.integers(0, len(contents) - 1))

    for wrong in (contents[:cut], contents + b"\x00", contents + contents):
        with pytest.raises(BadBundle):
            entries_in(wrong, len(entries))


def test_an_entry_that_no_bundle_can_hold_is_refused() -> None:
    assert len(bundle([bytes(65_535)])) == 65_537
    with pytest.raises(ValueError, match="An entry has at most 65535 bytes; this one has 65536"):
        bundle([bytes(65_536)])
