"""A process of the service from its start to its end.

assembly.py  opens everything that a process needs, in order, and closes it
serve.py     runs the API or a worker until a signal
shutdown.py  hears signals, and ends the process in time
watchdog.py  a second process that kills this one if it does not end in time
witness.py   runs a witness of other logs, without a database
"""
