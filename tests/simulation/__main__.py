"""Runs many seeds of the simulation, or prints each step of one seed.

`python -m tests.simulation --seeds 10000 [--from N] [--processes 2]`, or `--seed N --trace` for one
seed.
"""

import argparse
import gc
import os
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial

from tests.simulation.world import Lived, simulate


def main() -> int:
    if os.environ.get("PYTHONHASHSEED") != "0":
        # Restart Python with a fixed hash seed, because otherwise each run would iterate sets of
        # strings in another order.
        os.execve(
            sys.executable, [sys.executable, "-m", "tests.simulation", *sys.argv[1:]], os.environ | {"PYTHONHASHSEED": "0"}
        )
    gc.freeze()  # saves time: the garbage collector ignores the modules that are loaded so far
    asked = _arguments()
    if asked.seed is not None:
        return _one(asked.seed, asked.trace)
    began = time.perf_counter()
    failed, lived = 0, Lived()
    seeds = range(asked.first, asked.first + asked.seeds)
    for done, (seed, outcome) in enumerate(_run(seeds, asked.processes), 1):
        if isinstance(outcome, Lived):
            lived += outcome
        else:
            failed += 1
            print(f"seed {seed}: {outcome}\n  python -m tests.simulation --seed {seed} --trace", flush=True)
        if done % 1000 == 0:
            print(f"{done} seeds in {time.perf_counter() - began:.0f} s, {failed} failed", flush=True)
    print(
        f"{lived.seconds / 3600:.1f} virtual hours, {lived.jobs} jobs, {lived.events} events, {lived.processes} processes,"
        f" {lived.faults} faults"
    )
    print(f"{len(seeds)} seeds from {seeds.start}: {failed} failed, {time.perf_counter() - began:.1f} s")
    return 1 if failed else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.simulation", description="Runs the service in virtual time, with faults drawn from a seed."
    )
    parser.add_argument("--seeds", type=int, default=300, help="how many")
    parser.add_argument("--from", dest="first", type=int, default=0, help="the first seed")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--seed", type=int, help="this one only")
    parser.add_argument("--trace", action="store_true", help="print every step of the seed")
    return parser.parse_args()


def _one(seed: int, trace: bool) -> int:
    try:
        simulate(seed, partial(print, flush=False) if trace else None)
    except BaseException:
        traceback.print_exc(file=sys.stdout)
        return 1
    return 0


def _run(seeds: Sequence[int], processes: int) -> Iterator[tuple[int, Lived | str]]:
    if processes == 1:
        yield from map(_outcome_of, seeds)
        return
    with ProcessPoolExecutor(processes) as pool:
        yield from pool.map(_outcome_of, seeds, chunksize=10)


def _outcome_of(seed: int) -> tuple[int, Lived | str]:
    """Runs a seed. Returns it with the statistics of the run, or with its error as text."""
    try:
        return seed, simulate(seed)
    except KeyboardInterrupt:
        raise
    except BaseException as problem:
        return seed, f"{type(problem).__name__}: {problem}"


if __name__ == "__main__":
    sys.exit(main())
