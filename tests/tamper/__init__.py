"""The tamper campaign: a superuser changes the log in many ways, and a verification must report each change.

`python -m tests.tamper --tampers 1000 --clean 1000 [--seed N] [--save]` runs it. docs/reliability.md describes it.

campaign.py      runs tampers, each in a copy of one database, and verifications of sound logs under load
hand.py          the steps by which a skilled attacker hides a change: triggers off and on, view and tiles updated
kinds.py         the list of all kinds of tampers, and the findings that each must cause
of_events.py     changes, removals and insertions of events
of_guards.py     triggers, constraints, indexes and rules of the database
of_positions.py  tiles, the tail and the sealer's cursor
of_signatures.py checkpoints, origins and notes about erased data
of_view.py       the jobs view
report.py        the table of the results
world.py         the sound database, its keys, and the outside copies of its checkpoints; each tamper gets a copy of this
database
"""
