"""The parts of a verification of the log (`projections/verify.py` puts them together).

checkpoints.py   the signed checkpoints and their copies, compared with the tree
cursor.py        the sealer's cursor, compared with the events and positions
findings.py      the findings, and what a verification has covered
histories.py     folds a job's history and compares it with the view, and names every fault
one_job.py       verifies one job, and checks that the signed tree holds its events
order.py         compares each position with its event: leaves, order, times, tiles
positions.py     turns what was found at positions into findings, and computes the tree
processes.py     the processes that verify parts of the log at the same time
ranges.py        divides the log into ranges, and reads a range in the form that is fast to check
redactions.py    the signed notes about erased data, and the events that they are about
since.py         verifies the events after an earlier verification on this machine
state.py         the file that holds the result of this machine's last verification without a fault
stored_bytes.py  a fast check that a history is sound and agrees with the view
"""
