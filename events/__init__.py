"""The rules of a job, and the append-only log of the events of all jobs.

audit_findings.py       the names of the findings of a verification of the log
batch_writer.py         sends one batch of writes, again if it must, and writes each event once
bus.py                  announces changes of jobs, in this process and over Redis
concurrency.py          lasting tasks, shared deadlines, monotonic time
database.py             the connections to PostgreSQL, their settings and timeouts
database_check.py       checks at the start of a process that the database can be used
database_clock.py       estimates PostgreSQL's clock, for the time of events
database_faults.py      database errors that need an operator, each with its remedy
database_url.py         reads DATABASE_URL: parts, options, refusals
group_commit.py         collects concurrent writes into shared statements
history.py              reads events: of a job, of the whole log, of a past state
job.py                  Job, Status, the six events, decisions and `evolve`; all pure
positions.py            SQL that reads the positions of events: which event, which position
rate_limited_log.py     limits how often one kind of log line is written
redis_connections.py    connections to Redis that raise only `RedisError` when they fail
redis_faults.py         errors of Redis that need an operator, each with its remedy
secret_redaction.py     removes secrets from text that is stored, logged or printed
statements.py           all SQL that writes the log and the view, or reads the log
store.py                create a job, append to its history, start an attempt
stored.py               converts events to and from their stored JSON
writes.py               a new job, one pending write, and the errors of a write
"""
