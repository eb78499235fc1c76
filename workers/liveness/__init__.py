"""Heartbeats, and the rescue of jobs whose worker is gone.

heartbeat.py     beats for the worker of this process, declares silent ones gone, rescues their jobs
worker_table.py  the SQL of the table `workers`, and the list of workers for people
"""
