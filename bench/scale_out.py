"""Measures the speed of 1, 2 and 4 worker processes, and of 1 and 2 API processes.

The workers drain jobs, the API processes queue them. The report also has the CPU time that worker,
API, PostgreSQL and Redis use for a job. docs/scaling.md uses these costs.
"""

import argparse
import asyncio
import contextlib
import statistics
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import asyncpg
import redis.asyncio
import uvloop

from bench.http import PATHS
from bench.load import Plan, load
from bench.nothing import queued_per_second
from bench.processes import ADMIN, add_people, cpu_seconds, environment, postgres_pid, serving, started
from bench.record import add_save_option, publish
from bench.servers import fresh_database, versions_of
from events.database import connect
from service.config import Settings
from service.process.assembly import opened
from tests.servers import redis_server

WORKERS, APIS = (1, 2, 4), (1, 2)
LOOK_EVERY = 0.05  # seconds between two queries for unfinished jobs

LEFT = "select exists (select from jobs where type = 'nothing' and status in ('queued', 'processing'))"

# The fsyncs of the WAL are in `pg_stat_io` since PostgreSQL 18. With an older version the report leaves them out.
WRITTEN = """
select (select wal_bytes from pg_stat_wal)::float as wal, (select sum(fsyncs) from pg_stat_io where object = 'wal') as syncs
"""
ALONE = """
select not exists (
    select from pg_stat_activity
    where backend_type = 'client backend' and datname = current_database() and pid <> pg_backend_pid()
)
"""


@dataclass(slots=True)
class Cost:
    """Jobs a second in one round, and the CPU µs, bytes of WAL and fsyncs of one job."""

    jobs: int = 0
    per_second: float = 0.0
    cpu: dict[str, float] = field(default_factory=dict)
    wal: float = float("nan")
    syncs: float = float("nan")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.scale_out", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=10_000, help="jobs to drain in a round")
    parser.add_argument("--seconds", type=float, default=4.0, help="seconds of queueing over HTTP in a round")
    add_save_option(parser)
    options = parser.parse_args()
    with fresh_database() as url, redis_server() as redis_url, environment(url, redis_url) as settings:
        tables = uvloop.run(_measure(url, redis_url, settings, options))
        publish("scale_out", tables, versions=versions_of(url, redis_url), save=options.save)


async def _measure(url: str, redis_url: str, settings: dict[str, str], options: argparse.Namespace) -> str:
    (token,) = await add_people(url, [ADMIN])
    meter = Meter(url, await postgres_pid(url), await _redis_pid(redis_url))
    drained: dict[int, list[Cost]] = defaultdict(list)
    queued: dict[int, list[Cost]] = defaultdict(list)
    for number in range(options.rounds):
        for workers in WORKERS:
            drained[workers].append(await _drain(url, redis_url, settings, meter, workers, options.jobs))
        for apis in APIS:
            first = (number * len(APIS) + apis) * 1_000_000
            queued[apis].append(await _queue(settings, meter, apis, token, first, options.seconds))
    return "\n\n".join([_table("drain by worker processes", drained), _table("queue over HTTP by API processes", queued)])


class Meter:
    """Measures the CPU and WAL that a block uses."""

    def __init__(self, url: str, postgres: int, redis: int | None) -> None:
        self._url, self._postgres, self._redis = url, postgres, redis

    @contextlib.asynccontextmanager
    async def measured(self, cost: Cost, name: str, pids: list[int]) -> AsyncIterator["Count"]:
        """Measures the CPU time of the processes `pids` and of the servers during the block.

        The report calls the processes `name`. The block must call `end` of the `Count` when the
        jobs have ended.
        """
        before, count = self._used(name, pids), Count(time.perf_counter())
        yield count
        after = self._used(name, pids)
        cost.jobs += count.jobs
        cost.per_second = count.jobs / (count.ended - count.began)
        cost.cpu = {part: (after[part] - before[part]) / count.jobs * 1e6 for part in after}

    @contextlib.asynccontextmanager
    async def written(self, cost: Cost) -> AsyncIterator[None]:
        """Measures the WAL and the fsyncs of the block.

        It waits until all clients have disconnected, because backends report their figures late.
        """
        before = await _written(self._url)
        yield
        after = await _written(self._url)
        if before is not None and after is not None:
            cost.wal, cost.syncs = ((b - a) / cost.jobs for a, b in zip(before, after, strict=True))

    def _used(self, name: str, pids: list[int]) -> dict[str, float]:
        used = {name: sum(map(cpu_seconds, pids)), "PostgreSQL": cpu_seconds(self._postgres, with_children=True)}
        return used | ({"Redis": cpu_seconds(self._redis)} if self._redis is not None else {})


