"""The jobs view, the order and the search of the log, and the checks of both.

changes.py   the log as changes: the state of each job after each event
checkpoints.py  signs checkpoints of the log, keeps them, and begins new logs
cosignatures.py  finds the witnesses that have not cosigned yet
entries.py   reads the entries of events: bundles, and single events
export.py    reads the whole log, many events at a time, for an export
export_directory.py  writes the log as a directory that a stranger can verify
export_lines.py  the lines of an export: one event each
exported_events.py  compares the events of an exported directory with its entries
exported_files.py  reads files of an exported directory that may come from a stranger
guards.py    compares the log's triggers and constraints with those of the migrations
jobs.py      reads the jobs view: pages, counts, due attempts
proof/       the formats in which the log can be proved to a stranger
past_jobs.py  all jobs as they stood at a past moment
proving.py   makes the proof that an event is in the signed log
rebuild.py   builds a new jobs view beside the live one, then swaps them
seal.py      gives every event its position in the whole log
search.py    finds events in the log by actor, type or job, forwards or backwards
tiles.py     the SQL that writes the tiles of the log
tree.py      the log's Merkle tree, read from the tiles: roots and proofs of any size
verify.py    verifies the log: events, positions, tree, checkpoints, the view, and the guards
verify_export.py  verifies an exported directory offline
verify_proof.py  verifies the proof of one event offline
verifying/   the parts of a verification
"""
