"""Verifies one job: its history, its row in the view, and whether the signed tree holds each of its events.

It reads only the rows of the job, and the few tiles that the proofs of its events need.
"""

from collections.abc import Iterator, Mapping, Sequence

from events.audit_findings import FindingName
from events.database import Connection, Record
from events.positions import LAST_POSITION, POSITION
from projections import tree
from projections.proof.entry import ENTRY, LEAF
from projections.proof.merkle import HASH_BYTES, is_included, leaf_hash
from projections.proof.redaction import ERASED_SALT, Redaction
from projections.rebuild import UniqueKey
from projections.verifying.checkpoints import (
    Origins,
    Trust,
    compare_copies,
    compare_cosignatures,
    newest_signed,
    read_origins,
)
from projections.verifying.findings import Covers, Finding, Leaf, Verified
from projections.verifying.histories import compare, side_by_side
from projections.verifying.redactions import redactions, refused_findings
from projections.verifying.since import StoredTree

# The stored leaf is null if the event has no position, or if its position is not in a tile yet.
LEAVES = f"""
select e.seq, e.position, e.leaf, e.salt, e.entry, e.left_hash, coalesce(
    (select r.leaf from log_tail r where r.position = e.position),
    (select substr(t.leaves, ((e.position - 1) % 256 * 32 + 1)::int, 32) from log_tiles t where t.tile = (e.position - 1) / 256)
) as stored
from (
    select e.seq, {POSITION} as position, {LEAF} as leaf, e.salt, {ENTRY} as entry, sha256(convert_to(e.data::text, 'UTF8'))
        as left_hash
    from job_events e where e.job_id = $1
) as e
order by e.seq
"""


async def verify_job(connection: Connection, job_id: str, unique_key: UniqueKey, trust: Trust) -> Verified:
    """Verifies a job. `leaves` of the result has its events, and `covers` the checkpoint that their proofs lead to.

    With copies of checkpoints from outside, the proofs must lead to the newest copy too, and `covers` is that copy.
    """
    verified = Verified(last_position=await connection.fetchval(LAST_POSITION))
    origins = await read_origins(connection, trust.keys)
    rows = await connection.fetch(LEAVES, job_id)
    positions = [row["position"] for row in rows if row["position"] is not None]
    valid, refused = await redactions(connection, trust.keys, origins.holds_to, positions)
    verified.add(refused_findings(refused))
    erased = [row["seq"] for row in rows if _erasure(row, valid) is not None]
    async for compared_id, history, shown in side_by_side(connection, [job_id]):
        verified.jobs += 1
        verified.events += len(history)
        verified.add(compare(compared_id, history, shown, unique_key, erased))
    verified.add(_leaf_findings(job_id, rows, valid))
    covering = await _covering(connection, verified, origins, trust)
    await _prove(connection, verified, job_id, rows, covering)
    return verified


def _leaf_findings(job_id: str, rows: list[Record], valid: Mapping[int, Redaction]) -> Iterator[Finding]:
    for row in rows:
        if _erasure(row, valid) is not None:
            detail = "its data were erased, and a signed note says so"
            yield Finding(FindingName.REDACTED, job_id, row["seq"], row["position"], detail)
        elif row["stored"] is not None and row["stored"] != row["leaf"]:
            detail = "the event does not have the hash that was stored when it got its position"
            yield Finding(FindingName.MODIFIED, job_id, row["seq"], row["position"], detail)


def _erasure(row: Record, valid: Mapping[int, Redaction]) -> Redaction | None:
    """Returns the valid note about an erased event, if the note and the other columns give the stored leaf."""
    note = valid.get(row["position"])
    if note is None or row["salt"] != ERASED_SALT or row["left_hash"] != note.left:
        return None
    return note if leaf_hash(row["entry"][:-HASH_BYTES] + note.data_hash) == row["stored"] else None


async def _covering(connection: Connection, verified: Verified, origins: Origins, trust: Trust) -> list[Covers]:
    """Returns the newest signed checkpoints of the database and of the copies, and adds the faults of all that it looked at."""
    newest, stored = await newest_signed(connection, origins, trust)
    copied = await compare_copies(connection, StoredTree(connection, verified.last_position), origins, trust)
    verified.add(stored.findings)
    verified.add(copied.findings)
    verified.add(await compare_cosignatures(connection, trust))
    verified.unsigned = stored.unsigned
    in_database = None if newest is None else Covers(newest.size, newest.root, None)
    verified.covers = copied.covers if trust.copies else in_database
    return [each for each in (in_database, copied.covers) if each is not None]


async def _prove(
    connection: Connection, verified: Verified, job_id: str, rows: list[Record], covering: Sequence[Covers]
) -> None:
    """Checks for each event that the tree of each covering checkpoint holds its leaf."""
    for row in rows:
        included = None
        for checkpoint in covering:
            if row["position"] is None or row["position"] > checkpoint.size:
                continue
            proved = await _is_included(connection, row, checkpoint)
            if proved is False:
                of = f" of {checkpoint.against}" if checkpoint.against else ""
                detail = f"its inclusion proof does not lead to the root of the checkpoint of size {checkpoint.size}{of}"
                verified.add([Finding(FindingName.INCONSISTENT, job_id, row["seq"], row["position"], detail)])
            included = proved if included is None else included and proved is not False
        verified.leaves.append(Leaf(row["seq"], row["position"], row["stored"] or row["leaf"], included))


async def _is_included(connection: Connection, row: Record, checkpoint: Covers) -> bool | None:
    index = row["position"] - 1
    try:
        proof = await tree.inclusion(connection, index, checkpoint.size)
    except tree.TreeUnfinished:
        return None
    except (tree.NotSealed, tree.TreeDamaged):
        return False
    return is_included(row["stored"] or row["leaf"], index, checkpoint.size, proof, checkpoint.root)
