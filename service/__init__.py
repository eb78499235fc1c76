"""Talking to people: commands, processes, the HTTP API and the page.

accounts/           people, their passwords and the secrets kept in files
allowed_hosts.py    the names that the API answers to
allowed_origins.py  the pages of other origins that may call the API
api/                the endpoints, one file for each subject
audit_values.py     reads the values of the AUDIT_… settings
checkpoint_url.py   checks AUDIT_CHECKPOINT_URL
checkpoints/        signed checkpoints of the log: keys, signing, copies outside, witnesses
cli.py              the command `rireki`
cli_checkpoints.py  the commands `rireki audit keygen`, `key`, `checkpoint`, `new-log`
cli_jobs.py         the commands `rireki jobs`
cli_users.py        the commands `rireki users`
cli_verify.py       the command `rireki audit verify`
commands/           what the commands of `rireki` do
config.py           the settings of a process
embedded/           the PostgreSQL server that starts without DATABASE_URL
http/               what every request passes through
limit_values.py     reads the values of the LIMIT_… settings
limits/             the limits of one person over all processes
live/               streams of changes, and verifications of the log
page.py             serves the built page
process/            a process from its start to its end
readiness.py        checks that the database fits this version
redis_url.py        checks REDIS_URL
trusted_proxies.py  finds the client's address of a request behind trusted proxies
web/                the page's sources
"""
