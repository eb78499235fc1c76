"""The names of what an audit may find: words that people search for, so they never change."""

from enum import StrEnum


class FindingName(StrEnum):
    MODIFIED = "MODIFIED"
    """An event's data are not what the service writes."""
    MISSING = "MISSING"
    """An event that has had a position is gone."""
    INSERTED = "INSERTED"
    """An event or a position that came into the log by another way than an append and the sealer."""
    REORDERED = "REORDERED"
    """Positions that contradict the order of the events."""
    BACKDATED = "BACKDATED"
    """An event that is earlier than the one before it."""
    TRUNCATED_TAIL = "TRUNCATED_TAIL"
    """The newest part of the log is gone."""
    SEQ_GAP = "SEQ_GAP"
    """A number is left out in a job's history."""
    ILLEGAL_TRANSITION = "ILLEGAL_TRANSITION"
    """An event that no decision could have made after the events before it."""
    VIEW_DRIFT = "VIEW_DRIFT"
    """The view is not what the log says."""
    GUARD_MISSING = "GUARD_MISSING"
    """A trigger, a constraint or another guard of the tables is gone, off, or not ours."""
