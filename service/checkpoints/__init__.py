"""Signed checkpoints of the log: keys, signing, copies outside, and witnesses.

copies.py           opens the copies of checkpoints at AUDIT_CHECKPOINT_URL
copies_in_file.py   the copies in a file that is only appended to
copies_in_store.py  the copies as objects: on a server that takes PUT requests, or in an S3 bucket
copy_types.py       the interface of copies of checkpoints, and their errors
exchange.py         sends one request to a store of copies or to a witness
keys.py             the keys that sign and verify the log
object_http.py      reads and writes objects over HTTP
object_s3.py        reads, writes and lists objects in an S3 bucket
signing.py          signs checkpoints while the process runs, and copies them outside
trust.py            finds the keys, witnesses and outside copies that a verification trusts
witness.py          cosigns the checkpoints of another log
witness_client.py   asks witnesses to cosign the log's checkpoints
witness_state.py    the last checkpoint of each log that a witness has cosigned, in a folder
"""
