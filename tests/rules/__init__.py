"""The rules of a job (`events/job.py`, `events/stored.py`), tested without a database.

jobs.py                    a job in each state
test_attempts.py           how many attempts a job gets
test_broken_histories.py   histories that `evolve` refuses
test_events_roundtrip.py   events survive their stored form, for random histories
test_fence.py              a worker may write only for its own running attempt
test_fold.py               the fields of a job after each event
test_transitions.py        the table of states and events, cell by cell
"""
