"""Tests of heartbeats, rescue and stopping.

rescues.py              runs a second process with a short lease, and reads the table of workers
test_living_workers.py  no living worker is declared gone
test_dead_workers.py    the jobs of killed, frozen or lost workers are retried or failed
test_reconcile.py       a worker compares the log with its attempts in hand
test_stopping.py        a worker that stops hands its jobs back
test_outages.py         PostgreSQL unreachable, a frozen process, a Redis that becomes a replica
"""
