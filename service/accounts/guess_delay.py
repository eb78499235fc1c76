"""Growing delays between tries to guess one password, over all addresses and processes.

The first `FREE` wrong passwords cause no delay. Then each further try must wait about twice as long as the try before
it, up to `LONGEST`. One wrong password is forgotten every `FORGET_EVERY` seconds. So the password of an account can be
guessed about 20 times an hour, however many addresses take part, and the account is never locked. A refused try is not
counted and makes no wait longer.

`DELAY` in Lua and `attempt` in Python are the same rule: one runs inside Redis, the other in this
process. A test compares them.
"""

import time
from collections import OrderedDict
from dataclasses import dataclass

from redis.asyncio import Redis

FREE = 20
LONGEST = 300.0  # seconds
FORGET_EVERY = 180.0  # seconds
MOST_KEPT = 10_000  # accounts that a process remembers

DELAY = """
local now = redis.call('time')
now = now[1] + now[2] / 1000000
local kept = redis.call('hmget', KEYS[1], 'wrong', 'at')
local free, longest, forget_every, undo = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4] == '1'
local wrong, at = tonumber(kept[1]) or 0, tonumber(kept[2]) or 0
if undo then
    if kept[1] then redis.call('hset', KEYS[1], 'wrong', tostring(math.max(0, wrong - 1))) end
    return '0'
end
wrong = math.max(0, wrong - math.max(0, now - at) / forget_every)
local wait = 0
if wrong > free - 1 then wait = at + math.min(longest, 2 ^ (wrong - free)) - now end
if wait > 0 then return tostring(wait) end
redis.call('hset', KEYS[1], 'wrong', tostring(wrong + 1), 'at', string.format('%.6f', now))
redis.call('expire', KEYS[1], math.ceil((wrong + 1) * forget_every))
return '0'
"""


@dataclass(frozen=True, slots=True)
class Guesses:
    """The remembered wrong passwords of one account: their number, and the last try's time."""

    wrong: float = 0.0
    at: float = 0.0


def attempt(before: Guesses, now: float) -> tuple[Guesses, float]:
    """Counts one more try, if it is allowed at this time.

    Returns the new guesses and 0. If the try must wait, returns the old guesses and the seconds to
    wait.

    The try counts as wrong until it is taken back.
    """
    wrong = max(0.0, before.wrong - max(0.0, now - before.at) / FORGET_EVERY)
    wait = before.at + min(LONGEST, 2.0 ** (wrong - FREE)) - now if wrong > FREE - 1 else 0.0
    return (before, wait) if wait > 0 else (Guesses(wrong + 1, now), 0.0)


class GuessDelays:
    """Remembers the guesses in this process."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, Guesses] = OrderedDict()

    def wait_for(self, name: str) -> float:
        """Returns the seconds until a try is allowed, without counting one."""
        return attempt(self._kept.get(name, Guesses()), time.time())[1]

    def count(self, name: str) -> None:
        after, _ = attempt(self._kept.pop(name, Guesses()), time.time())
        self._kept[name] = after
        if len(self._kept) > MOST_KEPT:
            self._kept.popitem(last=False)

    def take_back(self, name: str) -> None:
        """Removes a try from the count, because its password was right."""
        if (kept := self._kept.get(name)) is not None:
            self._kept[name] = Guesses(max(0.0, kept.wrong - 1), kept.at)


class SharedGuessDelays:
    """Remembers the guesses in Redis, for all processes. Raises `RedisError`."""

    def __init__(self, redis: Redis) -> None:
        self._delay = redis.register_script(DELAY)

    async def count(self, name: str) -> float:
        """Counts a try and returns 0, if a try is allowed now.

        Otherwise returns the seconds until a try is allowed.
        """
        return float(await self._run(name, "0"))

    async def take_back(self, name: str) -> None:
        """Removes a try from the count, because its password was right."""
        await self._run(name, "1")

    async def _run(self, name: str, undo: str) -> str | bytes:
        answer: str | bytes = await self._delay([f"rireki:guesses:{name}"], [FREE, LONGEST, FORGET_EVERY, undo])
        return answer
