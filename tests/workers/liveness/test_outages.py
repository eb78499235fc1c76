"""Outages: PostgreSQL is unreachable, a process is frozen, a Redis becomes a replica."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx2 as httpx
import pytest
from redis.asyncio import Redis

from events.bus import Bus
from events.database import Database, connect
from events.job import JSON
from events.store import Store
from projections.jobs import JobFilter, JobsView
from projections.seal import SEALING
from service.accounts import users
from service.api import health
from service.http import endpoint
from tests.http_client import http_client
from tests.job_types import (
    HANG,
    QUICK,
    ended,
    job_type,
    queue,
    running,
    until,
    words,
    working,
)
from tests.proxy import Fault, Proxy, proxy_before
from tests.servers import RedisServer
from tests.service_fixture import PASSWORD, Service, make_context, service, serving
from tests.short_waits import short_waits
from tests.worker_process import worker_process
from workers.attempt import runner
from workers.delivery import tick as deliver
from workers.delivery.redis_wire import RedisWire
from workers.delivery.tick import DELIVERING, TRY_LOCK
from workers.delivery.wire import LocalWire
from workers.job_type import Context
from workers.liveness import heartbeat as rescue

__all__ = ["service"]

SYNC = "/api/chatwork/rooms/sync"


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with short_waits(monkeypatch, seconds_between_heartbeats=0.2):
        yield


@pytest.fixture
async def proxy(database_url: str) -> AsyncIterator[Proxy]:
    async with proxy_before(database_url) as proxy:
        yield proxy


async def test_a_write_request_without_a_database_is_refused_and_has_no_later_effect(
    service: Service, proxy: Proxy, bus: Bus
) -> None:
    job = await service.job_of(service.admin)
    far = Store(Database(proxy.url), bus)
    await far.start()
    context = make_context(service.context.database, bus, far.with_time_limit(0.3), chatwork=service.context.resources.chatwork)
    async with serving(context) as url, http_client(url, headers=service.as_admin.headers) as client:
        proxy.closed_to_new = True
        proxy.cut()
        answers = [await client.post(SYNC), await client.post(f"/api/jobs/{job.id}/cancel")]
        assert [answer.status_code for answer in answers] == [503, 503]
        assert all(int(answer.headers["retry-after"]) >= 1 for answer in answers)

        proxy.closed_to_new = False
        answer = await until(lambda: _accepted(client))

    # The refused requests were given up before they were sent, so the log has none of their events.
    jobs = (await JobsView(service.context.database).page(JobFilter(), limit=10)).jobs
    assert {(one.id, one.status) for one in jobs} == {(job.id, "queued"), (answer["jobId"], "queued")}
    await far.stop()


async def test_every_request_gets_503_while_the_database_hangs_and_an_answer_when_it_goes_on(
    service: Service, proxy: Proxy, bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoint, "ANSWER_WITHIN", 0.6)
    monkeypatch.setattr(users, "KNOWN_WITHIN", 0.5)
    monkeypatch.setattr(users, "FRESH", 0.2)
    monkeypatch.setattr(health, "MEASURED_WITHIN", 0.4)
    job = await service.job_of(service.admin)
    far = Database(proxy.url)
    await far.connect()
    async with _store_of(far, bus) as store:
        context = make_context(far, bus, store.with_time_limit(0.5), chatwork=service.context.resources.chatwork)
        async with serving(context) as url, http_client(url, headers=service.as_admin.headers) as client:
            assert (await client.get(f"/api/jobs/{job.id}")).status_code == 200
            proxy.hang()

            # At first some users are known from a cache. Later the cache has expired, and all
            # connections hang.
            for _ in range(3):
                async with asyncio.timeout(8):
                    answers = await asyncio.gather(
                        *(client.get(f"/api/jobs/{job.id}") for _ in range(15)),
                        client.get("/api/jobs"),
                        client.post(f"/api/jobs/{job.id}/retry", headers={"Idempotency-Key": "k"}),
                        client.post(SYNC, headers={"Idempotency-Key": "s", "Prefer": "wait=60"}),
                        client.post("/api/auth/login", json={"email": "a@example.com", "password": PASSWORD}),
                    )
                assert {answer.status_code for answer in answers} == {503}
                assert all(int(answer.headers["retry-after"]) >= 1 for answer in answers)
            assert (await client.get("/metrics")).status_code == 200

            proxy.resume()
            await until(lambda: _answered(client, job.id))
            held = await client.post(SYNC, headers={"Prefer": "wait=2"})
            assert (held.status_code, held.headers["preference-applied"]) == (202, "wait=2")
    await far.disconnect()


@contextlib.asynccontextmanager
async def _store_of(database: Database, bus: Bus) -> AsyncIterator[Store]:
    store = Store(database, bus)
    await store.start()
    try:
        yield store
    finally:
        await store.stop()


async def _answered(client: httpx.AsyncClient, job_id: str) -> bool:
    return (await client.get(f"/api/jobs/{job_id}")).status_code == 200


async def _accepted(client: httpx.AsyncClient) -> Any:
    answer = await client.post(SYNC)
    return answer.json() if answer.status_code == 202 else None


async def test_ends_of_attempts_during_an_outage_of_postgresql_are_written_afterwards(
    proxy: Proxy, database: Database, store: Store, bus: Bus
) -> None:
    finish, entered = asyncio.Event(), []

    async def wait(context: Context, payload: Any) -> JSON:
        entered.append(context.job_id)
        await finish.wait()
        return {"external step": "done once"}

    waits = job_type("waits", wait)
    far = Database(proxy.url)
    await far.connect()
    far_store = Store(far, bus)
    await far_store.start()
    wire = LocalWire()
    async with working(far, far_store, bus, wire, [waits]) as worker:
        jobs = [await running(database, await queue(store, wire, waits)) for _ in range(5)]
        proxy.closed_to_new = True
        proxy.cut()
        late = await queue(store, wire, waits)
        finish.set()
        # The handlers have ended, but the ends of their attempts cannot be written yet.
        await until(lambda: all(job.id in worker.runner.attempts for job in jobs) and len(worker.runner.attempts) == 5)
        tried = proxy.opened
        await until(lambda: proxy.opened > tried + 3)
        assert entered == [job.id for job in jobs]
        assert [await words(store, job) for job in jobs] == [["queued", "started"]] * 5

        proxy.closed_to_new = False

        for job in [*jobs, late]:
            assert (await ended(database, job)).result == {"external step": "done once"}
            assert await words(store, job) == ["queued", "started", "completed"]
    await far_store.stop()
    await far.disconnect()


async def test_a_stopping_worker_hands_its_jobs_back_in_time_although_a_start_gets_no_answer(
    proxy: Proxy, database: Database, store: Store, bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "HAND_BACK_WITHIN", 0.2)
    far = Store(Database(proxy.url), bus)
    await far.start()
    wire = LocalWire()
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(working(database, far, bus, wire, [HANG]))
        job = await running(database, await queue(store, wire, HANG))
        proxy.once("array(select p.type from pauses", Fault.STALL)
        # The connections are cut, because only a new connection prepares the statement and so sends
        # its text.
        proxy.cut()
        stalled = await queue(store, wire, HANG)
        await until(lambda: proxy.faults_met)

        async with asyncio.timeout(5):
            await stack.aclose()

    assert await words(store, job) == ["queued", "started", "queued: worker_shutdown"]
    assert await words(store, stalled) == ["queued"]
    await far.stop()


async def test_a_process_frozen_while_it_holds_the_lock_of_the_tick_delays_others_only_briefly(
    database: Database, store: Store, bus: Bus, database_url: str
) -> None:
    frozen = await connect(database_url)
    async with working(database, store, bus, LocalWire(), [QUICK]):
        transaction = frozen.transaction()
        await transaction.start()
        await until(lambda: frozen.fetchval(TRY_LOCK.replace(":key", "$1"), DELIVERING))

        # No hint is pushed. A tick finds the job once the server has ended the idle transaction.
        job = await ended(database, await queue(store, None, QUICK))

        assert job.attempt == 1
        assert frozen.is_closed() or not await _still_in_transaction(database, frozen.get_server_pid())
    frozen.terminate()


async def _still_in_transaction(database: Database, pid: int) -> bool:
    in_transaction = "select true from pg_stat_activity where pid = :pid and state = 'idle in transaction'"
    return await database.fetch_val(in_transaction, {"pid": pid}) is not None


async def test_a_worker_frozen_inside_a_transaction_loses_its_locks_and_its_effects(
    database: Database, store: Store, bus: Bus, database_url: str, monkeypatch: pytest.MonkeyPatch, redis_url: str
) -> None:
    monkeypatch.setattr(rescue, "LEASE", 0.8)
    await database.execute("create table effects (name text primary key, attempt integer)")
    async with Redis.from_url(redis_url) as client:
        await client.flushdb()
    upsert = "insert into effects values ('one', :attempt) on conflict (name) do update set attempt = excluded.attempt"

    async def store_again(context: Context, payload: Any) -> JSON:
        async with context.store():
            await context.database.execute(upsert, {"attempt": context.attempt})
        return None

    with worker_process(database_url, redis=redis_url, heartbeat=0.2, lease=0.8) as process:
        job = await queue(store, None, job_type("holds", store_again))
        await process.says("running", job.id, 1)
        idle = "select pid from pg_stat_activity where state = 'idle in transaction' and query like 'insert into effects%'"
        await until(lambda: database.fetch_val(idle))
        process.freeze()

        async with working(database, store, bus, LocalWire(), [job_type("holds", store_again)]):
            await ended(database, job)
            assert await database.fetch_val("select attempt from effects") == 2

            process.thaw()
            await process.says("stopped", job.id, 1)
        assert await database.fetch_val("select attempt from effects") == 2
    assert await words(store, job) == ["queued", "started", "failed, retried", "queued: worker_lost", "started", "completed"]


async def test_after_a_failover_of_redis_jobs_are_delivered_over_the_new_primary(
    database: Database, store: Store, bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliver, "DELIVER_AGAIN", 0.5)
    one, other = RedisServer(), RedisServer()
    one.start()
    other.start()
    try:
        async with Redis.from_url(one.url) as at_one, Redis.from_url(other.url) as at_other, Switch.to(one.port) as switch:
            await at_other.replicaof("127.0.0.1", str(one.port))
            wire = RedisWire(switch.url)
            await wire.start()
            async with working(database, store, bus, wire, [QUICK]):
                await ended(database, await queue(store, wire, QUICK))

                # The address leads to the new primary from here on. Open connections stay with the
                # old server, which has become a replica.
                await at_other.replicaof("NO", "ONE")
                await at_one.replicaof("127.0.0.1", str(other.port))
                switch.port = other.port

                jobs = [await queue(store, wire, QUICK) for _ in range(10)]
                for job in jobs:
                    await ended(database, job)
                    assert await words(store, job) == ["queued", "started", "completed"]
                await until(lambda: switch.connected_to == {other.port})
            await wire.stop()
    finally:
        one.stop()
        other.stop()


class Switch:
    """An address that leads to `port`, which may change. Open connections keep the old port."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.url = ""
        self._links: dict[asyncio.StreamWriter, int] = {}

    @property
    def connected_to(self) -> set[int]:
        return set(self._links.values())

    @classmethod
    @contextlib.asynccontextmanager
    async def to(cls, port: int) -> AsyncIterator["Switch"]:
        switch = cls(port)
        listening = socket.create_server(("127.0.0.1", 0))
        server = await asyncio.start_server(switch._pass_on, sock=listening)
        switch.url = f"redis://127.0.0.1:{listening.getsockname()[1]}/0"
        try:
            yield switch
        finally:
            server.close()
            for writer in tuple(switch._links):
                writer.transport.abort()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        their_reader, their_writer = await asyncio.open_connection("127.0.0.1", self.port)
        self._links[writer] = self.port
        both = [asyncio.create_task(_copy(reader, their_writer)), asyncio.create_task(_copy(their_reader, writer))]
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        del self._links[writer]
        for transport in (writer.transport, their_writer.transport):
            transport.abort()
        await asyncio.gather(*both, return_exceptions=True)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()


async def test_a_reader_of_the_log_gets_503_while_a_frozen_process_holds_the_lock_of_the_sealer(
    service: Service, database_url: str
) -> None:
    # This connection holds the lock of the sealer, as a frozen process would.
    frozen = await connect(database_url, idle_in_transaction_session_timeout="0")
    await frozen.execute("begin")
    await frozen.fetchval("select pg_advisory_xact_lock($1)", SEALING)

    answer = await service.as_admin.get("/api/events")

    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "2")
    await frozen.close()
    assert (await service.as_admin.get("/api/events")).status_code == 200
