"""The limits of one person over all processes (the LIMIT_… settings).

active_jobs.py     LIMIT_ACTIVE_JOBS: a person's queued and processing jobs
leases.py          LIMIT_STREAMS and LIMIT_HELD_ANSWERS: open responses, counted by leases in Redis
limits.py          all limits of one process, and the count of one more job
over_limit.py      the exception of a request that is over a limit
paid_jobs.py       LIMIT_PAID_JOBS: paid jobs that a person has queued
request_rate.py    LIMIT_REQUESTS: requests in a sliding window
shared_counts.py   the scripts that count in Redis, and what happens while Redis is unreachable
sliding_window.py  counts in this process what happened in the last seconds
"""
