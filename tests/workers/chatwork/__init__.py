"""Tests of the Chatwork client, its tables and its job types, against the sandbox.

test_client.py         the client against a server with every fault
test_answers.py        parsing answers item by item
test_odd_messages.py   malformed items among good ones, and the error that names them
test_rate_limit.py     the request budget, over connections, processes and crashes
test_waiting.py        a sync reports in its progress that it waits for the budget
test_rooms_sync.py     the job type `chatwork_rooms_sync`
syncs.py               runs syncs of a sandbox, and acts out crashes
test_messages_sync.py  the job type `chatwork_messages_sync`
test_lost_messages.py  no message is lost when syncs break or overlap
test_gaps.py           places where messages may be missing
test_tables.py         rooms, messages and marks in their tables
test_sandbox.py        the sandbox behaves as Chatwork does
"""
