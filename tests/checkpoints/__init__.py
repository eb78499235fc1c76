"""Signed checkpoints: keys, copies outside, and witnesses.

kill_witness.py          kills a witness at random moments: `python -m tests.checkpoints.kill_witness`
logs.py                  a log in memory, and its signed checkpoints
put_server.py            a server that takes PUT requests and can misbehave
signed_logs.py           signed logs in a database
test_copies_file.py      copies in a file that is only appended to
test_copies_http.py      copies on a server that takes PUT requests
test_copies_url.py       what AUDIT_CHECKPOINT_URL may hold
test_keys.py             the settings of keys, and what a wrong one is answered
test_witness.py          what a witness cosigns, and what it refuses
test_witness_client.py   the log asks witnesses for cosignatures
test_witness_process.py  a witness as a process, over HTTP
witnesses.py             a witness in a process of its own, and a log that asks it
"""
