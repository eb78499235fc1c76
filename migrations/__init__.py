"""The schema of the database, step by step: plain SQL inside each Alembic revision. Imports nothing of ours."""
