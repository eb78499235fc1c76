"""The wire over Redis, in arq's own keys, so that arq's tools can read our queues.

Each job type has a queue of its own, a sorted set as arq makes it. An entry is
`<job_id>:<attempt>`, and its score is the time from which the attempt may run (Unix milliseconds).
Beside each entry there is arq's job key (JSON, never pickle). A push writes an existing entry again,
because the old entry may be incomplete. A worker claims with one Lua call for all its free slots,
and a claim lasts for `CLAIM_LASTS`. The entry is removed once `started` is durable or refused.
"""

import asyncio
import contextlib
import re
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from itertools import islice

import orjson
import structlog
from arq.connections import ArqRedis
from arq.constants import default_queue_name, in_progress_key_prefix, job_key_prefix, retry_key_prefix
from arq.jobs import serialize_job
from redis.exceptions import ReadOnlyError, RedisError, ResponseError

from events.concurrency import lasting
from events.rate_limited_log import LogLimit
from events.redis_connections import distrust, redis_pool, understood
from events.redis_faults import cause_of
from workers.delivery.wire import WINDOW, AttemptId, Capacity, Claim, Hint

log = structlog.get_logger(__name__)

WAKE = "rireki:wake"  # the key of a list; a worker that could claim nothing waits for an element
MOST_WAKES = 16  # the most elements that the list `WAKE` holds
MOST_FOREIGN = 1_000  # the most foreign entries (see `CLAIM`) that one claim removes from a queue
CLAIM_LASTS = 10_000  # milliseconds; after that, other workers may claim the jobs of a worker that died before `started`
ENTRY_LASTS = 86_400_000  # milliseconds (one day, arq's default)

# Claims by the rules of `Capacity`, the lowest scores first. Scores are not compared with a clock,
# because only due entries are pushed. Foreign entries (not `<job_id>:<attempt>`) are removed and
# counted, a limited number in each call, because Redis serves nobody else while a script runs.
CLAIM = """
local slots, kept, claims, lasts, most_foreign = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3], ARGV[4], tonumber(ARGV[5])
local read, ids, at, claimed, taken, foreign = {}, {}, {}, {}, 0, 0
local hex = '[0-9a-f][0-9a-f][0-9a-f][0-9a-f]'
local form = '^' .. hex .. hex .. ('%-' .. hex):rep(4) .. hex .. hex .. ':[1-9]%d*$'

local function take(n)
    while true do
        if not ids[n] or at[n] > #ids[n] then
            if ids[n] and #ids[n] < 200 then return false end
            ids[n], at[n] = redis.pcall('zrange', KEYS[n], read[n] or 0, (read[n] or 0) + 199), 1
            if ids[n].err then
                -- A foreign value of another type. Remove it: a queue holds only hints, and the tick sends those again.
                redis.call('unlink', KEYS[n])
                ids[n], foreign = {}, foreign + 1
            end
            read[n] = (read[n] or 0) + 200
            if #ids[n] == 0 then return false end
        end
        local id = ids[n][at[n]]
        at[n] = at[n] + 1
        if #id > 46 or not string.match(id, form) then
            if foreign >= most_foreign then return false end
            redis.call('zrem', KEYS[n], id)
            read[n], foreign = read[n] - 1, foreign + 1
        elseif redis.call('set', claims .. id, '1', 'nx', 'px', lasts) then
            claimed[#claimed + 1], claimed[#claimed + 2] = n, id
            taken = taken + 1
            return true
        end
    end
end

local not_served = 0
for n = 1, #KEYS do
    if ARGV[5 + n] == 'idle' and not (taken < slots and take(n)) then not_served = not_served + 1 end
end
local most, more = slots - math.min(kept, not_served), true
while taken < most and more do
    more = false
    for n = 1, #KEYS do
        if taken < most and take(n) then more = true end
    end
end
return {foreign, claimed}
"""

