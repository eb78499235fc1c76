"""Foreign bytes in Redis and on the bus end no process and no loop, and lose no job.

A forged message changes nothing.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis
from structlog.testing import capture_logs

from events import bus as bus_module
from events.bus import CHANNEL, Change, NotAChange, RedisBus, _read
from events.database import Database
from events.job import JSON, Job
from events.store import Store
from events.writes import new_job_id
from tests.job_types import QUICK, capacity_for, ended, job_type, queue, running, until, words, working
from tests.store.test_bus import until_heard
from workers.delivery import wire as wire_module
from workers.delivery.redis_wire import WAKE, RedisWire, queue_of
from workers.job_type import Context

GOOD: list[Any] = ["01a20a6a-ab4e-7283-a269-a03f99e2fa06", 4, 1, "queued", "quick", None]
CHANGE = Change(GOOD[0], 5, 1, "queued", "quick", None)


@pytest.fixture
def wire(over_redis: RedisWire) -> RedisWire:
    return over_redis


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=50) | st.sampled_from(GOOD),
    lambda inner: st.lists(inner, max_size=7) | st.dictionaries(st.text(max_size=9), inner, max_size=5),
    max_leaves=12,
)
NEARLY = st.lists(st.tuples(st.integers(0, 5), ANYTHING), min_size=1, max_size=3).map(
    lambda edits: [dict(edits).get(n, value) for n, value in enumerate(GOOD)]
)


def message(changes: Any) -> bytes:
    return orjson.dumps({"from": "elsewhere", "changes": changes}, option=orjson.OPT_NON_STR_KEYS, default=list)


@settings(max_examples=300, deadline=None)
@given(
    st.binary(max_size=200)
    | ANYTHING.map(lambda value: repr(value).encode())
    | st.lists(NEARLY).map(lambda changes: repr(changes).encode())
)
def test_reading_a_message_of_any_bytes_raises_only_its_own_error(said: bytes) -> None:
    with contextlib.suppress(NotAChange):
        _read(said)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.just(GOOD) | NEARLY | ANYTHING, max_size=4) | ANYTHING)
def test_a_message_that_is_read_without_an_error_is_a_valid_change(changes: Any) -> None:
    try:
        said = message(changes)
    except (TypeError, ValueError):
        return  # orjson cannot write some values, such as a long integer

    try:
        read = _read(said)
    except NotAChange:
        return

    for change in read:
        assert len(change.job_id) == 36
        assert 0 < change.seq < 2**31
        assert 0 < change.attempt < 2**31
        assert change.status in ("queued", "processing", "completed", "failed", "canceled")
        assert isinstance(change.type, str)
        assert change.user_id is None or len(change.user_id) == 36
        hash(change)


HOSTILE_MESSAGES = [
    message([[["a list"], 4, 1, "queued", "quick", None]]),
    message([[{"a": "dict"}, 4, 1, "queued", "quick", None]]),
    message([[*GOOD[:1], "4", *GOOD[2:]]]),
    message([[*GOOD[:1], 10**18, *GOOD[2:]]]),
    message([[*GOOD[:1], 0, *GOOD[2:]]]),
    message([[*GOOD[:1], True, *GOOD[2:]]]),
    message([[*GOOD[:2], [1], *GOOD[3:]]]),
    message([[*GOOD[:3], "exploded", *GOOD[4:]]]),
    message([[*GOOD[:3], ["queued"], *GOOD[4:]]]),
    message([[*GOOD[:4], {}, None]]),
    message([[*GOOD[:5], ["somebody"]]]),
    message([["no-id", *GOOD[1:]]]),
    message({"a": 1}),
    b"[" * 100_000,
    b'{"from": 1e400, "changes": [NaN]}',
    b'{"changes": [["\xff"]]}',
    b"\x00" * 1000,
    b'["' + b"x" * 5_000_000 + b'"]',
]


@pytest.mark.parametrize("hostile", HOSTILE_MESSAGES, ids=lambda said: ascii(said[:60]))
async def test_a_foreign_message_on_the_bus_ends_no_loop_and_is_logged_in_one_short_line(
    redis: Redis, redis_url: str, hostile: bytes
) -> None:
    here, there = RedisBus(redis_url), RedisBus(redis_url)
    heard: list[Change] = []
    by_owner: dict[Any, int] = {}

    def count(change: Change) -> None:
        # Listeners use these values as dict keys, too. A value that cannot be a key would end the
        # loop.
        by_owner[change.user_id, change.job_id] = change.seq
        heard.append(change)

    there.listen(count)
    with capture_logs() as lines:
        await here.start()
        await there.start()
        for _ in range(3):
            await redis.publish(CHANNEL, hostile)

        true = CHANGE
        await until_heard(here, heard, true)

    assert set(heard) == {true}
    assert [line["event"] for line in lines] == ["bus: malformed messages were dropped"] * 2
    assert all(len(str(line)) < 400 for line in lines)
    for bus in (here, there):
        await asyncio.wait_for(bus.stop(), 5)


async def test_changes_arrive_again_after_a_message_of_50_megabytes(redis: Redis, redis_url: str) -> None:
    here, there = RedisBus(redis_url), RedisBus(redis_url)
    heard: list[Change] = []
    there.listen(heard.append)
    await here.start()
    await there.start()

    # By default, a server keeps fewer bytes than this for a subscriber, so it may close the
    # connection.
    await redis.publish(CHANNEL, b'["' + b"x" * 50_000_000 + b'"]')

    true = CHANGE
    await until_heard(here, heard, true)
    for bus in (here, there):
        await asyncio.wait_for(bus.stop(), 5)


def test_a_message_of_many_changes_is_never_too_large_for_its_reader() -> None:
    bus = RedisBus("redis://127.0.0.1:1/0")
    changes = [Change(new_job_id(), 2**31 - 1, 1, "processing", "t" * 200, new_job_id()) for _ in range(2_500)]

    bus.announce(changes)

    messages = [bus._outgoing.get_nowait() for _ in range(bus._outgoing.qsize())]
    assert max(map(len, messages)) < bus_module.LARGEST_MESSAGE
    assert [change for said in messages for change in _read(said)] == changes


async def work_on(context: Context, payload: Any) -> JSON:
    """Works until the test lets it end."""
    await GO_ON.wait()
    return "all of it"


GO_ON = asyncio.Event()
WORKS = job_type("works", work_on, max_attempts=1)


@pytest.fixture
def go_on(monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    event = asyncio.Event()
    monkeypatch.setitem(globals(), "GO_ON", event)
    return event


UNTRUE: list[Callable[[Job], Change]] = [
    lambda job: Change(job.id, job.seq + 1, job.attempt, "canceled", job.type, None),
    lambda job: Change(job.id, 2**31 - 1, job.attempt, "completed", job.type, None),
    lambda job: Change(job.id, 2**31 - 1, job.attempt + 1, "processing", job.type, None),
    lambda job: Change(job.id, job.seq + 2, job.attempt + 1, "queued", "another", new_job_id()),
]


@pytest.mark.parametrize("untrue", UNTRUE, ids=["canceled", "completed far ahead", "another attempt", "queued again"])
async def test_no_forged_message_stops_an_attempt(
    database: Database, store: Store, redis: Redis, redis_url: str, wire: RedisWire, go_on: asyncio.Event,
    untrue: Callable[[Job], Change],
) -> None:  # fmt: skip
    bus = RedisBus(redis_url)
    await bus.start()
    heard: list[Change] = []
    bus.listen(heard.append)
    async with working(database, store, bus, wire, [WORKS]) as worker:
        job = await running(database, await queue(store, wire, WORKS))
        for _ in range(5):
            await redis.publish(CHANNEL, message([untrue(job)]))
        await until(lambda: len(heard) >= 5)
        attempt = worker.runner.attempts[job.id]
        await until(lambda: attempt._asking is not None and attempt._asking.done())

        go_on.set()

        assert (await ended(database, job)).result == "all of it"
    assert await words(store, job) == ["queued", "started", "completed"]
    await bus.stop()


async def test_a_forged_message_before_the_start_keeps_no_attempt_from_running(
    database: Database, store: Store, redis: Redis, redis_url: str, wire: RedisWire, go_on: asyncio.Event
) -> None:
    go_on.set()
    bus = RedisBus(redis_url)
    await bus.start()
    async with working(database, store, bus, wire, [WORKS]):
        for _ in range(20):
            job = await queue(store, None, WORKS)
            said = message([Change(job.id, 2**31 - 1, 1, "canceled", job.type, None)])
            await redis.publish(CHANNEL, said)
            wire.push([wire_module.Hint.of(job)])
            await redis.publish(CHANNEL, said)

            assert (await ended(database, job)).status == "completed"
    await bus.stop()


Spoil = Callable[[Redis, Job], Awaitable[Any]]


def entry(job: Job) -> str:
    return f"{job.id}:{job.attempt}"


async def _another_type_for_each_key(redis: Redis, job: Job) -> None:
    for key in (queue_of(job.type), WAKE, "arq:queue", "arq:queue:health-check", f"arq:job:{entry(job)}"):
        await redis.delete(key)
        await redis.hset(key, "a", "b")  # type: ignore[misc]


async def _strings(redis: Redis, job: Job) -> None:
    for key in (queue_of(job.type), WAKE, "arq:queue"):
        await redis.set(key, b"\xff\x00")


async def _foreign_entries(redis: Redis, job: Job) -> None:
    odd: dict[bytes | str, int] = {
        b"": 0, b"\x00": 1, b"\xff\xfe": 2, f"{job.id}:{10**30}": 3, f"{job.id}:0": 4, f"{job.id}:-1": 5, f"{job.id}:1 ": 6,
        f"{job.id.upper()}:1": 7, f"{job.id}:1\x00": 8, f"{job.id}": 9, "x" * 5_000_000: 10, f"{job.id}:999999999": 11,
        f"{new_job_id()}:1": 12, f"{job.id}:1\n": 13,
    }  # fmt: skip
    await redis.zadd(queue_of(job.type), dict.fromkeys(odd, float("-inf")))  # type: ignore[type-var]


async def _many_foreign_entries(redis: Redis, job: Job) -> None:
    for first in range(0, 30_000, 10_000):
        await redis.zadd(queue_of(job.type), {f"stranger {n}": float("-inf") for n in range(first, first + 10_000)})


async def _odd_scores(redis: Redis, job: Job) -> None:
    await redis.zadd(queue_of(job.type), {entry(job): float("inf")})


async def _a_claim_for_ever(redis: Redis, job: Job) -> None:
    await redis.set(f"arq:in-progress:{entry(job)}", "1")


async def _a_claim_that_is_a_list(redis: Redis, job: Job) -> None:
    await redis.rpush(f"arq:in-progress:{entry(job)}", "1")  # type: ignore[misc]


async def _a_claim_for_a_year(redis: Redis, job: Job) -> None:
    await redis.set(f"arq:in-progress:{entry(job)}", "1", ex=365 * 86400)


async def _wakes_without_end(redis: Redis, job: Job) -> None:
    await redis.lpush(WAKE, *["\xff" * 100] * 20_000)  # type: ignore[misc]


async def _the_queue_of_another_type(redis: Redis, job: Job) -> None:
    await redis.zadd(queue_of("other"), {entry(job): 0})


async def other(context: Context, payload: Any) -> JSON:
    return "run as another type"


SPOILS: list[Spoil] = [
    _another_type_for_each_key, _strings, _foreign_entries, _many_foreign_entries, _odd_scores, _a_claim_for_ever,
    _a_claim_that_is_a_list, _a_claim_for_a_year, _wakes_without_end, _the_queue_of_another_type,
]  # fmt: skip


@pytest.mark.parametrize("spoil", SPOILS, ids=lambda spoil: spoil.__name__)
async def test_every_job_runs_soon_whatever_is_in_redis(
    database: Database, store: Store, redis: Redis, redis_url: str, wire: RedisWire, spoil: Spoil
) -> None:
    bus = RedisBus(redis_url)
    await bus.start()
    first = await queue(store, None, QUICK, {"n": 1})
    await spoil(redis, first)
    async with working(database, store, bus, wire, [QUICK, job_type("other", other)]) as worker:
        assert (await ended(database, first)).result == {"n": 1}
        second = await queue(store, None, QUICK, {"n": 2})
        await spoil(redis, second)

        wire.push([wire_module.Hint.of(second)])

        assert (await ended(database, second)).result == {"n": 2}
        assert not any(part.done() for part in worker.parts)
        assert wire._sender is not None
        assert not wire._sender.done()
    await bus.stop()


async def test_a_value_of_another_type_in_place_of_a_queue_is_removed_by_a_claim(redis: Redis, wire: RedisWire) -> None:
    await redis.set(queue_of("quick"), "a string")

    assert await wire.claim(capacity_for(5, "quick")) == []

    assert not await redis.exists(queue_of("quick"))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    members=st.lists(st.binary(max_size=60), max_size=20, unique=True),
    scores=st.lists(st.floats(allow_nan=False), min_size=20, max_size=20),
    slots=st.integers(1, 3),
)
def test_only_valid_entries_of_a_queue_are_claimed(
    redis_url: str, members: list[bytes], scores: list[float], slots: int
) -> None:
    async def claimed() -> set[str]:
        async with Redis.from_url(redis_url) as redis:
            await redis.flushdb()
            ours = {f"{new_job_id()}:{n}" for n in range(1, 6)}
            await redis.zadd(queue_of("quick"), dict(zip([*members, *ours], [*scores, *[0.0] * 25], strict=False)))
            wire = RedisWire(redis_url)
            found: set[str] = set()
            for _ in range(10):
                found |= {str(claim.id) for claim in await wire.claim(capacity_for(slots, "quick"))}
            assert ours <= set(map(bytes.decode, await redis.zrange(queue_of("quick"), 0, -1))) | found
            await wire.redis.aclose(close_connection_pool=True)
            return found ^ ours

    assert asyncio.run(claimed()) == set()


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n", b"+OK\r\n", b":1\r\n", b"$-1\r\n", b"*-1\r\n", b"*0\r\n", b"*1\r\n:1\r\n",
        b"*2\r\n:0\r\n*1\r\n:7\r\n", b"*2\r\n:0\r\n*2\r\n:9\r\n$1\r\nx\r\n", b"*2\r\n$1\r\nx\r\n+OK\r\n", b"-ERR \xff\xfe\r\n",
        b"-NOSCRIPT x\r\n", b"\xff" * 100, b"$999999999999999999999\r\n", b"",
    ],
    ids=ascii,
)  # fmt: skip
async def test_a_server_that_is_not_redis_does_not_end_the_wire_or_the_bus(
    database: Database, store: Store, answer: bytes
) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(65536):
            if not answer:
                break
            writer.write(answer * 3)
        writer.close()

    async with await asyncio.start_server(talk, "127.0.0.1") as server:
        url = f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0"
        bus, wire = RedisBus(url), RedisWire(url)
        await bus.start()
        await wire.start()
        async with working(database, store, bus, wire, [QUICK]) as worker:
            job = await queue(store, wire, QUICK)
            bus.announce([Change(job.id, 1, 1, "queued", "quick", None)])
            await asyncio.sleep(1.5)  # seconds: long enough for every loop to run several times

            assert not any(part.done() for part in [*worker.parts, *bus._tasks, wire._sender])  # type: ignore[union-attr]
        await asyncio.wait_for(bus.stop(), 20)
        await asyncio.wait_for(wire.stop(), 20)
