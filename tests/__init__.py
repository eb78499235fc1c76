"""Real PostgreSQL, real Redis, real HTTP. `servers.py` brings them where the environment names none."""
