"""Measures a request that queues a job, and compares it with two bare Starlette routes.

One bare route answers a constant, the other only queues a job. The API also authenticates and checks.
All three are measured in turns with the same kind of server and with the same client, which has 50
connections.
"""

import argparse
import statistics
from collections import defaultdict
from dataclasses import dataclass

import uvloop

from bench.load import Outcome, Plan, load
from bench.processes import ADMIN, add_people, cpu_seconds, environment, postgres_pid, running, serving
from bench.record import add_save_option, publish
from bench.servers import fresh_database, versions_of
from tests.servers import redis_server

PATHS = {"bare": "/", "queues": "/queue/1%d", "ours": "/api/chatwork/messages/sync?roomId=1%d"}
WHAT = {"bare": "a constant from a bare route", "queues": "a job queued by a bare route", "ours": "a job queued by the API"}


@dataclass(frozen=True, slots=True)
class Round:
    outcome: Outcome
    api_cpu: float
    postgres_cpu: float
    """CPU seconds."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.http", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0, help="seconds for each of the three in a round")
    parser.add_argument("--connections", type=int, default=50)
    add_save_option(parser)
    options = parser.parse_args()
    with (
        fresh_database() as url, redis_server() as redis_url, environment(url, redis_url) as settings,
        serving(settings) as api, running("bench.bare", environment=settings) as bare,
    ):  # fmt: skip
        table = uvloop.run(_measure(url, api, bare, options))
        publish("http", table, versions=versions_of(url, redis_url), save=options.save)


async def _measure(url: str, api: tuple[int, int], bare: tuple[int, int], options: argparse.Namespace) -> str:
    (token,) = await add_people(url, [ADMIN])
    postgres = await postgres_pid(url)
    first = 0

    async def ask(name: str, seconds: float) -> Round:
        nonlocal first
        first += 1_000_000
        pid, port = api if name == "ours" else bare
        before = cpu_seconds(pid), cpu_seconds(postgres, with_children=True)
        outcome = await load(Plan([port], PATHS[name], token, first=first, connections=options.connections, seconds=seconds))
        return Round(outcome, cpu_seconds(pid) - before[0], cpu_seconds(postgres, with_children=True) - before[1])

    rounds: dict[str, list[Round]] = defaultdict(list)
    for name in PATHS:
        await ask(name, 1.0)
    for _ in range(options.rounds):
        for name in PATHS:
            rounds[name].append(await ask(name, options.seconds))
    return _table(rounds)


def _table(rounds: dict[str, list[Round]]) -> str:
    rows = [
        "| over HTTP, medians | requests/s | range | ms p50 | ms p99 | CPU µs of the API | of PostgreSQL | of the client |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, what in WHAT.items():
        per_second = [each.outcome.per_second for each in rounds[name]]
        outcomes = [each.outcome for each in rounds[name]]
        cpu = [
            statistics.median(used / each.outcome.answered * 1e6 for used, each in zip(column, rounds[name], strict=True))
            for column in zip(*((r.api_cpu, r.postgres_cpu, r.outcome.client_cpu) for r in rounds[name]), strict=True)
        ]
        rows.append(
            f"| {what} | {statistics.median(per_second):,.0f} | {min(per_second):,.0f} to {max(per_second):,.0f} | "
            f"{statistics.median(o.p50 for o in outcomes):.1f} | {statistics.median(o.p99 for o in outcomes):.1f} | "
            + " | ".join(f"{each:.0f}" for each in cpu)
            + " |"
        )
    for name, wanted in (("queues", ""), ("ours", " (wanted: 0.5×)")):
        ratios = [
            some.outcome.per_second / bare.outcome.per_second for bare, some in zip(rounds["bare"], rounds[name], strict=True)
        ]
        rows.append(
            f"| {WHAT[name]} / the constant{wanted} | {statistics.median(ratios):.2f}× | {min(ratios):.2f}× to {max(ratios):.2f}× "
            "| | | | | |"
        )
    return "\n".join(rows)


if __name__ == "__main__":
    main()
