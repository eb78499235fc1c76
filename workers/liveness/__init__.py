"""Heartbeats, and the rescue of jobs whose worker is gone.

heartbeat.py     liveness
worker_table.py  who works
"""
