"""Turns the results for ranges of positions into findings, and computes the tree of the whole log."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

from events.audit_findings import FindingName
from events.database import Connection
from events.job import rfc3339
from projections.proof.merkle import HASH_BYTES, Span, Subtree, node_hash, root_of, span_hash
from projections.proof.tiles import HEIGHT, WIDTH
from projections.verifying.findings import Finding
from projections.verifying.order import Checked, Differing, Place

EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
UPPER = "select level, tile, hashes, root from log_upper_tiles order by level, tile"
LEAVES = "select leaves from log_tiles where tile = $1"


class Gap(Exception):
    """The tree has no root of this size, because positions below it are missing or not in tiles yet."""


class Tree:
    """The tree of the log, computed from the stored leaves."""

    def __init__(self, connection: Connection, roots: Sequence[bytes], tail: Sequence[bytes]) -> None:
        self._connection = connection
        self._tail = tail
        self.size = len(roots) * WIDTH + len(tail)
        self._levels = [list(roots)]
        while len(below := self._levels[-1]) > 1:
            self._levels.append([node_hash(below[at], below[at + 1]) for at in range(0, len(below) - 1, 2)])

    async def root(self, size: int) -> bytes:
        """Returns the root over the first `size` events. Raises `Gap`."""
        if not 0 <= size <= self.size:
            raise Gap
        full, rest = divmod(size, WIDTH)
        leaves: Sequence[bytes] = ()
        if rest:
            leaves = self._tail if full == len(self._levels[0]) else await self._leaves(full)

        def hash_of(subtree: Subtree) -> bytes:
            if subtree.height >= HEIGHT:
                return self._levels[subtree.height - HEIGHT][subtree.number]
            first = (subtree.number << subtree.height) % WIDTH
            return root_of(leaves[first : first + (1 << subtree.height)])

        return span_hash(Span(0, size), hash_of)

    async def _leaves(self, tile: int) -> Sequence[bytes]:
        leaves = await self._connection.fetchval(LEAVES, tile)
        if leaves is None:
            raise Gap
        return [leaves[at : at + HASH_BYTES] for at in range(0, len(leaves), HASH_BYTES)]

    def upper(self, level: int, tile: int) -> tuple[bytes, bytes] | None:
        """Returns the hashes and the root of a full tile above level 0, or None if the tree has no such tile."""
        height = HEIGHT * (level - 1)
        if height + HEIGHT >= len(self._levels) or tile < 0:
            return None
        hashes = self._levels[height][tile * WIDTH : (tile + 1) * WIDTH]
        if len(hashes) < WIDTH:
            return None
        return b"".join(hashes), self._levels[height + HEIGHT][tile]

    def upper_tiles(self) -> set[tuple[int, int]]:
        """Returns level and number of all full tiles above level 0."""
        found = set()
        level, full = 1, len(self._levels[0]) // WIDTH
        while full:
            found |= {(level, tile) for tile in range(full)}
            level, full = level + 1, full // WIDTH
        return found


async def upper_findings(connection: Connection, tree: Tree) -> list[Finding]:
    """Compares the tiles above level 0 with the tree."""
    found: list[Finding] = []
    expected = tree.upper_tiles()
    async for row in connection.cursor(UPPER, prefetch=50):
        place = (row["level"], row["tile"])
        name = f"tile {row['tile']} of level {row['level']}"
        right = tree.upper(*place) if place in expected else None
        if right is None:
            found.append(_of_log(FindingName.INSERTED, None, f"{name} is stored, but the tree has no such full tile"))
        elif right != (row["hashes"], row["root"]):
            found.append(_of_log(FindingName.MODIFIED, None, f"{name} does not hold the hashes of the tiles below it"))
        expected.discard(place)
    return found + [
        _of_log(FindingName.MISSING, None, f"tile {tile} of level {level} is not stored") for level, tile in sorted(expected)
    ]


def order_findings(results: Sequence[Checked], last_present: int) -> Iterator[Finding]:
    """Yields the findings of all ranges, which are in order of position. `truncation` reports events after `last_present`."""
    differing = [each for checked in results for each in checked.differing]
    elsewhere = {each.stored for each in differing}
    yield from (_differing(each, elsewhere) for each in differing)
    for checked in results:
        for place in checked.missing:
            if place.position < last_present:
                yield _at(FindingName.MISSING, place, f"position {place.position} points to an event that is not in the log")
        for first, last in checked.gaps:
            if first <= last_present:
                yield _of_log(FindingName.MISSING, first, f"positions {first} to {last} are missing")
        for position in checked.twice:
            yield _of_log(FindingName.INSERTED, position, f"position {position} is given twice or below 1")
        for place in checked.misplaced:
            yield _at(FindingName.REORDERED, place, "its position is not in the order in which events get positions")
        for late in checked.late:
            detail = f"has the time {_time(late.at)}, but an event at an earlier position has {_time(late.before)}"
            yield _at(FindingName.BACKDATED, late.place, detail)
        for tile in checked.wrong_roots:
            detail = f"the stored root of tile {tile} is not the root of its leaves"
            yield _of_log(FindingName.MODIFIED, tile * WIDTH + 1, detail)
        for place in checked.erased:
            yield _at(FindingName.REDACTED, place, "its data were erased, and a signed note says so")


def boundary_findings(results: Sequence[Checked]) -> Iterator[Finding]:
    """Yields a finding for each range that begins, within an epoch, before the end of the range before it."""
    last = None
    for checked in results:
        if checked.first is not None:
            if last is not None and last[0] == checked.first[0] and last >= checked.first:
                detail = "the event at this position should come before an event at an earlier position"
                yield _of_log(FindingName.REORDERED, checked.after + 1, detail)
            last = checked.last


def tree_of(connection: Connection, results: Iterable[Checked]) -> Tree | None:
    """Returns the tree of the log, or None if positions are missing."""
    roots: list[bytes] = []
    tail: list[bytes] = []
    for checked in results:
        if checked.gaps or checked.twice:
            return None
        roots += checked.roots
        tail += checked.tail
    return Tree(connection, roots, tail)


def truncation(given: int, last_present: int) -> Iterator[Finding]:
    """Yields a finding if the newest positions were given, and their events are gone."""
    if given > last_present:
        detail = f"positions {last_present + 1} to {given} were given, and their events are not in the log"
        yield _of_log(FindingName.TRUNCATED_TAIL, last_present + 1, detail)


def _differing(each: Differing, elsewhere: set[bytes]) -> Finding:
    if each.computed in elsewhere:
        return _at(FindingName.REORDERED, each.place, "its leaf is stored at another position")
    return _at(FindingName.MODIFIED, each.place, "the event does not have the hash that was stored when it got its position")


def _at(name: FindingName, place: Place, detail: str) -> Finding:
    job_id = None if place.job_id is None else str(UUID(bytes=place.job_id))
    return Finding(name, job_id, place.seq, place.position, detail)


def _of_log(name: FindingName, position: int | None, detail: str) -> Finding:
    return Finding(name, None, None, position, detail)


def _time(microseconds: int) -> str:
    try:
        return rfc3339(EPOCH + timedelta(microseconds=microseconds))
    except OverflowError:
        return "a time that no calendar has"
