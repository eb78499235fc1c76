"""Compares each position of the log with its event: leaves, order, times, and the roots of tiles.

A leaf is computed from the stored columns of the event, as docs/log-format.md defines it. Ranges of positions are checked in
any order, some at the same time. `positions.py` puts the results together.

Within an epoch, positions are in the order (transaction id, event id). So an event with a wrong position is found even if no
checkpoint covers it yet.
"""

import asyncio
import struct
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from itertools import pairwise
from typing import Any, NamedTuple

from events.database import Connection, Record
from projections.proof.entry import LONGEST_TEXT
from projections.proof.merkle import HASH_BYTES, root_of
from projections.proof.redaction import ERASED_SALT
from projections.proof.tiles import WIDTH
from projections.verifying.findings import MOST_KEPT
from projections.verifying.redactions import Excused

EVENT = (
    "e.job_id, e.seq, e.attempt, e.type, e.actor, e.request_id, e.cause, e.at, e.salt, e.data, e.xid::text::bigint, e.event_id"
)
LOOK_UP = "left join lateral (select * from job_events where job_id = p.job_id and seq = p.seq offset 0) as e on true"

TILES = "select tile, epoch, leaves, root from log_tiles where tile = any($1) order by tile"

IN_TILES = f"""
select p.tile * {WIDTH} + p.place, p.job_id, p.seq, {EVENT}
from (
    select t.tile, u.place, u.job_id, u.seq
    from log_tiles t cross join lateral unnest(t.job_ids, t.seqs) with ordinality as u(job_id, seq, place)
    where t.tile = any($1)
) as p {LOOK_UP}
"""

IN_TAIL = f"select p.position, p.job_id, p.seq, {EVENT}, p.epoch, p.leaf from log_tail p {LOOK_UP} order by p.position"

IN_OLD_ROWS = f"""
select p.position, {EVENT.partition(",")[0]}, e.seq, {EVENT}
from job_event_log_rows p left join lateral (select * from job_events where event_id = p.event_id offset 0) as e on true
where p.position > $1 and p.position <= $2
order by p.position
"""

PLACE, JOB, SEQ, EVENT_JOB, AT, SALT, DATA, XID, EVENT_ID = 0, 1, 2, 3, 10, 11, 12, 13, 14

TILES_AT_ONCE = 20


class Place(NamedTuple):
    """A position and its event. `job_id` has 16 bytes, or is None for an old position without an event."""

    position: int
    job_id: bytes | None
    seq: int | None


class Differing(NamedTuple):
    """A position whose event does not have the leaf that is stored there."""

    place: Place
    stored: bytes
    computed: bytes


