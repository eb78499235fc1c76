"""The database schema, step by step: plain SQL in Alembic revisions.

connection.py   the connection that migrates, and the lock by which processes take turns
env.py          Alembic's entry: opens the connection, runs the revisions
migrate.py      brings a database to the newest schema, and grants a role its rights
schema.py       every table and row type of the newest schema, with its columns
sql.py          runs a script of several SQL statements in a revision
versions/       the revisions, in order of their number

This package imports nothing of ours.
"""
