"""The Merkle tree of the log, read from the tiles in the database.

It gives tiles, roots and proofs of any size.

The tables hold all hashes of full tiles. A partial tile is computed when it is asked for. At level 0 it is read from
`log_tail`, or is the beginning of a full tile. At the levels above it holds the roots of the tiles below.

What always holds:

1. Each function reads in one SQL statement, so all hashes are of one snapshot. The sealer may run at the same time.
2. A tile never changes, so the tree of a size is the same in every later snapshot.
3. Only hashes are computed here, and no leaf is checked: `rireki audit verify` compares the leaves with the events.
"""

from collections.abc import Iterable, Mapping, Sequence

from events.database import Connection
from projections.proof.merkle import HASH_BYTES, Span, Subtree, consistency_spans, inclusion_spans, perfect_subtrees, span_hash
from projections.proof.tiles import HEIGHT, WIDTH, Tile, subtree_hash, tile_of

# Reads the sealed size, the number of events before the first gap in the tree, and the hashes of each tile that is asked for.
READ = f"""
select c.position as sealed, case when c.tiled < c.rows_to then c.tiled else c.position end as size, array(
    select case
        when a.level = 0 then coalesce(
            (select substr(t.leaves, 1, a.width * {HASH_BYTES}) from log_tiles t where t.tile = a.number),
            (
                select string_agg(l.leaf, ''::bytea order by l.position) from log_tail l
                where l.position > a.number * {WIDTH} and l.position <= a.number * {WIDTH} + a.width
            )
        )
        else coalesce(
            (select substr(u.hashes, 1, a.width * {HASH_BYTES}) from log_upper_tiles u
             where u.level = a.level and u.tile = a.number),
            case when a.level = 1 then (
                select string_agg(t.root, ''::bytea order by t.tile) from log_tiles t
                where t.tile >= a.number * {WIDTH} and t.tile < a.number * {WIDTH} + a.width
            ) else (
                select string_agg(u.root, ''::bytea order by u.tile) from log_upper_tiles u
                where u.level = a.level - 1 and u.tile >= a.number * {WIDTH} and u.tile < a.number * {WIDTH} + a.width
            ) end
        )
    end
    from unnest($1::integer[], $2::bigint[], $3::integer[]) with ordinality as a(level, number, width, ordinal)
    order by a.ordinal
) as contents
from job_event_log_cursor c
"""


MOST_EVENTS = 2**62
"""The most events of a log. A larger size would overflow the integers of the query."""


class TreeUnfinished(RuntimeError):
    """The sealer still copies positions of an older version into tiles, so the tree has a gap.

    `size` is the number of events before the gap.
    """

    def __init__(self, size: int) -> None:
        super().__init__(
            f"the tree has only the first {size} events so far, because positions of an older version are being copied: try again"
            " later"
        )
        self.size = size


class NotSealed(ValueError):
    """The log has fewer events with a position than the size that was asked for."""

    def __init__(self, asked: int, sealed: int) -> None:
        super().__init__(f"the log has {sealed} sealed events, so it has no tree of {asked}")
        self.sealed = sealed


class TreeDamaged(RuntimeError):
    """Hashes that the sealer has written are gone.

    `rireki audit verify` names the missing hashes.
    """


async def sealed_size(connection: Connection) -> int:
    """Returns the number of events that have a position.

    Raises `TreeUnfinished`, `TreeDamaged`.
    """
    row = await connection.fetchrow(READ, [], [], [])
    if row is None:
        raise TreeDamaged("the sealer's cursor is gone")
    if row["size"] < row["sealed"]:
        raise TreeUnfinished(row["size"])
    return int(row["sealed"])


async def tile_contents(connection: Connection, tile: Tile) -> bytes:
    """Returns the hashes in a tile, one after another. The tile may be partial.

    The level must be 0 or above: `projections/entries.py` reads entry bundles. Raises `NotSealed`, `TreeUnfinished`,
    `TreeDamaged`.
    """
    size = (tile.number * WIDTH + tile.width) << (HEIGHT * tile.level)
    return (await _read(connection, [tile], size))[tile]


async def tiles_contents(connection: Connection, tiles: Sequence[Tile], size: int) -> Mapping[Tile, bytes]:
    """Returns the hashes in several tiles of the tree of `size` events.

    Raises `NotSealed`, `TreeUnfinished`, `TreeDamaged`.
    """
    return await _read(connection, tiles, size)


async def root(connection: Connection, size: int) -> bytes:
    """Returns the root of the tree over the first `size` events.

    Raises `ValueError` if the size is below 0, `NotSealed`, `TreeUnfinished`, `TreeDamaged`.
    """
    if size < 0:
        raise ValueError(f"A tree has 0 leaves or more, not {size}.")
    return (await _hashes(connection, [Span(0, size)], size))[0]


async def inclusion(connection: Connection, index: int, size: int) -> list[bytes]:
    """Returns the proof that the tree of `size` events has the event at position `index` + 1.

    Raises `ValueError` if the index is not below the size, `NotSealed`, `TreeUnfinished`, `TreeDamaged`.
    """
    return await _hashes(connection, inclusion_spans(index, size), size)


async def consistency(connection: Connection, old_size: int, size: int) -> list[bytes]:
    """Returns the proof that the tree of `size` events begins with that of `old_size` events.

    Raises `ValueError` if the old size is the larger one, `NotSealed`, `TreeUnfinished`, `TreeDamaged`.
    """
    return await _hashes(connection, consistency_spans(old_size, size), size)


async def _hashes(connection: Connection, spans: Sequence[Span], size: int) -> list[bytes]:
    needed = {tile_of(subtree, size) for span in spans for subtree in perfect_subtrees(span)} if size <= MOST_EVENTS else ()
    contents = await _read(connection, sorted(needed), size)

    def hash_of(subtree: Subtree) -> bytes:
        return subtree_hash(subtree, size, contents.__getitem__)

    return [span_hash(span, hash_of) for span in spans]


async def _read(connection: Connection, tiles: Iterable[Tile], size: int) -> Mapping[Tile, bytes]:
    asked = list(tiles) if size <= MOST_EVENTS else []
    row = await connection.fetchrow(
        READ, [tile.level for tile in asked], [tile.number for tile in asked], [tile.width for tile in asked]
    )
    if row is None:
        raise TreeDamaged("the sealer's cursor is gone")
    if size > row["sealed"]:
        raise NotSealed(size, row["sealed"])
    if size > row["size"]:
        raise TreeUnfinished(row["size"])
    for tile, contents in zip(asked, row["contents"], strict=True):
        if contents is None or len(contents) != tile.width * HASH_BYTES:
            raise TreeDamaged(f"hashes of {tile.path} are gone from the database")
    return dict(zip(asked, row["contents"], strict=True))
