"""Settings, the start and end of processes, migrations, and the embedded PostgreSQL.

test_config.py         the environment variables: accepted and refused values, messages
test_edge.py           the names a service answers to, and the servers it calls
test_embedded.py       the embedded PostgreSQL, which real processes use and kill
test_migrations.py     `rireki migrate`: concurrent, repeated, in any schema
test_pgbouncer.py      a connection pooler (PgBouncer) in front of the database
test_plain.py          data are printed without control characters
test_processes.py      `rireki serve` and `rireki worker`: signals, grace period, ends
test_replay.py         who, request and cause in a replay, on 80 columns
test_proof_commands.py `rireki audit proof` and `export --to`, and their verification offline
test_redis_address.py  REDIS_URL, and Redis servers that are not usable
test_rights.py         the rights of the roles, and the statements that need them
test_sealer.py         the processes that seal the log, and those that do not
test_secrets.py        secrets are removed from all output
test_start_faults.py   databases that are not usable: the message that each command prints
test_jobs_command.py    the commands `rireki jobs`
test_users_command.py  `rireki users`, and what the command line leaves on record
test_version.py        `rireki --version`
test_watchdog.py       a blocked process ends when asked to
"""
