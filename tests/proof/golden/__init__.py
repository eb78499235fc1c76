"""Exported logs of each released format. Every later version must verify them, so they are never edited.

Each folder has a directory `log` that `rireki audit export --to` has written, `key` with the key that verifies it, and
`event.tlog-proof` with the proof of one event.

__main__.py  `python -m tests.proof.golden FOLDER` makes such a folder from a new database of `DATABASE_URL`
format-1/    format 1 of the log: every kind of event, a full tile, an erased event
"""
