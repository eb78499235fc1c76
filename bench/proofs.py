"""Measures exports of the log, and proofs from the tiles of a log of many events.

`python -m bench.proofs [--jobs N] [--events N] [--before FOLDER] [--save]` prints a table in Markdown.
With `--before`, the checkout of another version in FOLDER exports the same log, in turns with this one.
The tiles of the large log are filled with invented hashes, because a proof costs the same for any.
"""

import argparse
import contextlib
import os
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import uvloop

from bench.fill import LONGEST, fill
from bench.processes import cpu_seconds, postgres_pid
from bench.record import add_save_option, publish
from bench.servers import servers
from events.database import Connection, Database, connect
from projections import tree
from projections.proof.checkpoint import Checkpoint
from projections.proof.signed_note import Signer, sign

HERE = Path(__file__).resolve().parents[1]
PROOFS = 1_000
BEFORE = "to standard output, the version before"
AT_ONCE = 5_000  # tiles in one statement
SECRET = bytes(range(32))

TILES = """
insert into log_tiles (tile, epoch, xid, event_id, job_ids, seqs, leaves, root)
select g, 0, '1', g, array_fill('00000000-0000-0000-0000-000000000000'::uuid, array[256]), array_fill(1, array[256]),
    decode(repeat('ab', 8192), 'hex'), sha256(g::text::bytea)
from generate_series($1::bigint, $2::bigint) as g
"""
UPPER_TILES = """
insert into log_upper_tiles (level, tile, hashes, root)
select $1::smallint, g, decode(repeat('ab', 8192), 'hex'), sha256(g::text::bytea)
from generate_series(0, $2::bigint - 1) as g
"""
CURSOR = "update job_event_log_cursor set position = $1, turn = turn + 1"
ADD = "insert into checkpoints (origin, size, root, note) values ($1, $2, $3, $4)"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.proofs", description=__doc__)
    parser.add_argument("--jobs", type=int, default=60_000, help="jobs of the log that is exported")
    parser.add_argument("--events", type=int, default=30_000_000, help="events of the log that gives proofs")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--before", type=Path, help="a checkout of an earlier version")
    parser.add_argument("--revision", help="the newest revision of the schema that the earlier version knows, such as 0015")
    add_save_option(parser)
    options = parser.parse_args()
    with servers() as started:
        with started.fresh(migrated=True) as url:
            exports = _exports(url, options.jobs, options.rounds, options.before, options.revision)
        with started.fresh(migrated=True) as url:
            proofs = uvloop.run(_proofs(url, options.events))
        publish("proofs", f"{exports}\n\n{proofs}", versions=started.versions, save=options.save)


class Cost(NamedTuple):
    """The cost of an export for one event, in µs: time, CPU of its process, CPU of PostgreSQL."""

    time: float
    process: float
    postgres: float


def _exports(url: str, jobs: int, rounds: int, before: Path | None, revision: str | None) -> str:
    events = uvloop.run(_signed_log(url, jobs))
    postgres = uvloop.run(postgres_pid(url))
    commands = {"to standard output": (HERE, ("audit", "export")), "into a directory": (HERE, ("audit", "export", "--to"))}
    if before is not None:
        commands[BEFORE] = (before, ("audit", "export"))
    costs: dict[str, list[Cost]] = {name: [] for name in commands}
    for turn in range(rounds):
        for name in list(commands) if turn % 2 else list(commands)[::-1]:
            folder, command = commands[name]
            with _schema(url, revision if folder == before else None):
                costs[name].append(_cost(url, folder, command, events, postgres))
            print(f"round {turn + 1}: {name}: {costs[name][-1]}", file=sys.stderr, flush=True)
    columns = ("events a second", "CPU µs of its process", "of PostgreSQL", "time, times less", "CPU, times less")
    rows = [f"| export of {events:,} events | {' | '.join(columns)} |", "| --- " * (1 + len(columns)) + "|"]
    return "\n".join(rows + [_row(name, found, costs.get(BEFORE)) for name, found in costs.items()])


def _row(name: str, found: list[Cost], before: list[Cost] | None) -> str:
    time_of_one, process, postgres = (statistics.median(column) for column in zip(*found, strict=True))
    cells = [name, f"{1e6 / time_of_one:,.0f}", f"{process:.1f}", f"{postgres:.1f}", "", ""]
    if before is not None:
        pairs = list(zip(before, found, strict=True))
        cells[4] = f"{statistics.median(old.time / new.time for old, new in pairs):.2f}"
        cells[5] = f"{statistics.median((old.process + old.postgres) / (new.process + new.postgres) for old, new in pairs):.2f}"
    return f"| {' | '.join(cells)} |"


