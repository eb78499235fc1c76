"""Compares a verification of the whole log with that of an earlier revision, in turns in one database.

Also measures a verification of only the newest events, and the memory that the processes need.
"""

import argparse
import io
import statistics
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import uvloop

from bench.fill import Filled, fill
from bench.record import add_save_option, publish
from bench.servers import fresh_database, versions_of
from events.database import connect
from events.positions import places
from projections.tree import root
from tests.servers import redis_server

REPOSITORY = Path(__file__).resolve().parents[1]
BEFORE = "b68fa2d"

NEW = 10_000  # events

STATE = f"""
select (select origin from log_origins order by number desc limit 1) as origin, c.epoch, e.xid::text::bigint as xid, e.event_id,
    (extract(epoch from e.at) * 1000000)::bigint - 946684800000000 as greatest
from job_event_log_cursor c, {places(after="($1::bigint - 1)", until="$1::bigint")} as p
join job_events e on e.job_id = p.job_id and e.seq = p.seq
"""

# The code of each revision verifies in a process of its own. It prints seconds, events, findings, and the largest memory of a
# process in KiB.
MEASURED = """
import asyncio, json, resource, sys, time
from events.database import Database
from projections.verify import verify

async def main(url, more):
    database = Database(url)
    await database.connect()
    began = time.perf_counter()
    if "since" in more:
        from projections.verifying.state import VerifiedTo
        more["since"] = VerifiedTo(**(more["since"] | {"root": bytes.fromhex(more["since"]["root"])}))
    verified = await verify(database, **more)
    seconds = time.perf_counter() - began
    memory = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    print(json.dumps([seconds, verified.events, sum(verified.counts.values()), memory]))

if __name__ == "__main__":
    import uvloop
    uvloop.run(main(sys.argv[1], json.loads(sys.argv[2])))
"""


@dataclass(frozen=True, slots=True)
class Run:
    """One verification: its duration, and the largest memory of one of its processes in MB."""

    seconds: float
    events: int
    findings: int
    memory: float

    @property
    def rate(self) -> float:
        return self.events / self.seconds


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.verify", description=__doc__)
    parser.add_argument("--jobs", type=int, default=300_000, help="jobs in the database, with about three events each")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--before", default=BEFORE, metavar="REVISION", help="the earlier revision")
    add_save_option(parser)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, fresh_database() as url, redis_server() as redis_url:
        before = _checked_out(options.before, Path(folder))
        filled = uvloop.run(fill(url, options.jobs))
        ways: dict[str, tuple[Path, dict[str, Any]]] = {
            f"`{options.before}`": (before, {}),
            "now, one process": (REPOSITORY, {"processes": 1}),
            "now, a process for each core": (REPOSITORY, {}),
            f"now, only the newest {NEW:,} events": (
                REPOSITORY,
                {"since": uvloop.run(_state_before(url, filled.events - NEW))},
            ),
        }
        runs: dict[str, list[Run]] = {name: [] for name in ways}
        for _ in range(options.rounds):
            for name, (code, more) in ways.items():
                runs[name].append(_verify(code, url, more))
        publish("verify", _table(filled, runs), versions=versions_of(url, redis_url), save=options.save)


def _checked_out(revision: str, folder: Path) -> Path:
    archive = subprocess.run(["git", "archive", revision], cwd=REPOSITORY, stdout=subprocess.PIPE, check=True)
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
        files.extractall(folder, filter="data")
    return folder


async def _state_before(url: str, size: int) -> dict[str, Any]:
    """Returns the state of a verification of the first `size` events."""
    connection = await connect(url, statement_timeout="0")
    try:
        row = await connection.fetchrow(STATE, size)
        assert row is not None
        return dict(row) | {"size": size, "root": (await root(connection, size)).hex()}
    finally:
        await connection.close()


def _verify(code: Path, url: str, more: dict[str, Any]) -> Run:
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "verification.py"
        script.write_text(MEASURED)
        done = subprocess.run(
            [sys.executable, str(script), url, orjson.dumps(more).decode()],
            env={"PYTHONPATH": str(code), "PATH": ""}, stdout=subprocess.PIPE, check=True,
        )  # fmt: skip
    seconds, events, findings, memory = orjson.loads(done.stdout)
    return Run(seconds, events, findings, memory / 1024)


def _table(filled: Filled, runs: Mapping[str, Sequence[Run]]) -> str:
    first = next(iter(runs.values()))
    lines = [
        f"{filled.jobs:,} jobs, {filled.events:,} events; medians of {len(first)} rounds in turns.",
        "",
        "| code | events/s | ratio | seconds | findings | MB of the largest process |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    base = statistics.median(run.rate for run in first)
    for name, own in runs.items():
        rate = statistics.median(run.rate for run in own)
        lines.append(
            f"| {name} | {rate:,.0f} | {rate / base:.1f}× | {statistics.median(run.seconds for run in own):.1f}"
            f" | {own[0].findings} | {max(run.memory for run in own):.0f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
