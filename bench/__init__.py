"""Measures Rireki and other queues on real servers: `python -m bench --help`."""
