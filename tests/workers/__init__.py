"""Tests of the workers.

test_job_type.py            unique keys, the wait before a retry, and payloads
test_outgoing_http.py       the proxy and the certificates of the HTTP clients
test_outgoing_addresses.py  connections go to checked addresses, over real sockets
test_outgoing_rules.py      which servers may be called
attempt/                    one attempt, from start to end
delivery/                   how a due job reaches a worker
liveness/                   heartbeats, rescue, stopping
chatwork/                   the Chatwork client, its tables and its job types
summaries/                  companies and their drafts
"""
