"""A deterministic simulation: it runs the real store, workers and rescue in virtual time.

__main__.py          runs many seeds, or traces one
checks.py            the invariants, checked after every statement and answer
clock.py             replaces time, random numbers and ids
faults.py            the faults of a run, drawn from its seed
handlers.py          job types whose handlers behave as their payload says
loop.py              an event loop with virtual time and an order drawn from a seed
node.py              one simulated process of the service
postgres.py          PostgreSQL in memory: connections, transactions, lost answers
statements.py        the effect of each SQL statement, in Python
test_simulation.py   some hundred seeds, for `make test`
wire.py              Redis in memory: messages that are lost, late or doubled
world.py             one run: processes, clients, faults, then the final checks
"""
