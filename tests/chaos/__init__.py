"""The chaos campaign breaks real servers and processes under load, then checks the log.

__main__.py    the command `python -m tests.chaos`
campaign.py    one campaign from start to end
plan.py        the sizes of a campaign, and the plan of its faults from a seed
faults.py      carries out the planned faults
fleet.py       starts, kills, stops and restarts the processes of the service
processes.py   the child processes: `serve` and `work` with the job types of the load
signing.py     the log's key, its copies outside and its witness, and the check of all that was signed
servers.py     a PostgreSQL that can be killed and started again
network.py     a TCP proxy before each server, which can break or delay connections
load.py        the clients that queue, watch, cancel and retry jobs
work.py        the job types of the load, and the endpoint that queues them
watch.py       compares view and log, and reads the log, while the faults go on
record.py      records each request and answer of the clients
rows.py        reads the database directly, not through the proxy
history.py     computes jobs from their events again, by code written from the contract alone
checks.py      compares the clients' record, the log and the view
report.py      the report of a campaign
test_signing.py tests of the check of everything that was signed
test_checks.py tests of the checks themselves
"""
