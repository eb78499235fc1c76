"""Doing the work: delivery, attempts, rescue, and the job types themselves."""
