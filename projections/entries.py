"""Reads the entries of events: entry bundles, and single events.

The entry of an erased event holds the hash of the data before the erasure. That hash comes from the event's redaction, because
it can no longer be computed. Nothing is verified here: a verifier compares the entries with the leaves of a signed tree.
"""

from dataclasses import dataclass

from events.database import Connection
from events.positions import POSITION, places
from projections.proof.entry import ENTRY
from projections.proof.log_proof import Shown
from projections.proof.merkle import HASH_BYTES
from projections.proof.redaction import BadRedaction, read_redaction
from projections.proof.signed_note import BadNote, read_note
from projections.proof.tiles import WIDTH, Tile, bundle
from projections.tree import MOST_EVENTS, NotSealed, sealed_size

# `offset 0` makes PostgreSQL look each event up by its primary key. The entry of an event that is gone is null.
ENTRIES = f"""
select {ENTRY} as entry, r.note
from {places(after="$1::bigint", until="$2::bigint")} as l
left join lateral (select * from job_events where job_id = l.job_id and seq = l.seq offset 0) as e on true
left join redactions r on r.position = l.position
order by l.position
"""

EVENT = f"""
select {ENTRY} as entry, e.salt, e.data::text as data, p.position, r.note
from job_events e
cross join lateral (select {POSITION} as position) as p
left join redactions r on r.position = p.position
where e.job_id = $1 and e.seq = $2
"""


@dataclass(frozen=True, slots=True)
class SealedEvent:
    """A stored event with its entry. `position` is None if the event is not sealed yet.

    `shown` has no salt and no data if the event's data were erased.
    """

    position: int | None
    shown: Shown


async def bundle_contents(connection: Connection, tile: Tile) -> bytes:
    """Returns the entry bundle of a tile, which may be partial. The entry of an event that is gone is empty.

    Raises `NotSealed` if the log has fewer events, `tree.TreeUnfinished`, `tree.TreeDamaged`.
    """
    first, size = tile.number * WIDTH, tile.number * WIDTH + tile.width
    sealed = await sealed_size(connection)
    if size > min(sealed, MOST_EVENTS):
        raise NotSealed(size, sealed)
    return bundle([entry_as_sealed(*row) for row in await connection.fetch(ENTRIES, first, size)])


async def sealed_event(connection: Connection, job_id: str, seq: int) -> SealedEvent | None:
    """Returns an event with its entry, or None if there is no such event."""
    row = await connection.fetchrow(EVENT, job_id, seq)
    if row is None:
        return None
    entry = entry_as_sealed(row["entry"], row["note"])
    shown = Shown(entry, row["salt"], row["data"].encode())
    return SealedEvent(row["position"], shown if shown.has_its_data else Shown(entry))


def entry_as_sealed(entry: bytes | None, redaction: str | None) -> bytes:
    """Returns an entry with the data hash that it had before an erasure.

    `redaction` is the note about the erasure, or None. The entry of an event that is gone is empty.
    """
    if entry is None:
        return b""
    if redaction is None:
        return entry
    try:
        return entry[:-HASH_BYTES] + read_redaction(read_note(redaction.encode()).text).data_hash
    except (BadNote, BadRedaction):
        return entry  # a verifier will find that the entry does not belong to its leaf
