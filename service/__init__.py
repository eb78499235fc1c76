"""Talking to people, and starting the processes."""
