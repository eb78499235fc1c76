"""Heartbeats, and the rescue of jobs whose worker is gone.

heartbeat.py     sends this worker's heartbeats, declares silent workers gone, rescues their jobs
worker_table.py  the SQL of the table `workers`, and the list of workers for people
"""
