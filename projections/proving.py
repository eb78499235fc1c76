"""Proves to a stranger that an event is in the signed log."""

from collections.abc import Callable

from events.database import Connection
from projections import tree
from projections.checkpoints import newest_of_current_log, with_cosignatures
from projections.entries import sealed_event
from projections.proof.log_proof import LogProof, Shown


class NoSuchEvent(LookupError):
    """The log has no event with this job and this number."""


class NotCovered(LookupError):
    """No signed checkpoint covers the event yet. `size` is that of the newest one, or 0."""

    def __init__(self, position: int | None, size: int) -> None:
        where = "has no position yet" if position is None else f"has the position {position}"
        newest = f"the newest checkpoint covers the first {size} events" if size else "the log has no signed checkpoint yet"
        super().__init__(f"the event {where}, and {newest}: try again after the next checkpoint")
        self.size = size


async def prove_event(connection: Connection, job_id: str, seq: int, *, may_see: Callable[[bytes], bool]) -> LogProof:
    """Returns the proof that the newest checkpoint covers this event, with its entry.

    `may_see` gets the bytes of the event's data, and returns whether the reader may see all of them. If so, the proof shows the
    salt and the data. A proof never shows erased data. The statements need no common snapshot, because positions, tiles and
    checkpoints never change.

    Raises `NoSuchEvent`, `NotCovered`, `checkpoints.NoLog`, `tree.TreeUnfinished`, `tree.TreeDamaged`.
    """
    event = await sealed_event(connection, job_id, seq)
    if event is None:
        raise NoSuchEvent(f"the log has no event {seq} of job {job_id}")
    newest = await newest_of_current_log(connection)
    if newest is None or event.position is None or event.position > newest.size:
        raise NotCovered(event.position, 0 if newest is None else newest.size)
    index = event.position - 1
    hashes = await tree.inclusion(connection, index, newest.size)
    note = await with_cosignatures(connection, newest)
    shown = event.shown if event.shown.data is not None and may_see(event.shown.data) else Shown(event.shown.entry)
    return LogProof(index, hashes, note.encode(), shown.to_bytes())
