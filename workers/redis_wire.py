"""The wire over Redis, in arq's own keys: an arq client's tools see the queue as they see any other.

An entry is `<job_id>:<attempt>` in arq's sorted set, its score the time from which it may run, with arq's job key beside it
(JSON, never pickle). It is written over whatever is there, since arq's own "exists already" would hide a lost hint. A claim is
one Lua call for all free slots and lasts for ten seconds; the entry leaves Redis wholly once `started` is durable or refused.
"""

import asyncio
import re
import time
from collections.abc import Iterable

import orjson
import structlog
from arq.connections import ArqRedis
from arq.constants import default_queue_name, in_progress_key_prefix, job_key_prefix, retry_key_prefix
from arq.jobs import serialize_job
from redis.asyncio import ConnectionPool
from redis.exceptions import RedisError

from workers.deliver import WINDOW, AttemptId, Hint

log = structlog.get_logger(__name__)

WAKE = "rireki:wake"  # a list: a worker that found nothing to claim waits for an element of it
MOST_WAKES = 64
CLAIM_LASTS = 10_000  # milliseconds: a worker that dies between claim and `started` hides its jobs no longer
ENTRY_LASTS = 86_400_000  # milliseconds, arq's own default

# The lowest scores first, whatever the local clock says: who put an entry there knew that it was due.
CLAIM = """
local claimed = {}
local from = 0
while #claimed < tonumber(ARGV[1]) do
    local ids = redis.call('zrange', KEYS[1], from, from + 199)
    for _, id in ipairs(ids) do
        if #claimed == tonumber(ARGV[1]) then break end
        if redis.call('set', ARGV[2] .. id, '1', 'nx', 'px', ARGV[3]) then claimed[#claimed + 1] = id end
    end
    if #ids < 200 then break end
    from = from + 200
end
return claimed
"""


class RedisWire:
    def __init__(self, url: str) -> None:
        self.redis = ArqRedis(
            ConnectionPool.from_url(url, socket_connect_timeout=5, socket_timeout=5, socket_keepalive=True),
            job_serializer=orjson.dumps,
            job_deserializer=orjson.loads,
            default_queue_name=default_queue_name,
        )
        self._claim = self.redis.register_script(CLAIM)
        self._pushed: dict[AttemptId, Hint] = {}
        self._settled: list[AttemptId] = []
        self._something_to_send = asyncio.Event()
        self._full_until = 0.0
        self._sender: asyncio.Task[None] | None = None
        self._stopping = False

    async def start(self) -> None:
        self._sender = asyncio.create_task(self._send(), name="redis wire")

    async def stop(self) -> None:
        """Sends what is left, if Redis takes it."""
        self._stopping = True
        self._something_to_send.set()
        if self._sender is not None:
            await asyncio.wait({self._sender})
        await self.redis.aclose(close_connection_pool=True)

    def push(self, hints: Iterable[Hint], *, even_if_full: bool = False) -> None:
        if not even_if_full and time.monotonic() < self._full_until:
            return
        self._pushed.update((hint.id, hint) for hint in hints)
        self._something_to_send.set()

    async def claim(self, most: int) -> list[AttemptId]:
        """Raises `RedisError` while Redis is away."""
        entries = await self._claim(keys=[default_queue_name], args=[most, in_progress_key_prefix, CLAIM_LASTS])
        claimed = [_attempt_id(entry) for entry in entries]
        foreign = [entry for entry, id in zip(entries, claimed, strict=True) if id is None]
        if foreign:
            log.warning("entries in the queue that are no attempts of ours were dropped", entries=len(foreign))
            await self.redis.zrem(default_queue_name, *foreign)
        return [id for id in claimed if id is not None]

    def settle(self, attempt: AttemptId) -> None:
        self._settled.append(attempt)
        self._something_to_send.set()

    async def wait(self) -> None:
        """Raises `RedisError` while Redis is away."""
        await self.redis.blpop([WAKE], timeout=1)  # type: ignore[misc]

    async def _send(self) -> None:
        while not self._stopping or self._pushed or self._settled:
            await self._something_to_send.wait()
            self._something_to_send.clear()
            try:
                await self._send_once()
            except (RedisError, OSError) as error:
                # What was to be pushed is lost, and found by the tick; what was settled is refused by the log if it is claimed.
                log.warning("wire: Redis is away", error=str(error))
                await asyncio.sleep(0.2)

    async def _send_once(self) -> None:
        """All that has come together meanwhile, in one pipeline."""
        pushed, self._pushed = self._pushed, {}
        settled, self._settled = self._settled, []
        if not pushed and not settled:
            return
        async with self.redis.pipeline(transaction=False) as pipe:
            for id in settled:
                pipe.delete(f"{job_key_prefix}{id}", f"{in_progress_key_prefix}{id}", f"{retry_key_prefix}{id}")
            if settled:
                pipe.zrem(default_queue_name, *map(str, settled))
            now = int(time.time() * 1000)
            for hint in pushed.values():
                pipe.psetex(f"{job_key_prefix}{hint.id}", ENTRY_LASTS, _arq_job(hint, now))
            if pushed:
                scores = {str(hint.id): int(hint.run_at.timestamp() * 1000) for hint in pushed.values()}
                pipe.zadd(default_queue_name, scores, nx=True)  # delivered again, it keeps its place
                pipe.lpush(WAKE, *["1"] * min(len(pushed), 4))
                pipe.ltrim(WAKE, 0, MOST_WAKES - 1)
            pipe.zcard(default_queue_name)
            waiting = (await pipe.execute())[-1]
        if waiting > 2 * WINDOW:
            self._full_until = time.monotonic() + 1


def _arq_job(hint: Hint, now: int) -> bytes:
    job = serialize_job(hint.type, (hint.id.job_id, hint.id.attempt), {}, None, now, serializer=orjson.dumps)
    assert job is not None
    return job


ENTRY = re.compile(rb"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}):([1-9][0-9]{0,8})")


def _attempt_id(entry: bytes) -> AttemptId | None:
    found = ENTRY.fullmatch(entry)
    return AttemptId(found[1].decode(), int(found[2])) if found else None
