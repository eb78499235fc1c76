"""The sizes of a campaign, and the plan of its faults. The same seed gives the same plan."""

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

IN_A_SPELL = 3  # kills of PostgreSQL in one group; the kills of a group follow each other closely
BETWEEN_KILLS = (2.0, 9.0)  # the least and the most seconds between two kills of a group
WELL_AGAIN = 8.0  # seconds from the last kill of a group until a worker may be frozen


class Kind(StrEnum):
    """The kinds of faults. Their values are the words in the report's table."""

    KILL_WORKER = "kill -9 of a worker"
    KILL_API = "kill -9 of an API process"
    KILL_POSTGRES = "kill -9 of PostgreSQL, all of its processes"
    KILL_BACKEND = "kill -9 of one backend of PostgreSQL"
    KILL_REDIS = "kill -9 of Redis"
    FREEZE_REDIS = "Redis frozen, connections open"
    FLUSH_REDIS = "FLUSHALL"
    FLUSH_STORM = "FLUSHALL again and again for seconds while Redis is slow: hints are lost before a worker reads them"
    STOP_WORKER = "SIGSTOP of a worker for longer than the lease, then SIGCONT"
    ROLLING_RESTART = "SIGTERM of all processes, one after another"
    TERM_TWICE = "two SIGTERMs to one worker"
    DELAY = "network: slow"
    CUT = "network: every connection cut at once"
    HALF_OPEN = "network: silent, then cut"
    WRITE_LOST = "network: cut before a write reached PostgreSQL"
    ANSWER_LOST = "network: cut after a write was carried out, before its answer came back"
    WRITE_LATE = "network: cut when a write was sent; PostgreSQL gets it later"
    KILL_WITNESS = "kill -9 of the witness"
    DUPLICATE_HINTS = "hints delivered twice, also those of old attempts"


@dataclass(frozen=True, slots=True)
class Fault:
    """One planned fault.

    It begins `at` seconds after the start and lasts `lasts` seconds. Two random numbers from 0 to 1
    leave nothing to chance when its time comes: `pick` chooses the process that it hits, and
    `variant` chooses a form of the fault (for example whether Redis or PostgreSQL is cut off).
    """

    at: float
    kind: Kind
    lasts: float
    pick: float
    variant: float


@dataclass(frozen=True, slots=True)
class Size:
    """The size of a campaign.

    Load and faults go on for `seconds`. If by then fewer than `jobs` jobs were accepted, or fewer
    faults than `required` were carried out, load and faults continue for up to `at_most` seconds in
    all.
    """

    name: str
    seconds: float
    at_most: float
    jobs: int
    workers: int
    faults: Mapping[Kind, int]
    required: Mapping[Kind, int] = field(default_factory=dict)


SHORT = Size(
    "short", 95.0, 95.0, 1_500, 3,
    {
        Kind.KILL_WORKER: 12, Kind.KILL_API: 4, Kind.KILL_POSTGRES: 3, Kind.KILL_BACKEND: 1, Kind.KILL_REDIS: 4,
        Kind.FREEZE_REDIS: 1, Kind.FLUSH_REDIS: 6, Kind.FLUSH_STORM: 1, Kind.STOP_WORKER: 8, Kind.ROLLING_RESTART: 1,
        Kind.TERM_TWICE: 1, Kind.DELAY: 3, Kind.CUT: 4, Kind.HALF_OPEN: 3, Kind.WRITE_LOST: 5,
        Kind.ANSWER_LOST: 6, Kind.WRITE_LATE: 6, Kind.DUPLICATE_HINTS: 12,
        Kind.KILL_WITNESS: 12,
    },
)  # fmt: skip

FULL = Size(
    "full", 1_320.0, 1_950.0, 20_000, 4,
    {
        Kind.KILL_WORKER: 210, Kind.KILL_API: 40, Kind.KILL_POSTGRES: 52, Kind.KILL_BACKEND: 10, Kind.KILL_REDIS: 52,
        Kind.FREEZE_REDIS: 10, Kind.FLUSH_REDIS: 55, Kind.FLUSH_STORM: 6, Kind.STOP_WORKER: 125, Kind.ROLLING_RESTART: 8,
        Kind.TERM_TWICE: 8, Kind.DELAY: 25, Kind.CUT: 30, Kind.HALF_OPEN: 30, Kind.WRITE_LOST: 60,
        Kind.ANSWER_LOST: 80, Kind.WRITE_LATE: 80, Kind.DUPLICATE_HINTS: 120,
        Kind.KILL_WITNESS: 150,
    },
    {Kind.KILL_WORKER: 200, Kind.KILL_POSTGRES: 50, Kind.KILL_REDIS: 50, Kind.FLUSH_REDIS: 50, Kind.STOP_WORKER: 100},
)  # fmt: skip

