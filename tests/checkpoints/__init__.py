"""Tests of signed checkpoints.

test_keys.py  the settings of keys, and what a wrong one is answered
"""
