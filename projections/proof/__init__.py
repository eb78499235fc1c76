"""The formats of proofs about the log, as pure functions.

docs/log-format.md describes them. With them, somebody who does not trust the service can check the
log.

checkpoint.py   the text that a log signs about itself: origin, size, root
entry.py        an event as the bytes that its leaf hashes
merkle.py       the Merkle tree of RFC 9162: root, inclusion proofs, consistency proofs
redaction.py    the text that is signed when the data of an event are erased
signed_note.py  a text with Ed25519 signatures, and its keys (C2SP signed-note)
succession.py   the lines by which a log names the log before it
tiles.py        paths and contents of tiles and entry bundles (C2SP tlog-tiles)
"""