LASTS: Mapping[Kind, tuple[float, float]] = {
    Kind.KILL_WORKER: (0.1, 2.0),
    Kind.KILL_API: (0.1, 2.0),
    Kind.KILL_WITNESS: (0.1, 4.0),
    Kind.KILL_POSTGRES: (0.0, 4.0),
    Kind.KILL_REDIS: (0.0, 3.0),
    Kind.FREEZE_REDIS: (2.0, 8.0),
    Kind.FLUSH_STORM: (5.0, 5.0),
    Kind.STOP_WORKER: (12.0, 20.0),
    Kind.DELAY: (3.0, 8.0),
    Kind.HALF_OPEN: (2.0, 13.0),
    Kind.WRITE_LATE: (0.1, 2.5),
}
"""The least and the most seconds that a fault lasts; for a kill, until the restart."""

LAP = 60.0  # seconds of one further round of faults, if jobs or faults are missing after the planned ones
# seconds. A long campaign has one such outage of PostgreSQL, and one process has one such silence
# of its network.
LONG_OUTAGE = 40.0


def plan(size: Size, seed: int) -> list[Fault]:
    """Returns the planned faults in order of time. They depend only on the size and the seed."""
    dice = random.Random(seed)
    spells = _spells(dice, size.faults.get(Kind.KILL_POSTGRES, 0), size.seconds)
    faults = [
        Fault(at, kind, dice.uniform(*LASTS.get(kind, (0.0, 0.0))), dice.random(), dice.random())
        for kind, number in size.faults.items()
        for at in _times(dice, kind, number, size.seconds, spells)
    ]
    if size.seconds > 10 * LONG_OUTAGE:
        faults = _with_a_long_outage(_with_a_long_outage(faults, Kind.KILL_POSTGRES), Kind.HALF_OPEN)
    return sorted(faults, key=lambda fault: fault.at)


def lap(size: Size, seed: int, missing: Mapping[Kind, int]) -> list[Fault]:
    """Plans another `LAP` seconds: the usual number of faults, and the faults that earlier laps lacked."""
    faults = {kind: missing.get(kind, 0) + round(number * LAP / size.seconds) for kind, number in size.faults.items()}
    return plan(replace(size, seconds=LAP, faults=faults), seed)


def _spells(dice: random.Random, kills: int, seconds: float) -> list[list[float]]:
    """Returns the times at which PostgreSQL is killed: groups of kills, with pauses between.

    With evenly spread kills, a frozen worker would almost never be declared gone, because this
    needs regular heartbeats of the other workers for the length of a lease.
    """
    number = max(round(kills / IN_A_SPELL), 1)
    share = seconds / number
    spells = []
    for n in range(number):
        at = (n + dice.uniform(0.02, 0.1)) * share
        spell = []
        for _ in range(kills // number + (n < kills % number)):
            spell.append(at)
            at += dice.uniform(*BETWEEN_KILLS)
        spells.append(spell)
    return [spell for spell in spells if spell]


def _times(dice: random.Random, kind: Kind, number: int, seconds: float, spells: list[list[float]]) -> Iterator[float]:
    """Yields the times of `number` faults of this kind, spread over the whole time.

    Workers are frozen in the pauses between kills of PostgreSQL. PostgreSQL and its backends are
    killed outside these pauses.
    """
    match kind:
        case Kind.KILL_POSTGRES:
            yield from (at for spell in spells for at in spell)
        case Kind.KILL_BACKEND if spells:
            yield from (dice.choice(dice.choice(spells)) + dice.uniform(0.5, 3.0) for _ in range(number))
        case Kind.STOP_WORKER:
            yield from _in_quiet(dice, number, seconds, spells)
        case _:
            share = seconds / max(number, 1)
            yield from ((n + dice.random()) * share for n in range(number))


def _in_quiet(dice: random.Random, number: int, seconds: float, spells: list[list[float]]) -> Iterator[float]:
    begins = [0.0, *(spell[-1] + WELL_AGAIN for spell in spells)]
    ends = [*(spell[0] - LASTS[Kind.STOP_WORKER][1] for spell in spells), seconds]
    quiet = [(begin, end) for begin, end in zip(begins, ends, strict=True) if end > begin] or [(0.0, seconds)]
    for begin, end in dice.choices(quiet, [end - begin for begin, end in quiet], k=number):
        yield dice.uniform(begin, end)


def _with_a_long_outage(faults: list[Fault], kind: Kind) -> list[Fault]:
    """Makes one fault of this kind last `LONG_OUTAGE` seconds.

    Its `variant` is 0.3, which means: the network between one process and PostgreSQL is silent.
    """
    of_this_kind = [fault for fault in faults if fault.kind is kind]
    chosen = of_this_kind[len(of_this_kind) // 2]
    longer = Fault(chosen.at, chosen.kind, LONG_OUTAGE, chosen.pick, 0.3)
    return [longer if fault is chosen else fault for fault in faults]
