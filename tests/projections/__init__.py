"""The jobs view, the order of the log, and the verification, on a real PostgreSQL.

histories_in_log.py   helpers: a job in each state, writers under load, tampering
test_export.py        an exported directory is verified, and every change of it is found
test_findings.py      every finding has a name and a place
test_guards.py        guards of the log that are missing, off or foreign
test_jobs_view.py     pages, counts and due attempts, compared with a full scan
test_log_search.py    searches of the log, compared with a full scan
test_rebuild.py       rebuilds of the view while the service runs
test_move_to_tiles.py rows of the version before become tiles while it runs beside
test_seal.py          positions of the log without gaps
test_tiles.py         positions and events in tiles, their leaves, epochs
test_tree.py          tiles, roots and proofs of every size, also while sealing goes on
test_verify.py        the verification finds tampering, and nothing in a sound log
test_verify_evidence.py keys, witnesses and copies count for the whole log and for one job
test_verify_since.py  a verification of what is new
tiled_logs.py         helpers: logs of many events, and what must hold of their tiles
version_before.py     the sealer and the queries of the version before tiles
"""
