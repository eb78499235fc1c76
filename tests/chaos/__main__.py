"""Runs the chaos campaign: `python -m tests.chaos --short | --full [--seed N] [--keep]`."""

import argparse
import logging
import secrets
from dataclasses import replace
from typing import Any

import uvloop

from service.http.logs import configure_logs
from tests.chaos.campaign import run
from tests.chaos.plan import FULL, SHORT, Kind


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    size = parser.add_mutually_exclusive_group(required=True)
    size.add_argument("--short", action="store_const", const=SHORT, dest="size", help="under four minutes")
    size.add_argument("--full", action="store_const", const=FULL, dest="size", help="about half an hour")
    parser.add_argument(
        "--seed", type=int, default=None, help="the same seed is the same plan of faults (default: a random one)"
    )
    parser.add_argument("--keep", action="store_true", help="keep logs and data even where nothing was violated")
    parser.add_argument("--seconds", type=float, help="of load and faults")
    parser.add_argument("--jobs", type=int, help="to be accepted")
    parser.add_argument("--workers", type=int, help="processes")
    parser.add_argument("--no-faults", action="store_true", help="only the load and the checks")
    parser.add_argument(
        "--fault",
        action="append",
        default=[],
        metavar="NAME=N",
        help=f"another number of one fault: {', '.join(Kind.__members__)}",
    )
    options = parser.parse_args()
    chosen = options.size
    measures = {name: getattr(options, name) for name in ("seconds", "jobs", "workers")}
    given: dict[str, Any] = {name: measure for name, measure in measures.items() if measure is not None}
    faults = dict.fromkeys(chosen.faults, 0) if options.no_faults else dict(chosen.faults)
    for fault in options.fault:
        name, _, number = fault.partition("=")
        if name not in Kind.__members__ or not number.isdecimal():
            parser.error(f"--fault {fault}: write NAME=N, with a name of {', '.join(Kind.__members__)}")
        faults[Kind[name]] = int(number)
    if given or options.fault or options.no_faults:
        given |= {"required": {}, "at_most": given.get("seconds", chosen.seconds)}
    configure_logs(logging.CRITICAL)  # The processes of the service write the logs that matter, each to its own file.
    seed = secrets.randbelow(2**31) if options.seed is None else options.seed
    return uvloop.run(run(replace(chosen, faults=faults, **given), seed, keep=options.keep))


if __name__ == "__main__":
    raise SystemExit(main())
