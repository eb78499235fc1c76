"""Runs tampers, each in a copy of one sound database, and verifications of sound logs under load."""

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from random import Random

import uvloop

from projections.seal import seal_everything
from projections.verify import Trust, Verified, verify
from projections.verifying.checkpoints import Copies
from tests.projections.histories_in_log import under_load, unique_key
from tests.tamper.hand import Hand
from tests.tamper.kinds import KINDS, Kind
from tests.tamper.world import World, opened, sign_checkpoint, verified

IN_ONE_DATABASE = 50  # clean verifications in one database, because a growing log makes each verification slower
MOVED_ON = 5  # the least number of events that the load appends between two verifications


@dataclass(frozen=True, slots=True)
class Outcome:
    """The findings about one tamper. `misses` names the findings that are missing, or is empty."""

    kind: Kind
    seed: str
    counts: Counter[str] = field(default_factory=Counter)
    misses: str = ""


def plan(tampers: int, seed: int) -> Iterator[tuple[Kind, str]]:
    """Yields the kind and the seed of each tamper. All kinds come equally often."""
    for number in range(tampers):
        yield KINDS[number % len(KINDS)], f"{seed}/{number}"


def run_one(world: World, kind: Kind, seed: str) -> Outcome:
    """Makes a copy of the sound database, tampers with it, and verifies it."""
    with world.copy() as url:
        return uvloop.run(_tamper(world, kind, seed, url))


async def _tamper(world: World, kind: Kind, seed: str, url: str) -> Outcome:
    async with opened(url) as (database, connection):
        await kind.tamper(Hand(world, database, connection, Random(seed)))
        alone = await verified(database, world.keys)
        against = await verified(database, world.copies)
    return Outcome(kind, seed, Counter({name.value: n for name, n in against.counts.items()}), _misses(kind, alone, against))


def _misses(kind: Kind, alone: Verified, against: Verified) -> str:
    """Returns which expected finding is missing, or an empty text. With a copy from outside, none may be missing."""
    for known, judged in ((alone, "without a copy"), (against, "with a copy")):
        found = known.counts.keys()
        if kind.needs_copy and known is alone:
            if known.count:
                return f"{judged}: {_names(known)} is found, so the kind needs no copy"
        elif not (kind.names | (kind.with_copy if known is against else frozenset())) <= found or (
            kind.one_of and not kind.one_of & found
        ):
            return f"{judged}: only {_names(known) or 'nothing'} is found"
    return ""


def _names(verified: Verified) -> str:
    return ", ".join(sorted(name.value for name in verified.counts))


def run_clean(world: World, count: int) -> tuple[int, Sequence[str]]:
    """Verifies sound logs while jobs run, and events are sealed and signed. Returns how often, and all findings."""
    done, findings = 0, list[str]()
    while done < count:
        share = min(IN_ONE_DATABASE, count - done)
        with world.copy() as url:
            findings += uvloop.run(_clean(world, url, share))
        done += share
    return done, findings


async def _clean(world: World, url: str, count: int) -> list[str]:
    findings: list[str] = []
    async with opened(url) as (database, connection), under_load(url) as load:
        copied = list(world.copied)
        for turn in range(count):
            await seal_everything(database)
            if turn % 5 == 0:
                copied.append(await sign_checkpoint(connection, world.signer))
            trust = Trust(keys=[world.signer.verifier], copies=[Copies("the copy outside", copied)])
            result = await verify(database, unique_key=unique_key, trust=trust)
            findings += map(str, result.findings)
            await load.moved_on(MOVED_ON)
            await asyncio.sleep(0)
    return findings
