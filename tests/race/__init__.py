"""Many writers on few jobs, while connections break and judges compare log and view.

__main__.py    the race: `python -m tests.race`
check.py       the independent judge of histories, written without `events/job.py`
test_race.py   a small race in CI, and forgeries that the judges must find
writers.py     the writers, in several processes
"""
