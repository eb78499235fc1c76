"""Tests of delivery: a due job reaches a worker even if its hint is lost or Redis fails.

deliveries.py          reads what is in Redis, for waits and assertions
test_pick_up.py        hints, ticks, backlogs, and slots that stay free for idle types
test_wrong_hints.py    hints that are late, sent twice, foreign or wrong
test_redis_keys.py     the keys in Redis: entries, claims, settling
test_redis_away.py     Redis is down, slow, restarted or emptied
test_hostile_redis.py  foreign bytes in Redis and on the bus
"""
