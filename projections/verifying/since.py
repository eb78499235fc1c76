"""Verifies the events after an earlier verification, in a time that only these events determine.

The beginning of the log must still have the root that this machine computed then. Only the hashes of upper tiles are read for
that. So only a verification of everything finds a change of an old event in the table `job_events`, or of an old row of the
view.
"""

from collections.abc import Sequence
from dataclasses import replace

from events.audit_findings import FindingName
from events.database import Connection
from projections import tree
from projections.proof.merkle import HASH_BYTES, root_of
from projections.proof.tiles import WIDTH
from projections.verifying.cursor import Cursor
from projections.verifying.findings import Finding
from projections.verifying.order import Checked
from projections.verifying.positions import Gap
from projections.verifying.state import VerifiedTo

CHANGED = "select distinct job_id from job_events where (xid, event_id) > ($1::text::xid8, $2::bigint) order by job_id"

# Each upper tile with events after a position, and the roots of the tiles below it.
NEW_UPPER = f"""
select u.level, u.tile, u.hashes, u.root, (
    select string_agg(b.root, ''::bytea order by b.tile) from (
        select tile, root from log_tiles where u.level = 1
        union all
        select tile, root from log_upper_tiles where level = u.level - 1
    ) as b
    where b.tile >= u.tile * {WIDTH} and b.tile < (u.tile + 1) * {WIDTH}
) as below
from log_upper_tiles u
where (u.tile + 1) * ({WIDTH}::numeric ^ (u.level + 1)) > $1
order by u.level, u.tile
"""


class StoredTree:
    """The tree of the stored tiles. Its roots are trusted, because the tiles were checked."""

    def __init__(self, connection: Connection, size: int) -> None:
        self._connection = connection
        self.size = size

    async def root(self, size: int) -> bytes:
        """Returns the root over the first `size` events. Raises `Gap`."""
        try:
            return await tree.root(self._connection, size)
        except (tree.NotSealed, tree.TreeUnfinished, tree.TreeDamaged) as error:
            raise Gap from error


def can_go_on(state: VerifiedTo, origin: str, cursor: Cursor | None) -> bool:
    """Returns whether the order of the log can be compared with its order at the earlier verification."""
    return (
        cursor is not None
        and cursor.same_cluster
        and cursor.epoch == state.epoch
        and cursor.tiled >= cursor.rows_to
        and state.origin == origin
    )


async def beginning_findings(connection: Connection, state: VerifiedTo, cursor: Cursor) -> list[Finding]:
    """Compares the root of the log's beginning with its root at the earlier verification."""
    if cursor.position < state.size:
        detail = (
            f"this machine has verified the log up to position {state.size}, but the log has only {cursor.position} positions"
        )
        return [Finding(FindingName.TRUNCATED_TAIL, None, None, cursor.position + 1, detail)]
    try:
        root = await StoredTree(connection, cursor.position).root(state.size)
    except Gap:
        detail = f"hashes of tiles that were verified up to position {state.size} are gone"
        return [Finding(FindingName.MISSING, None, None, None, detail)]
    if root != state.root:
        detail = f"the first {state.size} events have another root than when this machine verified them"
        return [Finding(FindingName.INCONSISTENT, None, None, state.size, detail)]
    return []


async def changed_jobs(raw: Connection, state: VerifiedTo) -> list[bytes]:
    """Returns the ids of the jobs that have events after the earlier verification, as 16 bytes each."""
    return [row["job_id"] for row in await raw.fetch(CHANGED, str(state.xid), state.event_id)]


async def new_upper_findings(connection: Connection, state: VerifiedTo) -> list[Finding]:
    """Checks the upper tiles with new events."""
    found = []
    for row in await connection.fetch(NEW_UPPER, state.size):
        hashes = [row["hashes"][at : at + HASH_BYTES] for at in range(0, len(row["hashes"]), HASH_BYTES)]
        if row["hashes"] != row["below"] or row["root"] != root_of(hashes):
            detail = f"tile {row['tile']} of level {row['level']} does not hold the hashes of the tiles below it"
            found.append(Finding(FindingName.MODIFIED, None, None, None, detail))
    return found


async def state_after(
    connection: Connection, origin: str, results: Sequence[Checked], size: int, before: VerifiedTo | None
) -> VerifiedTo | None:
    """Returns the state after this verification, or None if the last event has no order in an epoch."""
    greatest = max((checked.greatest for checked in results if checked.greatest is not None), default=None)
    if size == 0 or greatest is None:
        return before
    last = next((checked.last for checked in reversed(results) if checked.last is not None), None)
    if last is None or results[-1].without_epoch:
        return None
    root = await StoredTree(connection, size).root(size)
    if before is not None:
        greatest = max(greatest, before.greatest)
    return VerifiedTo(origin, size, root, *last, greatest)


def as_result(state: VerifiedTo) -> Checked:
    """Returns the earlier verification as the first of the results."""
    order = (state.epoch, state.xid, state.event_id)
    return replace(Checked(0), first=order, last=order, greatest=state.greatest, highest=state.size, last_present=state.size)
