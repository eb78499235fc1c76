"""The names of what a verification of the log may find.

People search for them, so they never change.
"""

from enum import StrEnum


class FindingName(StrEnum):
    MODIFIED = "MODIFIED"
    """The data of an event differ from what the service writes."""
    MISSING = "MISSING"
    """An event that had a position is gone."""
    INSERTED = "INSERTED"
    """An event or a position that was added without an append and the sealer."""
    REORDERED = "REORDERED"
    """Positions that contradict the order of the events."""
    BACKDATED = "BACKDATED"
    """An event that is earlier than the one before it."""
    TRUNCATED_TAIL = "TRUNCATED_TAIL"
    """The newest part of the log is gone."""
    SEQ_GAP = "SEQ_GAP"
    """A `seq` is missing in the history of a job."""
    ILLEGAL_TRANSITION = "ILLEGAL_TRANSITION"
    """An event that no decision could have produced after the events before it."""
    VIEW_DRIFT = "VIEW_DRIFT"
    """A row of the jobs view differs from the fold of the job's events."""
    GUARD_MISSING = "GUARD_MISSING"
    """A trigger, constraint or other guard of the tables is missing, turned off or foreign."""
