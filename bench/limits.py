"""Measures what the limits of one person cost a request that queues a job.

Two APIs run over one database and one Redis. The first has limits that are never reached, and the
second has no limits. They get load in turns. `python -m bench.limits [--rounds 10] [--save]` prints
a table in Markdown.
"""

import argparse
import statistics
import sys

import uvloop

from bench.load import Plan, load
from bench.processes import ADMIN, add_people, cpu_seconds, environment, postgres_pid, serving
from bench.record import add_save_option, publish
from bench.servers import servers

SYNC = "/api/chatwork/messages/sync?roomId=1%d"
NEVER_REACHED = {
    "LIMIT_REQUESTS": "100000000/minute",
    "LIMIT_STREAMS": "20",
    "LIMIT_HELD_ANSWERS": "20",
    "LIMIT_ACTIVE_JOBS": "100000000",
    "LIMIT_PAID_JOBS": "200/day",
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.limits", description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=3.0, help="of load on each API in a round")
    add_save_option(parser)
    options = parser.parse_args()
    with servers() as started, started.fresh(migrated=True) as url, environment(url, started.redis_url) as without:
        with serving(without | NEVER_REACHED) as limited, serving(without) as free:
            rounds = uvloop.run(_rounds(url, limited, free, options.rounds, options.seconds))
        publish("limits", _table(rounds), versions=started.versions, save=options.save)


Measured = tuple[float, float]
"""The requests answered in a second, and the CPU µs of API and PostgreSQL for each."""


async def _rounds(
    url: str, limited: tuple[int, int], free: tuple[int, int], rounds: int, seconds: float
) -> list[tuple[Measured, Measured]]:
    """Returns the figures of each round: with limits, and without them."""
    (token,) = await add_people(url, [ADMIN])
    postgres = await postgres_pid(url)
    number = 0

    async def measure(server: tuple[int, int]) -> Measured:
        nonlocal number
        number += 1_000_000
        pid, port = server
        before = cpu_seconds(pid) + cpu_seconds(postgres, with_children=True)
        outcome = await load(Plan([port], SYNC, token, first=number, seconds=seconds))
        used = cpu_seconds(pid) + cpu_seconds(postgres, with_children=True) - before
        return outcome.per_second, used / outcome.answered * 1e6

    for server in (limited, free):
        await measure(server)
    found = []
    for turn in range(rounds):
        order = (limited, free) if turn % 2 else (free, limited)
        figures = {server: await measure(server) for server in order}
        found.append((figures[limited], figures[free]))
        print(f"round {turn + 1}: {found[-1]}", file=sys.stderr, flush=True)
    return found


def _table(rounds: list[tuple[Measured, Measured]]) -> str:
    rows = ["| figure | with limits | without | with / without | from round to round |", "| --- | --- | --- | --- | --- |"]
    for column, what in ((0, "requests a second"), (1, "CPU µs of a request")):
        ratios = [limited[column] / free[column] for limited, free in rounds]
        limited, free = (statistics.median(pair[side][column] for pair in rounds) for side in (0, 1))
        rows.append(
            f"| {what} | {limited:,.0f} | {free:,.0f} | {statistics.median(ratios):.3f} | {min(ratios):.3f} to {max(ratios):.3f} |"
        )
    return "\n".join(rows)


if __name__ == "__main__":
    main()
