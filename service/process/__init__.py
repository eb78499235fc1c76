"""A process from start to end.

assembly.py  A process of ours, from its settings
serve.py     running the processes
shutdown.py  ends a process in time
watchdog.py  ends this process where it is asked to end and does not
"""