# For each queue, removes the settled ids and adds the pushed ones (`id, score, arq's job`). Returns
# the length of each queue. Lua's `unpack` takes only some thousands of values at once, so one call
# gets at most `MOST_IN_A_CALL`.
SEND = """
local parts, lasts, wake, most_wakes = cjson.decode(ARGV[1]), ARGV[2], ARGV[3], tonumber(ARGV[4])
local jobs, claims, retries, claim_lasts = ARGV[5], ARGV[6], ARGV[7], tonumber(ARGV[8])
local pushed, lengths = 0, {}

-- A foreign value in the place of a queue or of the list is removed, because it would keep every hint out.
local function healed(key, ...)
    local answer = redis.pcall(...)
    if type(answer) == 'table' and answer.err and string.find(answer.err, 'WRONGTYPE', 1, true) then
        redis.call('unlink', key)
        answer = redis.call(...)
    end
    if type(answer) == 'table' and answer.err then error(answer) end
    return answer
end

for n, part in ipairs(parts) do
    local settled, entries, gone, waiting = part[1], part[2], {}, {}
    for _, id in ipairs(settled) do
        gone[#gone + 1], gone[#gone + 2], gone[#gone + 3] = jobs .. id, claims .. id, retries .. id
    end
    if #settled > 0 then
        redis.call('del', unpack(gone))
        healed(KEYS[n], 'zrem', KEYS[n], unpack(settled))
    end
    for i = 1, #entries, 3 do
        redis.call('set', jobs .. entries[i], entries[i + 2], 'px', lasts)
        -- A claim that lasts longer than ours is foreign. Remove it, because it hides the job.
        local left = redis.call('pttl', claims .. entries[i])
        if left == -1 or left > claim_lasts then redis.call('del', claims .. entries[i]) end
        waiting[#waiting + 1], waiting[#waiting + 2] = entries[i + 1], entries[i]
        pushed = pushed + 1
    end
    if #waiting > 0 then healed(KEYS[n], 'zadd', KEYS[n], unpack(waiting)) end
    lengths[n] = healed(KEYS[n], 'zcard', KEYS[n])
end
local wakes = healed(wake, 'llen', wake)
if wakes > most_wakes then redis.call('ltrim', wake, 0, most_wakes - 1) end
for _ = 1, math.min(pushed, 4, most_wakes - wakes) do
    redis.call('lpush', wake, '1')
end
return lengths
"""
MOST_IN_A_CALL = 1_000  # hints; Redis serves nobody else while a script runs