@contextlib.contextmanager
def _schema(url: str, revision: str | None) -> Iterator[None]:
    """Gives the schema an earlier revision number for the block, because old code refuses a newer schema."""
    if revision is None:
        yield
        return
    newest = uvloop.run(_set_revision(url, revision))
    try:
        yield
    finally:
        uvloop.run(_set_revision(url, newest))


async def _set_revision(url: str, revision: str) -> str:
    connection = await connect(url)
    before: str = await connection.fetchval("select version_num from alembic_version")
    await connection.execute("update alembic_version set version_num = $1", revision)
    await connection.close()
    return before


def _cost(url: str, folder: Path, command: tuple[str, ...], events: int, postgres: int) -> Cost:
    """Returns the cost of an export, less the cost of an export without events."""
    target = [tempfile.mkdtemp()] if command[-1] == "--to" else []
    try:
        whole = _run(url, folder, postgres, *command, *target)
    finally:
        for made in target:
            shutil.rmtree(made)
    empty = _run(url, folder, postgres, "audit", "export", "--after", str(events))
    return Cost(*((one - other) / events * 1e6 for one, other in zip(whole, empty, strict=True)))


def _run(url: str, folder: Path, postgres: int, *arguments: str) -> tuple[float, float, float]:
    """Runs a command. Returns its seconds, its seconds of CPU, and those of PostgreSQL."""
    variables: Mapping[str, str] = os.environ | {"DATABASE_URL": url, "APP_ENV": "test"}
    began, own, theirs = time.perf_counter(), _cpu_of_children(), cpu_seconds(postgres, with_children=True)
    with tempfile.TemporaryFile() as out:
        command = [sys.executable, "-m", "service.cli", *arguments]
        subprocess.run(command, cwd=folder, env=variables, stdout=out, check=True)
    ended = time.perf_counter(), _cpu_of_children(), cpu_seconds(postgres, with_children=True)
    return ended[0] - began, ended[1] - own, ended[2] - theirs


def _cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


async def _signed_log(url: str, jobs: int) -> int:
    """Fills a database and signs its log. Returns the number of events."""
    await fill(url, jobs)
    connection = await connect(url)
    origin = await connection.fetchval("select origin from log_origins")
    size = await tree.sealed_size(connection)
    root = await tree.root(connection, size)
    note = sign(Checkpoint(origin, size, root).to_text(), [Signer(origin, SECRET)]).to_bytes().decode()
    await connection.execute(ADD, origin, size, root, note)
    await connection.close()
    return size


async def _proofs(url: str, events: int) -> str:
    """Fills the tiles of a log of `events` events, and measures proofs of random events and sizes."""
    database = Database(url)
    await database.connect()
    connection = await connect(url, statement_timeout="0", synchronous_commit="off")
    size = events - events % 256 - 1  # the last tile is a partial one, read from a full one
    await _fill_tiles(connection, events // 256)
    await connection.execute(CURSOR, events)
    chance = random.Random(20261130)
    kinds: dict[str, Callable[[], Awaitable[object]]] = {
        "inclusion of a random event": lambda: tree.inclusion(connection, chance.randrange(size), size),
        "consistency of two random sizes": lambda: tree.consistency(connection, *sorted(chance.sample(range(1, size), 2))),
        "root of a random size": lambda: tree.root(connection, chance.randrange(size)),
    }
    backend = await connection.fetchval("select pg_backend_pid()")
    rows = [
        f"| proof in a log of {events:,} events | median ms | 99 % ms | CPU ms of the process | of PostgreSQL |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, prove in kinds.items():
        own, theirs = time.process_time(), cpu_seconds(backend)
        found = [await _milliseconds(prove) for _ in range(PROOFS)]
        used = [
            (after - before) / PROOFS * 1000 for after, before in ((time.process_time(), own), (cpu_seconds(backend), theirs))
        ]
        last = statistics.quantiles(found, n=100)[98]
        rows.append(f"| {name} | {statistics.median(found):.2f} | {last:.2f} | {used[0]:.2f} | {used[1]:.2f} |")
    await connection.close()
    await database.disconnect()
    return "\n".join(rows)


async def _fill_tiles(connection: Connection, tiles: int) -> None:
    for first in range(0, tiles, AT_ONCE):
        await connection.execute(TILES, first, min(tiles, first + AT_ONCE) - 1, timeout=LONGEST)
    level, full = 1, tiles // 256
    while full:
        await connection.execute(UPPER_TILES, level, full, timeout=LONGEST)
        level, full = level + 1, full // 256
    await connection.execute("vacuum analyze log_tiles", timeout=LONGEST)


async def _milliseconds(prove: Callable[[], Awaitable[object]]) -> float:
    began = time.perf_counter()
    await prove()
    return (time.perf_counter() - began) * 1000


if __name__ == "__main__":
    main()
