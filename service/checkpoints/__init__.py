"""Signed checkpoints of the log.

keys.py  the keys that sign and verify the log
"""
