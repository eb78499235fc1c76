"""Tests of one attempt from start to end, for handlers of every kind.

attempts.py                   runs a job and waits for its end
test_outcomes.py              completed, failed, retried, given up, timed out
test_misbehaving_handlers.py  strange exceptions, results that are not JSON, stuck handlers
test_cancel.py                cancels at every moment, and reasons to stop that come together
test_started_event.py         a handler names its `started` event as a cause
test_effects.py               the transaction that only the current attempt can commit
test_progress.py              throttled progress reports
test_end_of_attempt.py        an attempt tells its worker once that it ended
test_slots.py                 slots are taken and released exactly once
"""
