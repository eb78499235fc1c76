"""The PostgreSQL that development and tests bring along.

binaries.py   the embedded PostgreSQL's programs
file_lock.py  locks of files (`flock`)
postgres.py   the embedded PostgreSQL under RIREKI_HOME, shared by every process that uses the same home
server.py     one embedded server in its folder
"""
