"""Runs the benchmarks, interleaved in rounds, and prints one Markdown table: medians, ranges, and ratios within this run."""

import argparse
import asyncio
import contextlib
import importlib.metadata
import os
import platform
import secrets
import shutil
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import redis.asyncio
import uvloop

from bench.appends import events_per_second
from bench.ours import Ours, ours
from bench.plain_arq import AS_SHIPPED, AT_ITS_BEST, PlainArq, plain_arq
from bench.rooms import sync_rooms
from events.embedded import EmbeddedPostgres
from migrations.migrate import migrate
from tests.servers import redis_server

Figures = dict[str, list[float]]

RATIOS = (
    (
        "Appends: group commit against one statement for each event, one connection",
        "append, grouped",
        "append, 1 connection",
        "8",
    ),
    (
        "Appends: group commit against one statement for each event, ten connections",
        "append, grouped",
        "append, 10 connections",
        "3",
    ),
    (
        "Drain: ours (three durable events a job) against arq as shipped (no history)",
        "drain, ours",
        "drain, arq as shipped",
        "1",
    ),
    ("Drain: ours against arq at its best settings", "drain, ours", "drain, arq at its best", "–"),
    ("Enqueue, 50 callers: ours (durable) against arq", "enqueue, ours", "enqueue, arq", "–"),
)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--short", action="store_true", help="one round of less, under a minute")
    parser.add_argument(
        "--rooms", type=Path, metavar="FILE", help="also sync these rooms (NDJSON, plain or gzip) through the sandbox"
    )
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the tables to a file too")
    options = parser.parse_args()
    rounds, jobs, seconds = (1, 2_000, 1.0) if options.short else (options.rounds, 5_000, 3.0)
    with fresh_database() as url, redis_server() as redis_url:
        uvloop.run(_empty(redis_url))
        report = uvloop.run(_measure(url, redis_url, rounds, jobs, seconds))
        if options.rooms:
            report += uvloop.run(sync_rooms(url, redis_url, options.rooms))
    print(report)
    if options.write:
        options.write.write_text(report, encoding="utf-8")


@contextlib.contextmanager
def fresh_database() -> Iterator[str]:
    """A migrated database of its own, on the server of DATABASE_URL, else on an embedded one with fsync on."""
    name = f"rireki_bench_{secrets.token_hex(4)}"
    with contextlib.ExitStack() as stack:
        if (server := os.environ.get("DATABASE_URL")) is None:
            home = tempfile.mkdtemp(prefix="rireki-bench-")
            stack.callback(shutil.rmtree, home, ignore_errors=True)
            embedded = EmbeddedPostgres.start(Path(home))
            stack.callback(embedded.close)
            server = embedded.url()
        uvloop.run(_administer(server, f"create database {name}"))
        stack.callback(lambda: uvloop.run(_administer(server, f"drop database {name} with (force)")))
        url = urlunsplit(urlsplit(server)._replace(path=f"/{name}"))
        migrate(url)
        yield url


async def _measure(url: str, redis_url: str, rounds: int, jobs: int, seconds: float) -> str:
    figures: Figures = defaultdict(list)
    for _ in range(rounds):
        figures["append, grouped"].append(await events_per_second(url, jobs=100, seconds=seconds))
        figures["append, 1 connection"].append(
            await events_per_second(url, jobs=100, seconds=seconds, lanes=1, most_in_a_batch=1)
        )
        figures["append, 10 connections"].append(
            await events_per_second(url, jobs=100, seconds=seconds, lanes=10, most_in_a_batch=1)
        )
        async with ours(url, redis_url) as queue:
            figures["enqueue, ours"].append(await queue.enqueue_many(jobs, 50))
            figures["drain, ours"].append(await queue.drain(jobs))
            await _pick_up(figures, "ours", queue, 50)
            figures["cancel of a running job ms, ours"] += await queue.cancel_running(50)
        for name, settings in (("as shipped", AS_SHIPPED), ("at its best", AT_ITS_BEST)):
            async with plain_arq(redis_url, settings) as arq:
                figures["enqueue, arq"].append(await arq.enqueue_many(jobs, 50))
                figures[f"drain, arq {name}"].append(await arq.drain(jobs))
                await _pick_up(figures, f"arq {name}", arq, 50 if name == "at its best" else 15)
    return f"{await _machine(url, redis_url)}\n\n{_table(figures)}\n\n{_ratios(figures)}\n"


async def _pick_up(figures: Figures, name: str, queue: Ours | PlainArq, times: int) -> None:
    """Milliseconds from the end of the enqueue to the start of the job, by an idle worker."""
    async with queue.working():
        for _ in range(times):
            await asyncio.sleep(0.05)
            job = await queue.enqueue()
            queued_at, id = time.perf_counter(), job if isinstance(job, str) else job.id
            while id not in queue.started:  # noqa: ASYNC110 (an event would be one more turn of the loop for one side only)
                await asyncio.sleep(0.0002)
            figures[f"pick-up ms, {name}"].append(max(0.0, (queue.started[id] - queued_at) * 1000))


def _table(figures: Figures) -> str:
    rows = [
        f"| {name} | {statistics.median(f):,.1f} | {min(f):,.1f} to {max(f):,.1f} | {len(f)} |" for name, f in figures.items()
    ]
    return "\n".join(["| what (per second, unless in ms) | median | range | measured |", "| --- | --- | --- | --- |", *rows])


def _ratios(figures: Figures) -> str:
    rows = [
        f"| {what} | {statistics.median(figures[a]) / statistics.median(figures[b]):.1f}× | {wanted} |"
        for what, a, b, wanted in RATIOS
    ]
    return "\n".join(["| ratio of medians, in this run | is | wanted |", "| --- | --- | --- |", *rows])


async def _machine(url: str, redis_url: str) -> str:
    connection = await asyncpg.connect(url)
    postgres = await connection.fetchval("select current_setting('server_version') || ', fsync ' || current_setting('fsync')")
    await connection.close()
    async with redis.asyncio.Redis.from_url(redis_url) as client:
        server = await client.info("server")
    wire = f"Valkey {server['valkey_version']}" if "valkey_version" in server else f"Redis {server['redis_version']}"
    return (
        f"{time.strftime('%Y-%m-%d')}, {os.cpu_count()} cores, Python {platform.python_version()}, PostgreSQL {postgres}, {wire}, "
        f"arq {importlib.metadata.version('arq')}, asyncpg {importlib.metadata.version('asyncpg')}."
    )


async def _administer(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute(statement)
    await connection.close()


async def _empty(redis_url: str) -> None:
    """What an earlier run may have left in the queue."""
    async with redis.asyncio.Redis.from_url(redis_url) as client:
        await client.delete("arq:queue", *[queue async for queue in client.scan_iter("arq:queue/*")])


if __name__ == "__main__":
    main()
