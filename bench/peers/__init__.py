"""The other queues. Each module runs in its own environment (bench/environments.py)."""
