"""Measures each trick alone: the same work with and without the trick, in turns.

A trick makes the code faster but harder to understand. It uses a private part of a library, a cache
in an odd place, or a default that is switched off. A trick that saves less than 5 % of its path must
be removed. `python -m bench.tricks [--rounds 5] [--save]` prints a table in Markdown.
"""

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import partial

import uvloop

from bench.load import Plan, load
from bench.processes import ADMIN, add_people, cpu_seconds, environment, postgres_pid, running
from bench.record import add_save_option, publish
from bench.servers import Servers, servers
from bench.without import OF_THE_API, OF_THE_DRAIN

JOBS = 5_000  # jobs of one drain
SYNC = "/api/chatwork/messages/sync?roomId=1%d"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.tricks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--seconds",
        type=float,
        default=3.0,
        help="seconds of load on the API in each half of a round: with the trick, and without it",
    )
    parser.add_argument("tricks", nargs="*", help="names of tricks; all of them by default")
    add_save_option(parser)
    options = parser.parse_args()
    rows = [
        "| trick | path | saved of its CPU | from round to round | CPU µs with | without |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    with servers() as started:
        drain, api = partial(_drain, started), partial(_api, started, seconds=options.seconds)
        rows += [
            _row(trick, path, _rounds(options.rounds, measure, trick))
            for tricks, path, measure in ((OF_THE_DRAIN, "a drained job", drain), (OF_THE_API, "a request that queues", api))
            for trick in _wanted(tricks, options.tricks)
        ]
        publish("tricks", "\n".join(rows), versions=started.versions, save=options.save)


def _wanted(tricks: Iterable[Callable[[], None]], names: Sequence[str]) -> list[str]:
    return [trick.__name__ for trick in tricks if not names or trick.__name__ in names]


def _rounds(rounds: int, measure: Callable[[str], float], trick: str) -> list[tuple[float, float]]:
    """Returns pairs of CPU µs: with the trick, and without it.

    The order in which the two are measured alternates.
    """
    pairs = []
    for round_number in range(rounds):
        order = ("nothing", trick) if round_number % 2 == 0 else (trick, "nothing")
        found = {name: measure(name) for name in order}
        pairs.append((found["nothing"], found[trick]))
    return pairs


def _row(trick: str, path: str, pairs: list[tuple[float, float]]) -> str:
    saved = [1 - used / without for used, without in pairs]
    used, without = (statistics.median(column) for column in zip(*pairs, strict=True))
    row = (
        f"| {trick.replace('_', ' ')} | {path} | {statistics.median(saved):.1%} | {min(saved):.1%} to {max(saved):.1%} "
        f"| {used:.0f} | {without:.0f} |"
    )
    print(row, file=sys.stderr, flush=True)
    return row


def _drain(started: Servers, without: str) -> float:
    """Returns the CPU µs for one job of a drained queue: worker, PostgreSQL and Redis together."""
    with started.fresh(migrated=True) as url:
        given = {
            "redis_url": started.redis_url, "postgres_url": url, "redis_pid": started.redis_pid,
            "postgres_pid": started.postgres_pid, "enqueue": JOBS, "bulk": JOBS, "pick_ups": 0, "cancels": 0,
            "settings": {"slots": 100},
        }  # fmt: skip
        command = [sys.executable, "-m", "bench.without", without, "bench.ours", json.dumps(given)]
        printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    figures = json.loads(printed.splitlines()[-1])["figures"]
    return float(sum(figures[name][0] for name in ("cpu_worker", "cpu_postgres", "cpu_redis") if name in figures))


def _api(started: Servers, without: str, seconds: float) -> float:
    """Returns the CPU µs that API and PostgreSQL together use for a request that queues a job."""
    with (
        started.fresh(migrated=True) as url, environment(url, started.redis_url) as settings,
        running("bench.without", without, "service.cli", "serve", environment=settings) as (pid, port),
    ):  # fmt: skip
        return uvloop.run(_load(url, pid, port, seconds))


async def _load(url: str, pid: int, port: int, seconds: float) -> float:
    (token,) = await add_people(url, [ADMIN])
    postgres = await postgres_pid(url)
    await load(Plan([port], SYNC, token, first=0, seconds=1.0))
    before = cpu_seconds(pid) + cpu_seconds(postgres, with_children=True)
    outcome = await load(Plan([port], SYNC, token, first=1_000_000, seconds=seconds))
    after = cpu_seconds(pid) + cpu_seconds(postgres, with_children=True)
    return (after - before) / outcome.answered * 1e6


if __name__ == "__main__":
    main()