class Mark(NamedTuple):
    """The size of a checkpoint, and the time at which it was signed, in microseconds."""

    size: int
    signed_at: int


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules for positions. `tolerance` is in microseconds, and `marks` are in order of size."""

    tolerance: int
    marks: Sequence[Mark] = ()
    excused: Excused = field(default_factory=dict)

    def of(self, after: int, until: int) -> "Rules":
        """Returns only the rules for the positions after `after`, up to `until`, because another process gets them."""
        first = bisect_right(self.marks, after, key=lambda mark: mark.size)
        last = bisect_right(self.marks, until, key=lambda mark: mark.size)
        excused = {position: each for position, each in self.excused.items() if after < position <= until}
        return replace(self, marks=self.marks[max(0, first - 1) : last], excused=excused)


class Late(NamedTuple):
    """An event whose time is too far before the time of an earlier event. Times are in microseconds."""

    place: Place
    at: int
    before: int


@dataclass(slots=True)
class Checked:
    """The result for a range of positions. A list has at most `MOST_KEPT`; `cut` counts what is left out.

    `first` and `last` are (epoch, xid, event_id) of the first and the last event in the range.
    """

    after: int
    present: int = 0
    last_present: int = 0
    highest: int = 0
    missing: list[Place] = field(default_factory=list)
    differing: list[Differing] = field(default_factory=list)
    erased: list[Place] = field(default_factory=list)
    misplaced: list[Place] = field(default_factory=list)
    late: list[Late] = field(default_factory=list)
    gaps: list[tuple[int, int]] = field(default_factory=list)
    twice: list[int] = field(default_factory=list)
    wrong_roots: list[int] = field(default_factory=list)
    roots: list[bytes] = field(default_factory=list)
    """The roots of the leaves of the full tiles, as computed here."""
    tail: list[bytes] = field(default_factory=list)
    """The stored leaves after the last full tile."""
    first: tuple[int, int, int] | None = None
    last: tuple[int, int, int] | None = None
    without_epoch: bool = False
    earliest: int | None = None
    greatest: int | None = None
    """The greatest time of an event whose leaf is right, or of a checkpoint at an earlier position."""
    largest_id: int = 0
    cut: int = 0

    def note(self, kept: list[Any], what: Any) -> None:
        if len(kept) < MOST_KEPT:
            kept.append(what)
        else:
            self.cut += 1


def leaf_of(row: Any, data_hash: bytes | None = None) -> bytes:
    """Returns the leaf hash of the event in a row. `data_hash` replaces the hash of the stored data if they were erased."""
    job_id, seq, attempt, kind, actor, request_id, cause, at, salt, data = row[EVENT_JOB:XID]
    return sha256(
        b"\x00\x01" + job_id + struct.pack(">ii", seq, attempt) + _text(kind) + _text(actor) + _text(request_id) + _text(cause)
        + struct.pack(">q", at) + (data_hash or sha256(salt + data).digest())
    ).digest()  # fmt: skip


def _text(text: str | None) -> bytes:
    if text is None:
        return b"\x00"
    encoded = text.encode()
    length = len(encoded)
    if length <= LONGEST_TEXT:
        return b"\x01" + length.to_bytes(2, "big") + encoded
    return b"\x02" + length.to_bytes(8, "big") + sha256(encoded).digest()


class Order:
    """Checks positions one after another, from the position after `after` on."""

    def __init__(self, after: int, rules: Rules, *, greatest: int | None = None) -> None:
        self.checked = Checked(after, highest=after, greatest=greatest)
        self._rules = rules
        signed = [mark for mark in rules.marks if mark.size <= after]
        self._marks = iter([*signed[-1:], *(mark for mark in rules.marks if mark.size > after)])
        self._mark = next(self._marks, None)

    def tile(self, tile: Record, rows: Sequence[Record], skip: int = 0) -> None:
        """Checks a full tile. The first `skip` places were checked before."""
        number, epoch, leaves, root = tile
        computed = root_of([leaves[at : at + HASH_BYTES] for at in range(0, len(leaves), HASH_BYTES)])
        self.checked.roots.append(computed)
        if computed != root:
            self.checked.note(self.checked.wrong_roots, number)
        if epoch is None:
            self.checked.without_epoch = True
        for row in rows[skip:]:
            place = (row[PLACE] - 1) % WIDTH
            self.place(row, epoch, leaves[place * HASH_BYTES : (place + 1) * HASH_BYTES])

    def tail(self, row: Record) -> None:
        """Checks a row of the tail."""
        epoch, leaf = row[EVENT_ID + 1], row[EVENT_ID + 2]
        self.checked.tail.append(leaf)
        if epoch is None:
            self.checked.without_epoch = True
        self.place(row, epoch, leaf)

    def place(self, row: Record, epoch: int | None, leaf: bytes | None) -> None:
        """Checks one position with its event. `leaf` is None for old positions, which have none."""
        checked = self.checked
        position = row[PLACE]
        if position != checked.highest + 1:
            if position <= checked.highest:
                checked.note(checked.twice, position)
            else:
                checked.note(checked.gaps, (checked.highest + 1, position - 1))
        checked.highest = max(position, checked.highest)
        if row[EVENT_JOB] is None:
            checked.note(checked.missing, Place(*row[:EVENT_JOB]))
            return
        checked.present += 1
        checked.last_present = position
        checked.largest_id = max(checked.largest_id, row[EVENT_ID])
        if epoch is not None:
            self._in_order(row, epoch)
        if leaf is not None:
            computed = leaf_of(row)
            if computed != leaf and not self._is_excused(row, leaf):
                checked.note(checked.differing, Differing(Place(*row[:EVENT_JOB]), leaf, computed))
                return
        self._in_time(row)

    def _in_order(self, row: Record, epoch: int) -> None:
        order = (epoch, row[XID], row[EVENT_ID])
        last = self.checked.last
        if last is None:
            self.checked.first = order
        elif last[0] == epoch and last >= order:
            self.checked.note(self.checked.misplaced, Place(*row[:EVENT_JOB]))
            return
        self.checked.last = order

    def _in_time(self, row: Record) -> None:
        at, checked = row[AT], self.checked
        while self._mark is not None and self._mark.size < row[PLACE]:
            if checked.greatest is None or self._mark.signed_at > checked.greatest:
                checked.greatest = self._mark.signed_at
            self._mark = next(self._marks, None)
        if checked.earliest is None or at < checked.earliest:
            checked.earliest = at
        if checked.greatest is None or at > checked.greatest:
            checked.greatest = at
        elif at < checked.greatest - self._rules.tolerance:
            checked.note(checked.late, Late(Place(*row[:EVENT_JOB]), at, checked.greatest))

    def _is_excused(self, row: Record, leaf: bytes) -> bool:
        erasure = self._rules.excused.get(row[PLACE])
        if erasure is None or row[SALT] != ERASED_SALT or sha256(row[DATA]).digest() != erasure.left:
            return False
        if leaf_of(row, erasure.data_hash) != leaf:
            return False
        self.checked.note(self.checked.erased, Place(*row[:EVENT_JOB]))
        return True


async def check_tiles(raw: Connection, order: Order, numbers: Sequence[int], *, after: int = 0) -> None:
    """Checks the tiles with these numbers, which are in order, and only positions after `after`.

    Lets other tasks run after each tile.
    """
    for first in range(0, len(numbers), TILES_AT_ONCE):
        some = numbers[first : first + TILES_AT_ONCE]
        by_tile: dict[int, list[Record]] = {}
        for row in iter_sorted(await raw.fetch(IN_TILES, some)):
            by_tile.setdefault((row[PLACE] - 1) // WIDTH, []).append(row)
        for tile in await raw.fetch(TILES, some):
            own = by_tile.get(tile[0], [])
            order.tile(tile, own, skip=sum(1 for row in own if row[PLACE] <= after) if after else 0)
            await asyncio.sleep(0)


def iter_sorted(rows: Sequence[Record]) -> Iterable[Record]:
    """Returns the rows in order of position. PostgreSQL nearly always gives them in this order already."""
    if all(one[PLACE] < other[PLACE] for one, other in pairwise(rows)):
        return rows
    return sorted(rows, key=lambda row: row[PLACE])


async def check_tail(raw: Connection, order: Order, *, after: int = 0) -> None:
    for row in await raw.fetch(IN_TAIL):
        if row[PLACE] > after:
            order.tail(row)
        else:
            order.checked.tail.append(row[EVENT_ID + 2])


async def check_old_rows(raw: Connection, order: Order, after: int, until: int) -> None:
    """Checks positions that were given before tiles existed and are not in tiles yet. They have no leaves."""
    cursor = await raw.cursor(IN_OLD_ROWS, after, until)
    while rows := await cursor.fetch(2_000):
        for row in rows:
            order.checked.without_epoch = True
            order.place(row, None, None)
