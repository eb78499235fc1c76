"""The embedded PostgreSQL, for development and tests.

binaries.py   finds PostgreSQL's programs, and runs them as a user other than root
file_lock.py  advisory locks on files (`flock`)
postgres.py   joins or starts the server of RIREKI_HOME, which several processes share
server.py     creates, starts and stops one server in its folder
"""
