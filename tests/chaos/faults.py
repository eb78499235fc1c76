"""Carries out the planned faults, each in a task of its own, and records their times."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import NamedTuple

import asyncpg
from arq.constants import in_progress_key_prefix
from redis.asyncio import Redis
from redis.exceptions import RedisError

from tests.chaos import rows
from tests.chaos.fleet import Fleet, Member
from tests.chaos.history import Violation
from tests.chaos.network import Cut, Line
from tests.chaos.plan import LASTS, Fault, Kind
from tests.chaos.servers import Postgres
from tests.chaos.signing import Signing
from tests.servers import RedisServer
from workers.delivery.redis_wire import RedisWire
from workers.delivery.wire import AttemptId, Hint

CUTS = {Kind.WRITE_LOST: Cut.WRITE_LOST, Kind.ANSWER_LOST: Cut.ANSWER_LOST, Kind.WRITE_LATE: Cut.WRITE_LATE}

RECENT = "select id::text, type, attempt, run_at from jobs order by updated_at desc limit 100"

# Selects rows that must never change again: ended jobs, the newest positions of the log, and keys.
# It returns their ids, because a transaction that commits later may add rows with an earlier time.
SETTLED_IDS = """
select
    (select array_agg(id) from (select id from jobs where status = 'completed' order by updated_at desc limit 3000) as newest),
    (select coalesce(max(position), 0) from job_event_log),
    (select array_agg(key) from (select key from idempotency_keys order by created_at desc limit 3000) as newest)
"""

SETTLED = """
select
    (select md5(string_agg(j::text, '' order by j.id)) from jobs j where j.id = any($1)),
    (select md5(string_agg(e.event_id || e.type || e.data::text, '' order by l.position))
     from job_event_log l join job_events e using (event_id) where l.position between $2 - 3000 and $2),
    (select md5(string_agg(k::text, '' order by k.user_id, k.key)) from idempotency_keys k where k.key = any($3))
