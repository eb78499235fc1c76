"""The list of deliberate breaks, by subject.

The old text of each edit must be in its file exactly once. Otherwise the list no longer fits the
code, which is an error (`tests/mutants/test_caught.py` checks this in every run of the tests). Keep
the texts short: a short text changes less often.

edit.py                    `Break`, `Edit`, and the names of the edited files
log_writes.py              the statement that writes the log, and writes whose outcome is unknown
fence.py                   the fence against late workers
liveness.py                heartbeats and rescue
delivery.py                delivery and slots
signing.py                 signed checkpoints: the proof before a signature, the copies, the key
stopping.py                stopping, canceling, deadlines
streams.py                 streams and exports over HTTP, and the record of access
witness.py                 copies of checkpoints outside, and witnesses
log_order_and_chatwork.py  the order of the log, the request budget, Chatwork's answers
"""

from tests.mutants.breaks import (
    delivery,
    fence,
    liveness,
    log_order_and_chatwork,
    log_writes,
    signing,
    stopping,
    streams,
    witness,
)
from tests.mutants.breaks.edit import Break

__all__ = ["BREAKS", "Break"]

BREAKS = (
    *log_writes.BREAKS,
    *fence.BREAKS,
    *liveness.BREAKS,
    *delivery.BREAKS,
    *stopping.BREAKS,
    *log_order_and_chatwork.BREAKS,
    *signing.BREAKS,
    *streams.BREAKS,
    *witness.BREAKS,
)
