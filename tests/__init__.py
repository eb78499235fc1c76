"""Tests with real PostgreSQL, real Redis and real HTTP. `servers.py` starts the servers."""
