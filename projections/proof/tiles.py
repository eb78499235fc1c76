"""Paths and contents of tiles and entry bundles, as C2SP tlog-tiles defines them.

A tile of level 0 holds 256 leaf hashes. A tile of each level above holds the hashes of 256 full tiles of the level below.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from projections.proof.merkle import HASH_BYTES, Subtree, leaf_hash, root_of

WIDTH = 256
HEIGHT = 8  # a full tile of level 0 is a perfect subtree with 2^8 leaves
HIGHEST_LEVEL = 7  # a log holds less than 2^63 entries, and a tile of level 7 spans 2^64
LONGEST_ENTRY = 65_535  # bytes
MOST_TILES = 2**63

PATH = re.compile(r"tile/(0|[1-9][0-9]?|entries)/((?:x[0-9]{3}/)*[0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?", re.ASCII)

ENTRIES = -1
"""The level that stands for entry bundles in a `Tile`."""


class Tile(NamedTuple):
    """A tile, or an entry bundle if `level` is `ENTRIES`.

    It is partial if `width` is below 256.
    """

    level: int
    number: int
    width: int = WIDTH

    @property
    def path(self) -> str:
        """The path below the log's prefix, such as `tile/0/x001/x234/067.p/8`."""
        digits = f"{self.number:03d}"
        digits = digits.zfill(-(-len(digits) // 3) * 3)
        parts = [digits[at : at + 3] for at in range(0, len(digits), 3)]
        named = "/".join([*(f"x{part}" for part in parts[:-1]), parts[-1]])
        level = "entries" if self.level == ENTRIES else str(self.level)
        return f"tile/{level}/{named}" + ("" if self.width == WIDTH else f".p/{self.width}")


ReadTile = Callable[[Tile], bytes]
"""Returns the contents of a tile. Callers ask only for tiles that a log of this size has."""


class BadBundle(ValueError):
    """The bytes are not an entry bundle of the expected number of entries."""


def tile_at(path: str) -> Tile | None:
    """Returns the tile that a path names, or None if no tile has this path."""
    found = PATH.fullmatch(path) if len(path) <= 60 else None
    if found is None:
        return None
    level, number, width = found.groups()
    tile = Tile(
        ENTRIES if level == "entries" else int(level),
        int(number.replace("x", "").replace("/", "")),
        WIDTH if width is None else int(width),
    )
    # The path must be the only one of this tile: with no leading `x000`, and with no width of 256.
    known = tile.level <= HIGHEST_LEVEL and tile.number < MOST_TILES and tile.width <= WIDTH
    return tile if known and tile.path == path else None


def tiles_of(size: int) -> Iterator[Tile]:
    """Yields all tiles of a tree of this size, level by level, without entry bundles."""
    level = 0
    while size:
        yield from (Tile(level, number) for number in range(size // WIDTH))
        if size % WIDTH:
            yield Tile(level, size // WIDTH, size % WIDTH)
        level, size = level + 1, size // WIDTH


def bundles_of(size: int) -> Iterator[Tile]:
    """Yields all entry bundles of a tree of this size."""
    return (Tile(ENTRIES, tile.number, tile.width) for tile in tiles_of(size) if tile.level == 0)


def tile_with(level: int, number: int, size: int) -> Tile:
    """Returns the tile of a tree of this size, with the width that it has in that tree.

    Raises `ValueError` if the tree has no such tile.
    """
    width = min(WIDTH, (size >> (HEIGHT * level)) - number * WIDTH)
    if width < 1:
        raise ValueError(f"A tree of {size} leaves has no tile {number} of level {level}.")
    return Tile(level, number, width)


def tile_of(subtree: Subtree, size: int) -> Tile:
    """Returns the tile that holds the hashes of a perfect subtree, in a tree of this size.

    Raises `ValueError` if the tree has no such subtree.
    """
    level, above = divmod(subtree.height, HEIGHT)
    return tile_with(level, (subtree.number << above) // WIDTH, size)


def subtree_hash(subtree: Subtree, size: int, read: ReadTile) -> bytes:
    """Returns the hash of a perfect subtree of a tree of this size.

    It reads the one tile that holds this hash.
    """
    above = subtree.height % HEIGHT
    offset = (subtree.number << above) % WIDTH
    contents = read(tile_of(subtree, size))
    return root_of(hashes_in(contents[offset * HASH_BYTES : (offset + (1 << above)) * HASH_BYTES]))


def hashes_in(contents: bytes) -> list[bytes]:
    return [contents[at : at + HASH_BYTES] for at in range(0, len(contents), HASH_BYTES)]


def bundle(entries: Sequence[bytes]) -> bytes:
    """Returns the contents of an entry bundle.

    Raises `ValueError` if an entry is too long.
    """
    for entry in entries:
        if len(entry) > LONGEST_ENTRY:
            raise ValueError(f"An entry has at most {LONGEST_ENTRY} bytes; this one has {len(entry)}.")
    return b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries)


def entries_in(contents: bytes, width: int) -> list[bytes]:
    """Returns the entries in an entry bundle of `width` entries. Raises `BadBundle`."""
    entries: list[bytes] = []
    at = 0
    for _ in range(width):
        length = int.from_bytes(contents[at : at + 2], "big")
        end = at + 2 + length
        if at + 2 > len(contents) or end > len(contents):
            raise BadBundle(f"The bundle ends within entry {len(entries) + 1} of {width}.")
        entries.append(contents[at + 2 : end])
        at = end
    if at != len(contents):
        raise BadBundle(f"The bundle has {len(contents) - at} bytes after its {width} entries.")
    return entries


def leaves_of(contents: bytes, width: int) -> bytes:
    """Returns the tile of level 0 that belongs to an entry bundle. Raises `BadBundle`."""
    return b"".join(map(leaf_hash, entries_in(contents, width)))
