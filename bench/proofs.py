"""Measures exports of the log, and proofs from the tiles of a log of many events.

`python -m bench.proofs [--jobs N] [--events N] [--before FOLDER] [--save]` prints a table in Markdown.
With `--before`, the checkout of another version in FOLDER exports the same log, in turns with this one.
The tiles of the large log are filled with invented hashes, because a proof costs the same for any.
"""

import argparse
import contextlib
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path

import uvloop

from bench.fill import LONGEST, fill
from bench.record import add_save_option, publish
from bench.servers import servers
from events.database import Connection, Database, connect
from projections import tree
from projections.proof.checkpoint import Checkpoint
from projections.proof.signed_note import Signer, sign

HERE = Path(__file__).resolve().parents[1]
PROOFS = 1_000
AT_ONCE = 5_000  # tiles in one statement
SECRET = bytes(range(32))

TILES = """
insert into log_tiles (tile, epoch, xid, event_id, job_ids, seqs, leaves, root)
select g, 0, '1', g, array_fill('00000000-0000-0000-0000-000000000000'::uuid, array[256]), array_fill(1, array[256]),
    decode(repeat(md5(g::text), 512), 'hex'), sha256(g::text::bytea)
from generate_series($1::bigint, $2::bigint) as g
"""
UPPER_TILES = """
insert into log_upper_tiles (level, tile, hashes, root)
select $1::smallint, g, decode(repeat(md5(g::text), 512), 'hex'), sha256(g::text::bytea)
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


def _exports(url: str, jobs: int, rounds: int, before: Path | None, revision: str | None) -> str:
    events = uvloop.run(_signed_log(url, jobs))
    commands = {"to standard output": (HERE, ("audit", "export")), "into a directory": (HERE, ("audit", "export", "--to"))}
    if before is not None:
        commands["to standard output, the version before"] = (before, ("audit", "export"))
    rates: dict[str, list[float]] = {name: [] for name in commands}
    for turn in range(rounds):
        for name in list(commands) if turn % 2 else list(commands)[::-1]:
            folder, command = commands[name]
            with _schema(url, revision if folder == before else None):
                rates[name].append(events / _seconds(url, folder, command, events))
            print(f"round {turn + 1}: {name}: {rates[name][-1]:,.0f} events/s", file=sys.stderr, flush=True)
    rows = [f"| export of {events:,} events, without the start of the process | events a second |", "| --- | --- |"]
    rows += [f"| {name} | {statistics.median(found):,.0f} |" for name, found in rates.items()]
    if before is not None:
        old = rates["to standard output, the version before"]
        for name in ("to standard output", "into a directory"):
            ratios = [new / other for new, other in zip(rates[name], old, strict=True)]
            rows.append(f"| {name}, beside the version before | {statistics.median(ratios):.2f} times |")
    return "\n".join(rows)


@contextlib.contextmanager
def _schema(url: str, revision: str | None) -> Iterator[None]:
    """Says for a while that the schema has an earlier revision, because an earlier version refuses a newer one."""
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


def _seconds(url: str, folder: Path, command: tuple[str, ...], events: int) -> float:
    """Returns how long an export takes, less the time of one without events."""
    if command[-1] != "--to":
        return _run(url, folder, *command) - _run(url, folder, *command, "--after", str(events))
    target = tempfile.mkdtemp()
    try:
        return _run(url, folder, *command, target) - _run(url, folder, "audit", "export", "--after", str(events))
    finally:
        shutil.rmtree(target)


def _run(url: str, folder: Path, *arguments: str) -> float:
    variables: Mapping[str, str] = os.environ | {"DATABASE_URL": url, "APP_ENV": "test"}
    began = time.perf_counter()
    with tempfile.TemporaryFile() as out:
        command = [sys.executable, "-m", "service.cli", *arguments]
        subprocess.run(command, cwd=folder, env=variables, stdout=out, check=True)
    return time.perf_counter() - began


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
    rows = [f"| proof in a log of {events:,} events | median ms | 99 % ms | longest ms |", "| --- | --- | --- | --- |"]
    for name, prove in kinds.items():
        found = [await _milliseconds(prove) for _ in range(PROOFS)]
        quantile = statistics.quantiles(found, n=100)[98]
        rows.append(f"| {name} | {statistics.median(found):.2f} | {quantile:.2f} | {max(found):.2f} |")
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
