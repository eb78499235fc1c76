"""The other queues. Each module runs in a separate environment (bench/environments.py)."""
