"""The Chatwork integration: its client, its tables and its two job types.

answers.py        chatwork's answers, read item by item (https://developer.chatwork.com/reference)
client.py         chatwork's API, as far as we need it (https://developer.chatwork.com/reference)
gaps.py           table `chatwork_gaps`
messages.py       tables `chatwork_messages` and `chatwork_reads`
messages_sync.py  the job type `chatwork_messages_sync`
rate_limit.py     chatwork's budget
rooms.py          table `chatwork_rooms`
rooms_sync.py     the job type `chatwork_rooms_sync`
sandbox.py        A small Chatwork on loopback, for development, the demo and the tests
sandbox_data.py   the rooms that the sandbox serves
unreadable.py     table `chatwork_unreadable`
"""
