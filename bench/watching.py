"""Measures 1,000 open streams on one API process, at 500 events a second.

The report gives the time until each event reaches its watchers, the missed events, and the cost of
a stream.

480 people watch all their jobs (`/api/jobs/stream`), 500 watch one job (`/api/jobs/{id}/events`),
and 20 admins watch the jobs of everybody. Each person has one job, which reports every two seconds.
The time of an event includes its commit.
"""

import argparse
import asyncio
import contextlib
import logging
import re
import sys
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from dataclasses import dataclass

import orjson
import structlog
import uvloop

from bench.processes import ADMIN, add_people, an_employee, cpu_seconds, environment, memory_of, postgres_pid, serving
from bench.record import add_save_option, publish
from bench.servers import fresh_database, versions_of
from events.bus import RedisBus
from events.database import Database
from events.job import Job, progress, start
from events.store import Store
from events.writes import NewJob
from projections.jobs import JobsView
from service.live.server_sent_events import RECONNECT
from tests.servers import redis_server

PEOPLE, PERSONS_OF_ONE_JOB, ADMINS = 480, 500, 20
GRACE = 5.0  # seconds in which the last events must arrive
EVERY = 0.01  # seconds between two batches of events

SEQ = re.compile(rb'"jobId":"([0-9a-f-]{36})","seq":(\d+)')
OPEN_AT_ONCE = 50

Place = tuple[str, int]
"""Names an event: the id of its job, and its `seq`."""


