"""The names of the faults that a verification of the log may find.

People search for these names, so the names never change.
"""

from enum import StrEnum


class FindingName(StrEnum):
    MODIFIED = "MODIFIED"
    """An event is not as it was when it got its position, or its data are not as the service writes them."""
    MISSING = "MISSING"
    """An event that had a position is gone, or a position is gone."""
    INSERTED = "INSERTED"
    """An event or a position was added by something other than an append or the sealer."""
    REORDERED = "REORDERED"
    """Positions are not in the order in which events get them."""
    BACKDATED = "BACKDATED"
    """The time of an event is before that of its job's previous event, or long before an earlier position's."""
    TRUNCATED_TAIL = "TRUNCATED_TAIL"
    """The newest part of the log is gone, or the sealer's cursor, which holds its end."""
    SEQ_GAP = "SEQ_GAP"
    """A `seq` is missing in the history of a job."""
    ILLEGAL_TRANSITION = "ILLEGAL_TRANSITION"
    """No decision could have produced the event after the events before it."""
    VIEW_DRIFT = "VIEW_DRIFT"
    """A row of the jobs view differs from the state that the job's events give."""
    GUARD_MISSING = "GUARD_MISSING"
    """A trigger, constraint or other guard of the tables is missing, changed or not ours."""
    INCONSISTENT = "INCONSISTENT"
    """The log does not extend a checkpoint that was signed before, so one of the two was forged or set back.

    Or the checkpoint is of another log.
    """
    BAD_SIGNATURE = "BAD_SIGNATURE"
    """A checkpoint, a cosignature or a note about erased data is not signed by a trusted key."""
    REDACTED = "REDACTED"
    """The data of an event were erased, and a signed note says so. This is no fault."""


NO_FAULT = frozenset({FindingName.REDACTED})
"""The names of findings that are reported and are no fault."""
