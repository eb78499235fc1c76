"""The formats of proofs about the log, as pure functions.

docs/log-format.md describes them. With them, somebody who does not trust the service can check the
log.

checkpoint.py   the text that a log signs about itself: origin, size, root
cosignature.py  the signature of a witness under a checkpoint (C2SP tlog-cosignature)
entry.py        an event as the bytes that its leaf hashes
log_proof.py    one entry's inclusion proof with its checkpoint (C2SP tlog-proof)
merkle.py       the Merkle tree of RFC 9162: root, inclusion proofs, consistency proofs
notes.py        notes one after another in a file
redaction.py    the text that is signed when the data of an event are erased
signed_note.py  a text with Ed25519 signatures, and its keys (C2SP signed-note)
succession.py   the lines by which a log names the log before it
tiles.py        paths and contents of tiles and entry bundles (C2SP tlog-tiles)
witness_request.py  what a log sends to a witness (C2SP tlog-witness)
"""
