"""The race: many writers change the same few jobs while connections break and checks run.

__main__.py    the race: `python -m tests.race`
check.py       checks each job's history and row, by code written without `events/job.py`
sealers.py     sealers beside the writers, and the check of all roots that they published
test_race.py   a small race for `make test`, and forged rows that the checks must find
writers.py     the writers, in several processes
"""
