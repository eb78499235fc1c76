"""The tamper campaign: a superuser changes the log in many ways, and a verification must name each of them.

`python -m tests.tamper --tampers 1000 --clean 1000 [--seed N] [--save]` runs it. docs/reliability.md describes it.

campaign.py      runs tampers, each in a copy of one database, and verifications of sound logs under load
hand.py          what a skilled attacker does around a change: triggers off and on, the view and the tiles made to fit
kinds.py         the list of all kinds, with the findings that must name them
of_events.py     changes, removals and insertions of events
of_guards.py     triggers, constraints, indexes and rules of the database
of_positions.py  tiles, the tail and the sealer's cursor
of_signatures.py checkpoints, origins and notes about erased data
of_view.py       the jobs view
report.py        the table of the results
world.py         the sound database of which each tamper gets a copy, its keys, and the copies outside
"""
