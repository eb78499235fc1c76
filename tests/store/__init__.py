"""Tests of the log (`events/store.py`) and its connections, with real servers.

stores.py                    helpers: counts, lock waits, running jobs
test_append.py               one append: the log and the view change together or not at all
test_broken_connections.py   appends whose connection breaks or stalls
test_bus.py                  announcements of changes between processes
test_cause.py                the cause of an event
test_checkpoint_guard.py     checkpoints and origins are only added
test_database.py             connections that break during a cancellation
test_database_faults.py      faults that need an operator, in log, API and /readyz
test_database_roles.py       attacks by a stolen role, and what shows those that succeed
test_database_settings.py    session settings that no server or role may change
test_database_url.py         the options of DATABASE_URL
test_deadlines.py            one timer for many deadlines
test_decided_again.py        decisions that are repeated on a changed job
test_group_commit.py         many writes in few transactions
test_idempotency.py          one job for each idempotency key
test_locked_rows.py          appends that meet a row lock or a full disk
test_log_guard.py            nobody can change the log
test_plans.py                query plans of the appends
test_races.py                random writers, and orders of locks
test_redis_connections.py    every failure of a connection is a RedisError
test_server_outages.py       PostgreSQL closes or refuses connections
test_time.py                 events have the time of the database
test_unique_keys.py          at most one active job for each unique key
"""
