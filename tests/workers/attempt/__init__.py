"""Tests of one attempt, whatever its handler does.

attempts.py                   runs a job and waits for its end
test_outcomes.py              completed, failed, retried, given up, timed out
test_misbehaving_handlers.py  strange exceptions, results that are not JSON, stuck handlers
test_cancel.py                cancels at every moment, and reasons to stop that come together
test_effects.py               the fenced transaction
test_progress.py              throttled progress reports
test_end_of_attempt.py        the seam to the worker: `ended` is called once
test_slots.py                 slots are taken and released exactly once
"""
