"""Runs the tamper campaign: `python -m tests.tamper --tampers 1000 --clean 1000 [--seed N]`."""

import argparse
import logging
import secrets
import sys
import time
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from typing import Any

from bench.record import FOLDER, add_save_option
from service.http.logs import configure_logs
from tests.servers import postgres_server
from tests.tamper.campaign import Outcome, plan, run_clean, run_one
from tests.tamper.kinds import Kind
from tests.tamper.report import document, table
from tests.tamper.world import World, world

SHARE = 25  # clean verifications in one database


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.tamper", description=__doc__)
    parser.add_argument("--tampers", type=int, default=1000, help="how many")
    parser.add_argument("--clean", type=int, default=1000, help="verifications of sound logs under load")
    parser.add_argument("--seed", type=int, help="the same seed is the same plan (default: a random one)")
    parser.add_argument("--only", help="only kinds whose name contains this")
    parser.add_argument("--minutes", type=float, default=600, help="stop after this time, and report what was done")
    parser.add_argument("--processes", type=int, default=2)
    add_save_option(parser)
    options = parser.parse_args()
    configure_logs(logging.CRITICAL)
    seed = secrets.randbelow(2**31) if options.seed is None else options.seed
    began = time.perf_counter()
    tampers = [each for each in plan(options.tampers, seed) if (options.only or "") in each[0].name]
    with postgres_server() as server, world(server) as sound, ProcessPoolExecutor(options.processes) as pool:
        outcomes, clean, findings = _results(pool, sound, tampers, options.clean, began + options.minutes * 60)
    print("\n".join(findings[:20]), file=sys.stderr)
    report = table(outcomes, clean, findings, seed, time.perf_counter() - began)
    print(report)
    if options.save:
        FOLDER.joinpath("tamper.md").write_text(document(report))
    return 1 if findings or any(outcome.misses for outcome in outcomes) else 0


def _results(
    pool: ProcessPoolExecutor, sound: World, tampers: Sequence[tuple[Kind, str]], clean: int, until: float
) -> tuple[list[Outcome], int, list[str]]:
    """Runs all parts in a random order. Returns the outcomes, the number of clean verifications, and their findings."""
    shares = _shares(clean)
    futures: list[Future[Any]] = []
    for number in range(max(len(tampers), len(shares))):
        if number % max(1, len(tampers) // max(1, len(shares))) == 0 and shares:
            futures.append(pool.submit(run_clean, sound, shares.pop()))
        if number < len(tampers):
            futures.append(pool.submit(_run, sound, *tampers[number]))
    outcomes: list[Outcome] = []
    verified, findings = 0, list[str]()
    for future in futures:
        try:
            result = future.result(timeout=max(0.1, until - time.perf_counter()))
        except TimeoutError:
            pool.shutdown(wait=True, cancel_futures=True)
            break
        if isinstance(result, Outcome):
            outcomes.append(result)
            _say(result, len(outcomes))
        else:
            verified, findings = verified + result[0], [*findings, *result[1]]
    return outcomes, verified, findings


def _shares(count: int) -> list[int]:
    return [min(SHARE, count - done) for done in range(0, count, SHARE)]


def _run(sound: World, kind: Kind, seed: str) -> Outcome:
    try:
        return run_one(sound, kind, seed)
    except Exception as error:
        return Outcome(kind, seed, misses=f"{type(error).__name__}: {error}")


def _say(outcome: Outcome, number: int) -> None:
    if outcome.misses:
        print(f"MISSED {outcome.kind.name} (seed {outcome.seed}): {outcome.misses}", file=sys.stderr, flush=True)
    elif number % 100 == 0:
        print(f"{number} tampers", file=sys.stderr, flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
