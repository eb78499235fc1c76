"""Kills processes that seal, sign and copy, as often as wanted:

    python -m tests.checkpoints --kills 200 --seed 1

It needs no server, and ends with status 1 if anything that was signed is inconsistent.
"""

import argparse
import asyncio
import tempfile
import time
from pathlib import Path

import uvloop

from events.database import Database
from migrations.migrate import migrate
from tests.checkpoints.kills import Judge, kill_signers
from tests.servers import postgres_server


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.checkpoints", description="Kill signers at random moments.")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    began = time.monotonic()
    with postgres_server() as url, tempfile.TemporaryDirectory(prefix="rireki-kills-") as home:
        migrate(url)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            judge = runner.run(_run(url, Path(home), options.kills, options.seed))
    print(
        f"{options.kills} kills with seed {options.seed} in {time.monotonic() - began:.0f} s: {len(judge.roots)} checkpoints of"
        f" up to {judge.checked} events, {len(judge.wrong)} faults"
    )
    for fault in judge.wrong:
        print(fault)
    return 1 if judge.wrong else 0


async def _run(url: str, home: Path, kills: int, seed: int) -> Judge:
    database = Database(url)
    await database.connect()
    try:
        return await kill_signers(database, home, kills=kills, seed=seed)
    finally:
        await database.disconnect()


if __name__ == "__main__":
    raise SystemExit(main())
