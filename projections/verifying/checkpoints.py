"""The signed checkpoints of the database, and copies of them from outside, compared with the tree.

A signature counts only if a key that the caller trusts made it. A key from the database is never trusted.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from events.audit_findings import FindingName
from events.database import Connection, Record
from projections.proof.checkpoint import BadCheckpoint, Checkpoint, read_checkpoint
from projections.proof.cosignature import Witness, missing_witnesses
from projections.proof.signed_note import BadNote, Verifier, open_note, read_note, verified_by
from projections.proof.succession import FOLLOWS, named_by
from projections.verifying.findings import Covers, Finding
from projections.verifying.order import Mark
from projections.verifying.positions import Gap

# Each log with its first note, which names the log before it.
ORIGINS = """
select l.origin, l.old_origin,
    (select c.note from checkpoints c where c.origin = l.origin order by c.size limit 1) as first_note
from log_origins l order by l.number
"""

# The checkpoints that are larger than a size, and the last one that is not.
CHECKPOINTS = """
select origin, size, root, note from checkpoints
where size > $1 or size = (select max(size) from checkpoints where size <= $1)
order by signed_at, size
"""

NEWEST = "select origin, size, root, note from checkpoints order by signed_at desc, size desc limit 20"

IS_STORED = "select exists (select from checkpoints where origin = $1 and size = $2)"

# The cosigned checkpoints with their cosignatures, the newest first.
COSIGNED = """
select c.size, c.note || string_agg(rtrim(s.line, chr(10)) || chr(10), '' order by s.witness) as note
from checkpoints c join cosignatures s on s.origin = c.origin and s.size = c.size
group by c.origin, c.size, c.note, c.signed_at
order by c.signed_at desc
"""

MARKS = """
select size, (extract(epoch from signed_at) * 1000000)::bigint - 946684800000000 as signed_at from checkpoints order by size
"""


class Copies(NamedTuple):
    """Notes from one place outside the database. `name` is a file or an address."""

    name: str
    notes: Sequence[str]


@dataclass(frozen=True, slots=True)
class Trust:
    """The keys of the log, the copies of checkpoints and the witnesses that a verification trusts.

    The copies come from outside the database. Each witness must have cosigned a checkpoint.
    """

    keys: Sequence[Verifier] = ()
    witnesses: Sequence[Witness] = ()
    copies: Sequence[Copies] = ()


class HasRoots(Protocol):
    """A tree that computes the root of its first events, for any number of them."""

    size: int

    async def root(self, size: int) -> bytes:
        """Returns the root over the first `size` events. Raises `Gap`."""


@dataclass(slots=True)
class Compared:
    """The result of comparing checkpoints with the tree.

    `unsigned` is the number of checkpoints whose signature could not be checked, because no key is trusted."""

    findings: list[Finding] = field(default_factory=list)
    covers: Covers | None = None
    checked: int = 0
    unsigned: int = 0


class Origins:
    """The names of the log, the newest last, and the size up to which each name is valid."""

    def __init__(self, holds_to: Mapping[str, int | None]) -> None:
        self.holds_to = holds_to

    def abandoned(self, checkpoint: Checkpoint) -> bool:
        """Returns whether a later log began below the size of this checkpoint, and so gave up its last events."""
        most = self.holds_to.get(checkpoint.origin)
        return most is not None and checkpoint.size > most


async def read_origins(connection: Connection, keys: Sequence[Verifier] = ()) -> Origins:
    """Reads the names of the log.

    The name of an old log is valid up to the size that the first note of the next log names, if one of the keys has signed that
    note. Without such a note, all checkpoints of the old log must agree with the tree, because the row alone could be forged.
    """
    holds_to: dict[str, int | None] = {}
    for row in await connection.fetch(ORIGINS):
        holds_to[row["origin"]] = None
        if row["old_origin"] is not None and row["first_note"] is not None:
            holds_to[row["old_origin"]] = _followed_to(row["first_note"], row["old_origin"], keys)
    return Origins(holds_to)


def _followed_to(note: str, old_origin: str, keys: Sequence[Verifier]) -> int | None:
    try:
        followed = named_by(read_checkpoint(open_note(note.encode(), keys)), FOLLOWS)
    except (BadNote, BadCheckpoint):
        return None
    return followed.size if followed is not None and followed.origin == old_origin else None


async def read_marks(connection: Connection) -> list[Mark]:
    return [Mark(row["size"], row["signed_at"]) for row in await connection.fetch(MARKS)]


async def compare_stored(
    connection: Connection, tree: HasRoots | None, origins: Origins, trust: Trust, *, after: int = -1
) -> Compared:
    """Checks the checkpoints of the database that are larger than `after`, and the last one that is not."""
    compared = Compared()
    async for row in connection.cursor(CHECKPOINTS, after, prefetch=100):
        checkpoint = _of_row(row, trust, compared)
        if checkpoint is None:
            continue
        if await _agrees(checkpoint, tree, origins, compared, _place(row)) and trust.keys:
            compared.covers = _newer(compared.covers, Covers(checkpoint.size, checkpoint.root, None))
    return compared


async def newest_signed(connection: Connection, origins: Origins, trust: Trust) -> tuple[Checkpoint | None, Compared]:
    """Returns the newest checkpoint of the present log that a trusted key has signed, and the faults of newer ones."""
    compared = Compared()
    for row in await connection.fetch(NEWEST):
        checkpoint = _of_row(row, trust, compared)
        if checkpoint is None or not trust.keys:
            continue
        if checkpoint.origin not in origins.holds_to:
            compared.findings.append(_foreign(checkpoint, _place(row)))
        elif origins.holds_to[checkpoint.origin] is None:
            return checkpoint, compared
    return None, compared


async def compare_copies(connection: Connection, tree: HasRoots | None, origins: Origins, trust: Trust) -> Compared:
    """Checks the copies from outside. `covers` is the newest copy that agrees with the tree.

    A checkpoint is copied only after its row was written, so the table must have a row for each copy.
    """
    compared = Compared()
    for copies in trust.copies:
        for note in copies.notes:
            compared.checked += 1
            place = f"a checkpoint of {copies.name}"
            signed = _signed(note, trust, compared, place)
            if signed is None:
                continue
            place = f"the checkpoint of size {signed.size} of {copies.name}"
            if signed.origin in origins.holds_to and not await connection.fetchval(IS_STORED, signed.origin, signed.size):
                detail = f"{place} is not in the database, although a checkpoint is copied only after it was stored there"
                compared.findings.append(Finding(FindingName.MISSING, None, None, signed.size, detail))
            if await _agrees(signed, tree, origins, compared, place):
                compared.covers = _newer(compared.covers, Covers(signed.size, signed.root, copies.name))
    return compared


async def compare_cosignatures(connection: Connection, trust: Trust) -> list[Finding]:
    """Yields a finding for each witness without a cosigned checkpoint, and for each wrong cosignature."""
    missing, found = list(trust.witnesses), list[Finding]()
    if not missing:
        return found
    async for row in connection.cursor(COSIGNED, prefetch=100):
        try:
            missing = missing_witnesses(read_note(row["note"].encode()), missing)
        except BadNote as error:
            found.append(_wrong(row["size"], f"a cosignature of the checkpoint of size {row['size']} is wrong: {error}"))
        if not missing:
            break
    return found + [_wrong(None, f"no checkpoint is cosigned by the witness {witness}") for witness in missing]


async def _agrees(checkpoint: Checkpoint, tree: HasRoots | None, origins: Origins, compared: Compared, place: str) -> bool:
    if checkpoint.origin not in origins.holds_to:
        compared.findings.append(_foreign(checkpoint, place))
        return False
    if origins.abandoned(checkpoint) or tree is None:
        return False
    if checkpoint.size > tree.size:
        detail = f"{place} is larger than the log, which has only {tree.size} events with a position"
        compared.findings.append(Finding(FindingName.TRUNCATED_TAIL, None, None, tree.size + 1, detail))
        return False
    try:
        root = await tree.root(checkpoint.size)
    except Gap:
        return False
    if root != checkpoint.root:
        detail = f"{place} has another root than the first {checkpoint.size} events of the log"
        compared.findings.append(Finding(FindingName.INCONSISTENT, None, None, checkpoint.size, detail))
        return False
    return True


def _of_row(row: Record, trust: Trust, compared: Compared) -> Checkpoint | None:
    """Returns the checkpoint of a row: as its signed note says, or without a trusted key as its columns say."""
    checkpoint = Checkpoint(row["origin"], row["size"], row["root"])
    compared.checked += 1
    if not trust.keys:
        compared.unsigned += 1
        return checkpoint
    signed = _signed(row["note"], trust, compared, _place(row))
    if signed is not None and (signed.origin, signed.size, signed.root) != (
        checkpoint.origin,
        checkpoint.size,
        checkpoint.root,
    ):
        compared.findings.append(_wrong(row["size"], f"the row of {_place(row)} differs from its signed note"))
    return signed


def _place(row: Record) -> str:
    return f"the checkpoint of size {row['size']}"


def _foreign(checkpoint: Checkpoint, place: str) -> Finding:
    detail = f"{place} is of another log, {checkpoint.origin}"
    return Finding(FindingName.INCONSISTENT, None, None, checkpoint.size, detail)


def _signed(note: str, trust: Trust, compared: Compared, place: str) -> Checkpoint | None:
    """Returns the checkpoint of a note, if a trusted key has signed it."""
    try:
        read = read_note(note.encode())
        verified_by(read, trust.keys)
        return read_checkpoint(read.text)
    except (BadNote, BadCheckpoint) as error:
        compared.findings.append(_wrong(None, f"{place} is not signed by a trusted key: {error}"))
        return None


def _wrong(size: int | None, detail: str) -> Finding:
    return Finding(FindingName.BAD_SIGNATURE, None, None, size, detail)


def _newer(one: Covers | None, other: Covers) -> Covers:
    return other if one is None or other.size >= one.size else one