class RedisWire:
    """The wire over Redis, shared by all processes.

    `push` and `settle` only note what to send; one task sends it in batches. While Redis is
    unreachable, hints are dropped and the tick sends them again.
    """

    def __init__(self, url: str) -> None:
        self.redis = ArqRedis(
            redis_pool(url, socket_connect_timeout=5, socket_timeout=5, socket_keepalive=True),
            job_serializer=orjson.dumps,
            job_deserializer=orjson.loads,
            default_queue_name=default_queue_name,
        )
        distrust(self.redis)
        self._claim = self.redis.register_script(CLAIM)
        self._send_script = self.redis.register_script(SEND)
        self._pushed: dict[AttemptId, Hint] = {}
        self._settled: list[Claim] = []
        self._something_to_send = asyncio.Event()
        self._full_until: dict[str, float] = {}
        self._foreign = LogLimit()
        self._failed = LogLimit()
        self._waking: asyncio.Task[None] | None = None
        self._sender: asyncio.Task[None] | None = None
        self._stopping = False

    async def start(self) -> None:
        """Starts the task that sends hints."""
        self._sender = lasting(self._send(), "redis wire")

    async def stop(self) -> None:
        """Sends what still waits to be sent, if Redis answers, and closes the connections."""
        self._stopping = True
        self._something_to_send.set()
        if self._sender is not None:
            await asyncio.wait({self._sender})
        if self._waking is not None:
            self._waking.cancel()
            await asyncio.gather(self._waking, return_exceptions=True)
        await self.redis.aclose(close_connection_pool=True)

    def push(self, hints: Iterable[Hint], *, even_if_full: bool = False) -> None:
        now = time.monotonic()
        self._pushed.update((hint.id, hint) for hint in hints if even_if_full or now >= self._full_until.get(hint.type, 0.0))
        self._something_to_send.set()

    async def claim(self, capacity: Capacity) -> list[Claim]:
        """Takes hints as `Wire.claim` says.

        Raises:
            RedisError: Redis is unreachable.
        """
        while True:
            foreign, claims = await self._claim_once(capacity)
            if foreign and (dropped := self._foreign.count(foreign)) is not None:
                log.warning("foreign entries were removed from the job queues in Redis", entries=dropped)
            if claims or foreign < MOST_FOREIGN:
                return claims

    async def _claim_once(self, capacity: Capacity) -> tuple[int, list[Claim]]:
        """Returns the number of foreign entries that were removed, and the claims."""
        types = capacity.types
        idle = ["idle" if job_type in capacity.idle else "" for job_type in types]
        async with self._leaving_demoted():
            answer = await self._claim(
                keys=[queue_of(job_type) for job_type in types],
                args=[capacity.slots, capacity.kept, in_progress_key_prefix, CLAIM_LASTS, MOST_FOREIGN, *idle],
            )
        with understood():
            foreign, entries = answer
            return int(foreign), [
                Claim(_attempt_id(entry), types[n - 1]) for n, entry in zip(entries[::2], entries[1::2], strict=True)
            ]

    def settle(self, claim: Claim) -> None:
        self._settled.append(claim)
        self._something_to_send.set()

    async def wait(self) -> None:
        """Waits as `Wire.wait` says.

        Raises:
            RedisError: Redis is unreachable.
        """
        # The blocking read runs in a task of its own, because cancelling it would close its
        # connection.
        if self._waking is None:
            self._waking = asyncio.create_task(self._wait_for_push(), name="redis wire: waiting for a push")
        waking = self._waking
        await asyncio.wait({waking})
        if self._waking is waking:
            self._waking = None
        waking.result()

    async def length(self, job_type: str) -> int:
        try:
            with understood():
                return int(await self.redis.zcard(queue_of(job_type)))
        except (RedisError, OSError):
            return WINDOW

    async def _wait_for_push(self) -> None:
        try:
            async with self._leaving_demoted():
                await self.redis.blpop([WAKE], timeout=1)  # type: ignore[misc]
        except ResponseError as error:
            if not str(error).startswith("WRONGTYPE"):
                raise
            # Another program has stored a value under the key of the list. It is removed, because
            # it keeps every worker from waiting for a push.
            await self.redis.unlink(WAKE)

    @contextlib.asynccontextmanager
    async def _leaving_demoted(self) -> AsyncIterator[None]:
        """Closes all connections when a failover has turned their server into a replica.

        New connections then reach the new primary.
        """
        try:
            yield
        except ReadOnlyError:
            log.warning("wire: this Redis has become a replica; connecting to the new primary")
            # Errors are ignored, because a connection that fails to close is dropped from the pool,
            # too.
            with contextlib.suppress(RedisError, OSError):
                await self.redis.connection_pool.disconnect(inuse_connections=True)
            raise

    async def _send(self) -> None:
        while not self._stopping or self._pushed or self._settled:
            await self._something_to_send.wait()
            self._something_to_send.clear()
            try:
                async with self._leaving_demoted():
                    await self._send_once()
            except (RedisError, OSError) as error:
                # The tick sends the lost hints again, and the log refuses a settled attempt that is
                # claimed again.
                if (times := self._failed.count()) is not None:
                    log.warning(
                        "wire: Redis is unreachable; hints of due jobs will be sent again", error=cause_of(error), times=times
                    )
                await asyncio.sleep(0.2)

    async def _send_once(self) -> None:
        """Sends pending hints and settled claims, at most `MOST_IN_A_CALL`, in one call."""
        queues: defaultdict[str, _ToSend] = defaultdict(_ToSend)
        settled, self._settled = self._settled[:MOST_IN_A_CALL], self._settled[MOST_IN_A_CALL:]
        for claim in settled:
            queues[claim.type].settled.append(str(claim.id))
        now = int(time.time() * 1000)
        for attempt_id in list(islice(self._pushed, MOST_IN_A_CALL - len(settled))):
            hint = self._pushed.pop(attempt_id)
            queues[hint.type].pushed += (str(attempt_id), int(hint.run_at.timestamp() * 1000), _arq_job(hint, now))
        if self._pushed or self._settled:
            self._something_to_send.set()
        if not queues:
            return
        lengths = await self._send_script(
            keys=[queue_of(job_type) for job_type in queues],
            args=[
                orjson.dumps([(part.settled, part.pushed) for part in queues.values()]),
                ENTRY_LASTS, WAKE, MOST_WAKES, job_key_prefix, in_progress_key_prefix, retry_key_prefix, CLAIM_LASTS,
            ],
        )  # fmt: skip
        with understood():
            full = [
                job_type
                for (job_type, part), length in zip(queues.items(), lengths, strict=True)
                if part.pushed and length > WINDOW
            ]
        self._full_until.update(dict.fromkeys(full, time.monotonic() + 1))


@dataclass(slots=True)
class _ToSend:
    """The input of `SEND` for one queue: settled ids; `id, score, arq's job` of each push."""

    settled: list[str] = field(default_factory=list)
    pushed: list[str | int] = field(default_factory=list)


def queue_of(job_type: str) -> str:
    """Returns the name of a job type's queue in Redis.

    It has a slash, because arq makes the names of other keys by appending a colon and a word.
    """
    return f"{default_queue_name}/{job_type}"


def _arq_job(hint: Hint, now: int) -> str:
    job = serialize_job(hint.type, (hint.id.job_id, hint.id.attempt), {}, None, now, serializer=orjson.dumps)
    assert job is not None
    return job.decode()


ENTRY = re.compile(rb"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}):([1-9][0-9]{0,8})")


def _attempt_id(entry: bytes) -> AttemptId:
    """Parses an entry. Raises `TypeError` or `ValueError` if it is not `<job_id>:<attempt>`."""
    found = ENTRY.fullmatch(entry)
    if found is None:
        raise ValueError("an entry must be `<job_id>:<attempt>`")
    return AttemptId(found[1].decode(), int(found[2]))