"""


class Window(NamedTuple):
    """The time of a fault of this kind: from `begin` to `end` in Unix seconds."""

    kind: Kind
    begin: float
    end: float


class Faults:
    def __init__(
        self, postgres: Postgres, redis: RedisServer, fleet: Fleet, signing: Signing, say: Callable[[str], None], seed: int
    ) -> None:
        self.done: Counter[Kind] = Counter()
        self.windows: list[Window] = []
        self.violations: list[Violation] = []
        self.compared_flushes = 0
        self._postgres = postgres
        self._redis = redis
        self._fleet = fleet
        self._signing = signing
        self._say = say
        self._dice = random.Random(seed)
        self._postgres_lock = asyncio.Lock()
        self._redis_lock = asyncio.Lock()
        self._witness_lock = asyncio.Lock()
        self._give_up_at = 0.0
        self._how: dict[Kind, Callable[[Fault], Awaitable[bool]]] = {
            Kind.KILL_WORKER: self._kill_worker,
            Kind.KILL_API: self._kill_api,
            Kind.KILL_POSTGRES: self._kill_postgres,
            Kind.KILL_BACKEND: self._kill_backend,
            Kind.KILL_WITNESS: self._kill_witness,
            Kind.KILL_REDIS: self._kill_redis,
            Kind.FREEZE_REDIS: self._freeze_redis,
            Kind.FLUSH_REDIS: self._flush_redis,
            Kind.FLUSH_STORM: self._flush_storm,
            Kind.STOP_WORKER: self._stop_worker,
            Kind.ROLLING_RESTART: self._rolling_restart,
            Kind.TERM_TWICE: self._term_twice,
            Kind.DELAY: self._delay,
            Kind.CUT: self._cut,
            Kind.HALF_OPEN: self._half_open,
            Kind.WRITE_LOST: self._cut_a_write,
            Kind.ANSWER_LOST: self._cut_a_write,
            Kind.WRITE_LATE: self._cut_a_write,
            Kind.DUPLICATE_HINTS: self._duplicate_hints,
        }

    async def run(self, planned: Sequence[Fault], seconds: float) -> None:
        """Carries out each fault at its time. Returns when all faults have ended.

        `seconds` after the call, a fault that finds no process to hit is given up.
        """
        began = time.monotonic()
        self._give_up_at = began + seconds
        async with asyncio.TaskGroup() as doing:
            for fault in planned:
                await asyncio.sleep(max(began + fault.at - time.monotonic(), 0))
                doing.create_task(self._do(fault))

    async def last_storm(self) -> None:
        """Empties Redis again and again (FLUSHALL), after all other faults.

        No process is restarted afterwards. So a job whose Redis messages are lost can only run
        because the tick of a worker delivers due jobs again.
        """
        low, high = LASTS[Kind.FLUSH_STORM]
        await self._do(Fault(0.0, Kind.FLUSH_STORM, (low + high) / 2, 0.0, 0.0))

    async def heal(self) -> None:
        """Ends the network faults of all processes, and starts PostgreSQL if it is down."""
        for member in self._fleet.members:
            member.postgres.heal()
            member.redis.heal()
        async with self._postgres_lock:
            await asyncio.to_thread(self._postgres.start)

    async def _do(self, fault: Fault) -> None:
        begin = time.time()
        if await self._how[fault.kind](fault):
            self.done[fault.kind] += 1
            self.windows.append(Window(fault.kind, begin, time.time()))

    async def _kill_worker(self, fault: Fault) -> bool:
        # One kill in ten may also hit a frozen worker.
        member = await self._choose(self._fleet.workers, fault, frozen_too=fault.variant < 0.1)
        if member is not None:
            await self._fleet.kill(member, down=fault.lasts)
        return member is not None

    async def _kill_api(self, fault: Fault) -> bool:
        member = await self._choose(self._fleet.apis, fault)
        if member is not None:
            await self._fleet.kill(member, down=fault.lasts)
        return member is not None

    async def _kill_witness(self, fault: Fault) -> bool:
        async with self._witness_lock:
            await self._signing.kill_witness(down=fault.lasts)
        return True

    async def _stop_worker(self, fault: Fault) -> bool:
        """Freezes a worker while at least one other worker keeps running."""
        while (member := await self._choose(self._fleet.workers, fault)) is not None:
            if sum(worker.running for worker in self._fleet.workers) > 1:
                return await self._fleet.freeze(member, fault.lasts)
            await asyncio.sleep(0.5)
        return False

    async def _rolling_restart(self, fault: Fault) -> bool:
        for member in self._fleet.members:
            if await self._choose([member], fault) is None:
                return False
            await self._fleet.restart(member)
        return True

    async def _term_twice(self, fault: Fault) -> bool:
        member = await self._choose(self._fleet.workers, fault)
        if member is not None:
            await self._fleet.restart(member, twice=True)
        return member is not None

    async def _choose(self, members: Sequence[Member], fault: Fault, *, frozen_too: bool = False) -> Member | None:
        """Waits for a running process that no other fault holds, and returns it.

        Returns None when the time for faults is over.
        """
        while time.monotonic() < self._give_up_at:
            free = [member for member in members if not member.busy and (member.running or (frozen_too and member.frozen))]
            if free:
                return free[int(fault.pick * len(free))]
            await asyncio.sleep(0.1)
        return None

    async def _kill_postgres(self, fault: Fault) -> bool:
        async with self._postgres_lock:
            await asyncio.to_thread(self._postgres.kill)
            await asyncio.sleep(fault.lasts)
            await asyncio.to_thread(self._postgres.start)
        return True

    async def _kill_backend(self, fault: Fault) -> bool:
        async with self._postgres_lock:
            if not await asyncio.to_thread(self._postgres.kill_a_backend, fault.pick):
                return False
            await asyncio.sleep(0.2)
            await asyncio.to_thread(self._postgres.start)
        return True

    async def _kill_redis(self, fault: Fault) -> bool:
        async with self._redis_lock:
            await asyncio.to_thread(self._redis.kill)
            await asyncio.sleep(fault.lasts)
            await asyncio.to_thread(self._redis.start)
        return True

    async def _freeze_redis(self, fault: Fault) -> bool:
        async with self._redis_lock:
            self._redis.freeze()
            await asyncio.sleep(fault.lasts)
            self._redis.thaw()
        return True

    async def _flush_redis(self, fault: Fault) -> bool:
        """Empties Redis. In 40 % of the cases, checks that rows of ended jobs do not change."""
        async with self._redis_lock:
            if fault.variant > 0.4:
                return await self._flush()
            with suppress(*rows.AWAY):
                connection = await asyncpg.connect(self._postgres.url, timeout=5, command_timeout=20)
                try:
                    return await self._flush_and_compare(connection)
                finally:
                    await connection.close(timeout=2)
            return await self._flush()

    async def _flush_storm(self, fault: Fault) -> bool:
        for member in self._fleet.members:
            member.redis.delay = 0.25
        client = Redis.from_url(self._redis.url, socket_timeout=5)
        until = time.monotonic() + fault.lasts
        while time.monotonic() < until:
            with suppress(RedisError, OSError):
                await client.flushall()
            await asyncio.sleep(0.002)
        await client.aclose()
        for member in self._fleet.members:
            member.redis.delay = 0.0
        return True

    async def _flush_and_compare(self, connection: "asyncpg.Connection[asyncpg.Record]") -> bool:
        ids = await connection.fetchrow(SETTLED_IDS)
        assert ids is not None
        before = await connection.fetchrow(SETTLED, *ids)
        flushed = await self._flush()
        after = await connection.fetchrow(SETTLED, *ids)
        if before != after:
            self.violations.append(Violation(12, None, f"rows changed over a FLUSHALL: {before} became {after}"))
        self.compared_flushes += 1
        return flushed

    async def _flush(self) -> bool:
        client = Redis.from_url(self._redis.url, socket_timeout=5)
        try:
            await client.flushall()
            return True
        except (RedisError, OSError):
            return False
        finally:
            await client.aclose()

    async def _duplicate_hints(self, fault: Fault) -> bool:
        """Sends hints that workers must ignore or act on once. A hint names an attempt to run.

        The hints name waiting, running and ended jobs, with present, earlier and later attempts.
        Then the Redis keys by which workers claim hints are deleted, so that two workers can claim
        the same hint.
        """
        with suppress(*rows.AWAY, RedisError):
            connection = await asyncpg.connect(self._postgres.url, timeout=5, command_timeout=5)
            try:
                recent = await connection.fetch(RECENT)
            finally:
                await connection.close(timeout=2)
            hints = []
            for row in self._dice.sample(recent, min(len(recent), 40)):
                for attempt in {row["attempt"], self._dice.randint(1, row["attempt"]), row["attempt"] + 1}:
                    hints.append(Hint(AttemptId(row["id"], attempt), row["type"], row["run_at"]))
            await self._deliver(hints)
            return True
        return False

    async def _deliver(self, hints: list[Hint]) -> None:
        wire = RedisWire(self._redis.url)
        await wire.start()
        wire.push(hints, even_if_full=True)
        await wire.stop()
        client = Redis.from_url(self._redis.url, socket_timeout=5)
        try:
            if claims := [key async for key in client.scan_iter(f"{in_progress_key_prefix}*", count=500)]:
                await client.delete(*claims)
        finally:
            await client.aclose()

    def _lines(self, fault: Fault) -> list[Line]:
        """Returns the proxies that the fault breaks: those to PostgreSQL, or those to Redis.

        One fault in five breaks the proxies of all processes. The others break that of one process.
        """
        lines = [member.postgres if fault.variant < 0.6 else member.redis for member in self._fleet.members]
        return lines if fault.variant % 0.2 < 0.04 else [lines[int(fault.pick * len(lines))]]

    async def _delay(self, fault: Fault) -> bool:
        lines = self._lines(fault)
        for line in lines:
            line.delay = 0.02 + fault.pick * 0.2
        await asyncio.sleep(fault.lasts)
        for line in lines:
            line.delay = 0.0
        return True

    async def _cut(self, fault: Fault) -> bool:
        for line in self._lines(fault):
            line.cut()
        return True

    async def _half_open(self, fault: Fault) -> bool:
        lines = self._lines(fault)
        for line in lines:
            line.fall_silent()
        await asyncio.sleep(fault.lasts)
        for line in lines:
            line.heal()
        return True

    async def _cut_a_write(self, fault: Fault) -> bool:
        """Breaks the connection of a process during its next write to the log.

        Returns False if the process does not write within 15 seconds.
        """
        lines = [member.postgres for member in self._fleet.members]
        line = lines[int(fault.pick * len(lines))]
        met = line.cuts_met
        line.arm(CUTS[fault.kind], fault.lasts)
        until = min(time.monotonic() + 15, self._give_up_at)
        while time.monotonic() < until:
            await asyncio.sleep(0.1)
            if line.cuts_met > met:
                return True
        return False
