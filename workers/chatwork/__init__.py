"""The Chatwork client, its tables and its two job types.

client.py         sends requests to Chatwork, with retries
answers.py        parses Chatwork's answers item by item
rate_limit.py     the request budget that all processes share: 300 requests in any 5 minutes
waiting.py        reports in a sync's progress that the sync waits for the budget
rooms_sync.py     the job type `chatwork_rooms_sync`
rooms.py          table `chatwork_rooms`: rooms, and when each was read last
messages_sync.py  the job type `chatwork_messages_sync`
messages.py       tables `chatwork_messages` and `chatwork_reads`; says why no message is lost
gaps.py           table `chatwork_gaps`: places where messages may be missing
unreadable.py     table `chatwork_unreadable`: items that could not be read
sandbox/          a small Chatwork server on loopback for development, demo and tests
"""
