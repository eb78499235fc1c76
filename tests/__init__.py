"""Tests with a real PostgreSQL, a real Redis and real HTTP.

`servers.py` starts the servers, and `http_client.py` makes HTTP clients.
"""
