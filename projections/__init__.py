"""Tables folded from the log, its order, and the checks over the whole of it.

changes.py   the log as changes: the state of each job after each event
guards.py    compares the log's triggers and constraints with those of the migrations
jobs.py      reads the jobs view: pages, counts, due attempts
rebuild.py   builds the jobs view anew beside the live one, then swaps them
seal.py      gives every event its position in the whole log
search.py    finds events in the log by actor, type or job, forwards or backwards
verify.py    compares the view with a new fold of all events, and checks the log
"""
