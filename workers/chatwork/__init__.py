"""Chatwork: its API (client.py) and its answers (answers.py), its request budget (rate_limit.py), its sandbox (sandbox.py,
sandbox_data.py); the rooms (rooms.py), messages and marks (messages.py), gaps (gaps.py) and what could not be read
(unreadable.py) that we keep; and the two jobs that fetch them (rooms_sync.py, messages_sync.py)."""
