"""Kills a witness at random moments, and checks the checkpoints that it has cosigned.

`python -m tests.checkpoints.kill_witness --kills 200` starts a witness, lets a log with two histories ask it, kills it with
SIGKILL and starts it again, 200 times. Afterwards all cosigned checkpoints must be of one history. After a restart, the witness
must remember each checkpoint whose cosignature had arrived. The exit status is 1 if there was a fault.
"""

import argparse
import asyncio
import sys
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import httpx2 as httpx

from tests.checkpoints.logs import Log
from tests.checkpoints.witnesses import WitnessFiles, ask, is_cosigned, new_witness, running_witness

SAME = 40  # entries that both histories share
MOST = 20_000  # entries of the log, more than a witness can cosign before it is killed
LONGEST_LIFE = 0.4  # seconds from the first request to the kill


@dataclass
class Judge:
    """The cosigned checkpoints, and the faults."""

    faces: tuple[Log, Log]
    cosigned: list[tuple[int, bytes]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    unanswered: int = 0

    @property
    def largest(self) -> int:
        return max((size for size, _ in self.cosigned), default=0)

    def judge_restart(self, remembered: int) -> None:
        if remembered < self.largest:
            self.faults.append(f"the witness remembers size {remembered}, and it had cosigned size {self.largest}")

    def judge_history(self) -> None:
        if not any(all(face.root(size) == root for size, root in self.cosigned) for face in self.faces):
            self.faults.append("the witness has cosigned two histories of one log")


async def kill_witness(home: Path, kills: int, seed: int) -> Judge:
    """Returns the checked checkpoints and the faults."""
    random, files = Random(seed), new_witness(home)
    judge = Judge((Log(MOST), Log(MOST, face="other", same=SAME)))
    for _ in range(kills):
        await _live_and_die(files, judge, random)
    judge.judge_history()
    return judge


async def _live_and_die(files: WitnessFiles, judge: Judge, random: Random) -> None:
    async with running_witness(files) as (process, client):
        remembered = await ask(client, judge.faces[0], MOST, MOST)
        judge.judge_restart(int(remembered.text))
        asking = [
            asyncio.ensure_future(_ask_on(client, face, files, judge, Random(random.random()))) for face in judge.faces * 2
        ]
        await asyncio.sleep(random.random() * LONGEST_LIFE)
        await process.kill()
        ended = await asyncio.gather(*asking, return_exceptions=True)
        judge.unanswered += sum(isinstance(each, httpx.HTTPError) for each in ended)
        judge.faults += [repr(each) for each in ended if not isinstance(each, httpx.HTTPError)]


async def _ask_on(client: httpx.AsyncClient, face: Log, files: WitnessFiles, judge: Judge, random: Random) -> None:
    """Asks for larger and larger sizes, until the witness is gone."""
    old = 0
    while True:
        size = min(old + random.randrange(4), MOST)
        answer = await ask(client, face, old, size)
        if is_cosigned(answer, face, size, files):
            judge.cosigned.append((size, face.root(size)))
            old = size
        elif answer.status_code == 409:
            old = int(answer.text)
        elif answer.status_code != 422:
            judge.faults.append(f"{answer.status_code} {answer.text:.100}")
            return


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.checkpoints.kill_witness", description="Kills a witness.")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    with TemporaryDirectory() as folder:
        judge = asyncio.run(kill_witness(Path(folder) / "home", asked.kills, asked.seed))
    print(
        f"{asked.kills} kills, {len(judge.cosigned)} cosignatures up to size {judge.largest}, {judge.unanswered} requests cut off"
    )
    print("\n".join([*judge.faults, f"{len(judge.faults)} faults"]))
    return 1 if judge.faults else 0


if __name__ == "__main__":
    sys.exit(main())