@dataclass(slots=True)
class Watching:
    """One open stream: the bytes that it has received, and the time of each piece."""

    path: str
    token: str
    jobs: frozenset[str] | None
    """The ids of the jobs whose events the stream must get, or None for all jobs."""
    kind: str
    received: list[tuple[float, bytes]]

    async def open(self, port: int) -> "asyncio.Task[None]":
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**22)
        lines = [
            f"GET {self.path} HTTP/1.1",
            "Host: 127.0.0.1",
            "Accept: text/event-stream",
            f"Authorization: Bearer {self.token}",
        ]
        writer.write("\r\n".join([*lines, "", ""]).encode())
        first = await reader.readuntil(RECONNECT)
        if b" 200 " not in first[:20]:
            raise RuntimeError(f"{self.path}: {first[:200]!r}")
        return asyncio.create_task(self._read(reader, writer))

    async def _read(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while piece := await reader.read(2**20):
                self.received.append((time.monotonic(), piece))
        finally:
            writer.close()

    def places(self) -> dict[Place, float]:
        """Returns the time at which each event first arrived.

        It reads across the pieces, because a message may begin in one piece and end in the next.
        """
        came: dict[Place, float] = {}
        rest = b""
        for at, piece in self.received:
            lines = (rest + piece).split(b"\n")
            rest = lines.pop()
            for job_id, seq in SEQ.findall(b"\n".join(lines)):
                came.setdefault((job_id.decode(), int(seq)), at)
        return came


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.watching", description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--events", type=int, default=500, help="events a second")
    add_save_option(parser)
    parser.add_argument("--write", nargs=2, metavar=("URL", "REDIS"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.write:
        url, redis_url = options.write
        uvloop.run(_write(url, redis_url, options.events, options.seconds))
        return
    with (
        fresh_database() as url,
        redis_server() as redis_url,
        environment(url, redis_url) as settings,
        serving(settings) as api,
    ):
        table = uvloop.run(_measure(url, redis_url, *api, options.events, options.seconds))
        publish("watching", table, versions=versions_of(url, redis_url), save=options.save)


async def _measure(url: str, redis_url: str, api: int, port: int, events: int, seconds: float) -> str:
    people = [an_employee() for _ in range(PEOPLE + PERSONS_OF_ONE_JOB)]
    admin_token, *tokens = await add_people(url, [ADMIN, *people])
    jobs = await queue_for(url, redis_url, [person.id for person in people])
    watchings = [Watching("/api/jobs/stream", admin_token, None, "everybody's jobs, 20 admins", []) for _ in range(ADMINS)]
    for number, (job_id, token) in enumerate(zip(jobs, tokens, strict=True)):
        path, kind = (
            ("/api/jobs/stream", f"their own jobs, {PEOPLE} people") if number < PEOPLE
            else (f"/api/jobs/{job_id}/events", f"one job, {PERSONS_OF_ONE_JOB} people")
        )  # fmt: skip
        watchings.append(Watching(path, token, frozenset([job_id]), kind, []))
    await asyncio.sleep(1)
    memory = memory_of(api)
    readers = []
    for first in range(0, len(watchings), OPEN_AT_ONCE):
        readers += await asyncio.gather(*(watching.open(port) for watching in watchings[first : first + OPEN_AT_ONCE]))
    await asyncio.sleep(3)
    opened = memory_of(api)
    postgres = await postgres_pid(url)
    before = cpu_seconds(api), cpu_seconds(postgres, with_children=True), time.monotonic()
    written = await written_elsewhere(url, redis_url, jobs, events, seconds)
    used = cpu_seconds(api) - before[0], cpu_seconds(postgres, with_children=True) - before[1], time.monotonic() - before[2]
    await asyncio.sleep(GRACE)
    peak = memory_of(api)
    for reader in readers:
        reader.cancel()
    await asyncio.gather(*readers, return_exceptions=True)
    cpu = tuple(share / used[2] for share in used[:2])
    facts = (
        f"Memory of the API: {memory / 1e6:.0f} MB before, {opened / 1e6:.0f} MB with {len(watchings):,} streams "
        f"({(opened - memory) / len(watchings) / 1e3:.0f} KB each), {peak / 1e6:.0f} MB at the end. CPU of the API {cpu[0]:.0%} of "
        f"a core, of PostgreSQL {cpu[1]:.0%}, at {len(written) / seconds:,.0f} events/s."
    )
    return f"{_table(watchings, written)}\n\n{facts}"


def _table(watchings: list[Watching], written: dict[Place, float]) -> str:
    by_kind: dict[str, list[float]] = defaultdict(list)
    missed: dict[str, int] = defaultdict(int)
    for watching in watchings:
        came = watching.places()
        for place, at in written.items():
            if watching.jobs is None or place[0] in watching.jobs:
                if place in came:
                    by_kind[watching.kind].append((came[place] - at) * 1000)
                else:
                    missed[watching.kind] += 1
    rows = [
        "| streams of | delivered | missed | ms p50 | ms p99 (wanted: 250) | ms, slowest |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for kind, times in by_kind.items():
        times.sort()
        rows.append(
            f"| {kind} | {len(times):,} | {missed[kind]} | {times[len(times) // 2]:.0f} | {times[len(times) * 99 // 100]:.0f} | "
            f"{times[-1]:.0f} |"
        )
    return "\n".join(rows)


async def queue_for(url: str, redis_url: str, owners: list[str]) -> list[str]:
    async with opened(url, redis_url) as (store, _):
        new = [NewJob("chatwork_rooms_sync", {}, owner, max_attempts=5) for owner in owners]
        jobs = await asyncio.gather(*(store.create(each, actor="system:bench") for each in new))
        await asyncio.gather(
            *(store.append(job, lambda job: start(job, attempt=1, worker="bench"), actor="worker:bench") for job in jobs)
        )
    return [job.id for job in jobs]


async def written_elsewhere(url: str, redis_url: str, jobs: list[str], events: int, seconds: float) -> dict[Place, float]:
    """Lets another process append events. Returns the time at which each append began."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.watching", "--write", url, redis_url, "--events", str(events), "--seconds", str(seconds),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    answer, _ = await process.communicate(orjson.dumps(jobs))
    return {(job_id, seq): at for job_id, seq, at in orjson.loads(answer)}


async def _write(url: str, redis_url: str, events: int, seconds: float) -> None:
    """Appends events to the jobs of standard input in turn. Prints the events as JSON."""
    async with opened(url, redis_url) as (store, view):
        jobs = {job.id: job for job in await view.get_many(orjson.loads(sys.stdin.buffer.read()))}
        written = await _report(store, jobs, events, seconds)
    sys.stdout.buffer.write(orjson.dumps(written))


async def _report(store: Store, jobs: dict[str, Job], events: int, seconds: float) -> list[tuple[str, int, float]]:
    written: list[tuple[str, int, float]] = []

    async def report(job: Job) -> None:
        at = time.monotonic()
        after = await store.append(
            job, lambda job: progress(job, attempt=1, worker="bench", result={"n": job.seq}), actor="worker:bench"
        )
        jobs[job.id] = after
        written.append((after.id, after.seq, at))

    ids, began, done = list(jobs), time.monotonic(), 0
    running: set[asyncio.Task[None]] = set()
    while (passed := time.monotonic() - began) < seconds:
        while done < passed * events:
            task = asyncio.create_task(report(jobs[ids[done % len(ids)]]))
            running.add(task)
            task.add_done_callback(running.discard)
            done += 1
        await asyncio.sleep(EVERY)
    await asyncio.gather(*running)
    return written


@contextlib.asynccontextmanager
async def opened(url: str, redis_url: str) -> AsyncIterator[tuple[Store, JobsView]]:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    database, bus = Database(url), RedisBus(redis_url)
    await database.connect()
    await bus.start()
    store = Store(database, bus)
    await store.start()
    yield store, JobsView(database)
    await store.stop()
    await bus.stop()
    await database.disconnect()


if __name__ == "__main__":
    main()
