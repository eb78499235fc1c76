"""Talking to people: commands, processes, the HTTP API and the page.

accounts/           people, their passwords and the secrets kept in files
api/                the endpoints, one subject a file
cli.py              the command `rireki`
commands/           what the commands of `rireki` do
config.py           the settings of a process
embedded/           the PostgreSQL that development and tests bring along
http/               what every request passes through
live/               what is watched while it changes
page.py             the page that people use
process/            A process from start to end
readiness.py        whether the database is the one that this version needs
redis_url.py        REDIS_URL
trusted_proxies.py  the client address of a request behind trusted proxies
"""
