"""Counts in Redis, for all processes, by scripts that run inside Redis.

While Redis is unreachable, each process counts alone.

Anybody who reaches Redis can write into its keys. So the scripts drop every value that they cannot have written themselves. A
false value that looks like ours can refuse a person until it expires, and nothing more.
"""

import asyncio
import math
import secrets
import time
from collections.abc import Sequence

import structlog
from redis.asyncio import Redis
from redis.commands.core import AsyncScript
from redis.exceptions import RedisError

from events.rate_limited_log import LogLimit
from events.redis_connections import distrust, redis_pool, understood
from events.redis_faults import cause_of
from service.accounts.sign_in_limit import REDIS_RESTS, REDIS_WITHIN
from service.limits.sliding_window import STEPS

log = structlog.get_logger("rireki.limits")

PREFIX = "rireki:limit"
LEASE = 15.0  # seconds after which the open responses of a dead process are forgotten
MOST_FIELDS = 1000  # fields of a hash in Redis; a hash with more was written by another program

# Counts requests of several people. KEYS: one hash for each person, from the number of a step to its count. ARGV: the
# milliseconds of a step, then three numbers for each person: the limit, the requests to count in any case, and the requests that
# ask whether they may pass. Returns three numbers for each person: how many may pass, how many more fit into the window, and the
# milliseconds until the next one fits.
COUNT_REQUESTS = f"""
local time = redis.call('time')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local step = tonumber(ARGV[1])
local current = math.floor(now / step)
local answer = {{}}
for i, key in ipairs(KEYS) do
    local most, passed, asking = tonumber(ARGV[3 * i - 1]), tonumber(ARGV[3 * i]), tonumber(ARGV[3 * i + 1])
    if redis.call('type', key).ok ~= 'hash' or redis.call('hlen', key) > {MOST_FIELDS} then redis.call('del', key) end
    local counts, total, fields = {{}}, 0, redis.call('hgetall', key)
    for j = 1, #fields, 2 do
        local at, count = tonumber(fields[j]), tonumber(fields[j + 1])
        local ours = fields[j]:match('^%d+$') and fields[j + 1]:match('^%d+$')
        if ours and at >= current - {STEPS} and at <= current and count <= 1000 * most then
            counts[#counts + 1] = {{at, count}}
            total = total + count
        else
            redis.call('hdel', key, fields[j])
        end
    end
    local granted = math.max(0, math.min(asking, most - total - passed))
    total = total + passed + granted
    if passed + granted > 0 then
        redis.call('hincrby', key, string.format('%d', current), passed + granted)
        redis.call('pexpire', key, step * ({STEPS} + 2))
        counts[#counts + 1] = {{current, passed + granted}}
    end
    table.sort(counts, function(one, other) return one[1] < other[1] end)
    local surplus, wait = total - most, 0
    for _, counted in ipairs(counts) do
        if surplus < 0 then break end
        surplus = surplus - counted[2]
        wait = (counted[1] + 1 + {STEPS}) * step - now
    end
    answer[3 * i - 2], answer[3 * i - 1], answer[3 * i] = granted, math.max(0, most - total), wait
end
return answer
"""

# Writes how many responses this process holds open for several people. KEYS: one hash for each person, from a process to
# `<count>:<Unix milliseconds until it is forgotten>`. ARGV: this process, the milliseconds of a lease, then two numbers for each
# person: the count, and the most that all processes together may have. A count beyond that is not written. Returns for each
# person 1 if the count was written, else 0.
HOLD_OPEN = f"""
local time = redis.call('time')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local process, lease = ARGV[1], tonumber(ARGV[2])
local answer = {{}}
for i, key in ipairs(KEYS) do
    local count, most = tonumber(ARGV[2 * i + 1]), tonumber(ARGV[2 * i + 2])
    if redis.call('type', key).ok ~= 'hash' or redis.call('hlen', key) > {MOST_FIELDS} then redis.call('del', key) end
    local others, fields = 0, redis.call('hgetall', key)
    for j = 1, #fields, 2 do
        local open, until_then = fields[j + 1]:match('^(%d+):(%d+)$')
        open, until_then = tonumber(open), tonumber(until_then)
        if not open or open > most or until_then <= now or until_then > now + 2 * lease then
            redis.call('hdel', key, fields[j])
        elseif fields[j] ~= process then
            others = others + open
        end
    end
    if count == 0 then
        redis.call('hdel', key, process)
        answer[i] = 1
    elseif others + count <= most then
        redis.call('hset', key, process, string.format('%d:%d', count, now + lease))
        redis.call('pexpire', key, lease)
        answer[i] = 1
    else
        answer[i] = 0
    end
end
return answer
"""


class SharedCounts:
    """The counts of all processes, in one Redis.

    Each method returns None if Redis does not answer in time. Then it is not asked for some seconds, and the caller counts alone.
    """

    def __init__(self, redis_url: str) -> None:
        self.process = secrets.token_hex(8)
        self._redis = Redis.from_pool(redis_pool(redis_url, socket_timeout=2, socket_connect_timeout=2))
        distrust(self._redis)
        self._count_requests = self._redis.register_script(COUNT_REQUESTS)
        self._hold_open = self._redis.register_script(HOLD_OPEN)
        self._rests_until = 0.0
        self._told = LogLimit()

    async def close(self) -> None:
        await self._redis.aclose(close_connection_pool=True)

    async def count_requests(
        self, window: float, people: Sequence[tuple[str, int, int, int]]
    ) -> list[tuple[int, int, float]] | None:
        """Counts the requests of several people in a sliding window.

        `people` has a tuple for each person: (person, limit, requests that have passed, requests
        that ask whether they may pass). `window` is in seconds.

        Returns for each person how many of the asking requests may pass, how many more requests fit
        into the window, and the seconds until the next one fits.
        """
        step = math.ceil(window * 1000 / STEPS)
        numbers = [number for _, *counts in people for number in counts]
        names = [f"{PREFIX}:requests:{window:g}:{person}" for person, *_ in people]
        answer = await self._run(self._count_requests, names, [step, *numbers], 3 * len(people))
        if answer is None:
            return None
        return [(answer[i], answer[i + 1], answer[i + 2] / 1000) for i in range(0, len(answer), 3)]

    async def hold_open(self, what: str, people: Sequence[tuple[str, int, int]]) -> list[bool] | None:
        """Writes how many responses this process holds open for several people.

        `people` has a tuple for each person: (person, count, limit).

        Returns for each person whether the count fits the limit, together with the open responses
        of all other processes.
        """
        numbers = [number for _, *counts in people for number in counts]
        names = [f"{PREFIX}:{what}:{person}" for person, *_ in people]
        answer = await self._run(self._hold_open, names, [self.process, round(LEASE * 1000), *numbers], len(people))
        return None if answer is None else [number == 1 for number in answer]

    async def _run(self, script: AsyncScript, keys: list[str], values: list[int | str], length: int) -> list[int] | None:
        if time.monotonic() < self._rests_until:
            return None
        try:
            async with asyncio.timeout(REDIS_WITHIN):
                answer = await script(keys, values)
                with understood():
                    numbers = [int(number) for number in answer]
                    assert len(numbers) == length
                return numbers
        except (RedisError, OSError, TimeoutError) as error:
            self._rests_until = time.monotonic() + REDIS_RESTS
            if self._told.count() is not None:
                log.warning("limits: Redis is unreachable; each process counts only its own requests", error=cause_of(error))
            return None