@dataclass(slots=True)
class Count:
    began: float
    ended: float = 0.0
    jobs: int = 0

    def end(self, jobs: int) -> None:
        self.jobs, self.ended = jobs, time.perf_counter()


async def _drain(url: str, redis_url: str, settings: dict[str, str], meter: Meter, workers: int, jobs: int) -> Cost:
    """Measures a drain: from the start of all workers until the last job has completed."""
    async with opened(Settings(app_env="test", redis_url=redis_url, job_worker_enabled=False), url, seals=True) as core:
        await queued_per_second(core, jobs)
    cost = Cost()
    async with meter.written(cost), contextlib.AsyncExitStack() as stack:
        processes = [stack.enter_context(started("bench.nothing", environment=settings))[0] for _ in range(workers)]
        connection = await connect(url)
        stack.push_async_callback(connection.close)
        async with meter.measured(cost, "worker", [process.pid for process in processes]) as count:
            for process in processes:
                assert process.stdin is not None
                process.stdin.write("go\n")
                process.stdin.flush()
            while await connection.fetchval(LEFT):  # noqa: ASYNC110 (nothing tells this process)
                await asyncio.sleep(LOOK_EVERY)
            count.end(jobs)
    return cost


async def _queue(settings: dict[str, str], meter: Meter, apis: int, token: str, first: int, seconds: float) -> Cost:
    cost = Cost()
    async with meter.written(cost), contextlib.AsyncExitStack() as stack:
        processes = [stack.enter_context(serving(settings)) for _ in range(apis)]
        ports = [port for _, port in processes]
        cost.jobs = (await load(Plan(ports, PATHS["ours"], token, first=first + 900_000, seconds=1.0))).answered
        async with meter.measured(cost, "API", [pid for pid, _ in processes]) as count:
            outcome = await load(Plan(ports, PATHS["ours"], token, first=first, seconds=seconds))
            count.end(outcome.answered)
    cost.per_second = outcome.per_second
    return cost


async def _written(url: str) -> tuple[float, float] | None:
    connection = await connect(url)
    try:
        while not await connection.fetchval(ALONE):  # noqa: ASYNC110 (nothing tells this process)
            await asyncio.sleep(LOOK_EVERY)
        row = await connection.fetchrow(WRITTEN)
        assert row is not None
        return row["wal"], float(row["syncs"] or 0)
    except asyncpg.PostgresError:
        return None
    finally:
        await connection.close()


async def _redis_pid(redis_url: str) -> int | None:
    """Returns the process id of Redis, or None if it runs on another machine."""
    async with redis.asyncio.Redis.from_url(redis_url) as client:
        info = await client.info("server")
    return int(info["process_id"]) if "127.0.0.1" in redis_url else None


def _table(what: str, costs: dict[int, list[Cost]]) -> str:
    parts = list(costs[1][0].cpu)
    rows = [
        f"| {what} | jobs/s | range | {' | '.join(f'CPU µs a job, {part}' for part in parts)} | bytes of WAL | fsyncs |",
        "| --- | --- | --- |" + " --- |" * (len(parts) + 2),
    ]
    for number, rounds in costs.items():
        speeds = [cost.per_second for cost in rounds]
        cpu = [f"{statistics.median(cost.cpu[part] for cost in rounds):.0f}" for part in parts]
        wal, syncs = (statistics.median(values) for values in ([c.wal for c in rounds], [c.syncs for c in rounds]))
        rows.append(
            f"| {number} | {statistics.median(speeds):,.0f} | {min(speeds):,.0f} to {max(speeds):,.0f} | {' | '.join(cpu)} | "
            f"{wal:,.0f} | {syncs:.3f} |"
        )
    return "\n".join(rows)


if __name__ == "__main__":
    main()
