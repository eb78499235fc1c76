"""Runs Rireki and other queues in interleaved rounds, and prints one Markdown report.

The report has medians, ranges and ratios of this run. bench/measure.py measures one contestant in
one round.
"""

import argparse
import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import uvloop

from bench.appends import events_per_second
from bench.calibrate import calibrate
from bench.contestants import ENTRIES, PEER_NAMES, SHORT, Entry, chosen
from bench.environments import ROOT, NotThereError
from bench.measure import Parameters
from bench.record import add_save_option, machine, publish
from bench.report import Run, markdown
from bench.rooms import sync_rooms
from bench.servers import NotEmptyError, Servers, servers

LONGEST = 240.0  # seconds for one contestant in one round
APPENDS = "appends"
APPENDING = {
    "append, grouped": {},
    "append, 1 connection": {"lanes": 1, "most_in_a_batch": 1},
    "append, 10 connections": {"lanes": 10, "most_in_a_batch": 1},
}


def main() -> int:
    options = _options()
    # SIGTERM raises SystemExit, so that this program ends the processes that it has started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        with servers() as running:
            run = _measure(options, running)
            report = markdown(run, only_ratios=options.short)
            if options.rooms:
                with running.fresh(migrated=True) as url:
                    report += uvloop.run(sync_rooms(url, running.redis_url, options.rooms))
    except NotEmptyError as error:
        print(error, file=sys.stderr)
        return 1
    arithmetic = statistics.median(run.calibration["cpu"])
    name = "bench-short" if options.short else "bench"
    publish(name, report, versions=running.versions, save=options.save, arithmetic=arithmetic)
    if options.write:
        options.write.write_text(f"{machine(running.versions)}\n\n{report}", encoding="utf-8")
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--rounds", type=int, help="number of rounds (5, or 2 with --short)")
    parser.add_argument("--short", action="store_true", help="only the ratios to arq, in about three minutes")
    parser.add_argument(
        "--only", default="", metavar="NAMES", help=f"some of {', '.join((*PEER_NAMES, APPENDS))}, separated by commas"
    )
    parser.add_argument(
        "--rooms", type=Path, metavar="FILE", help="also sync these rooms (NDJSON, plain or gzip) through the sandbox"
    )
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the report to a file too")
    add_save_option(parser)
    options = parser.parse_args()
    options.only = tuple(name for name in options.only.split(",") if name)
    if unknown := set(options.only) - {entry.key for entry in ENTRIES} - {*PEER_NAMES, APPENDS}:
        parser.error(f"there are no contestants with these names: {', '.join(sorted(unknown))}")
    options.rounds = options.rounds or (2 if options.short else 5)
    return options


def _measure(options: argparse.Namespace, running: Servers) -> Run:
    names = options.only or (SHORT if options.short else ())
    run = Run([] if names == (APPENDS,) else chosen(names), running.versions, options.rounds)
    commands = dict(_commands(run))
    for number in range(1, options.rounds + 1):
        for what, figure in calibrate().items():
            run.calibration[what].append(figure)
        if APPENDS in names or not names:
            _measure_appends(run, running)
        for entry in run.entries:
            if entry.key in commands:
                _say(f"round {number} of {options.rounds}: {entry.name}")
                _measure_one(run, entry, commands[entry.key], running, short=options.short)
    return run


def _commands(run: Run) -> Iterator[tuple[str, list[str]]]:
    """Yields the key and the command of each contestant.

    It prepares the environment of each contestant, and reports a failure if an environment cannot be made.
    """
    for entry in run.entries:
        try:
            yield entry.key, entry.command()
        except NotThereError as error:
            run.failures[entry.key].append(str(error))


def _measure_appends(run: Run, running: Servers) -> None:
    with running.fresh(migrated=True) as url:
        for what, group_commit in APPENDING.items():
            run.appends[what].append(uvloop.run(events_per_second(url, jobs=100, seconds=3, **group_commit)))


def _measure_one(run: Run, entry: Entry, command: list[str], running: Servers, *, short: bool) -> None:
    """Measures one contestant in one round. Records a failure of the contestant, and returns."""
    with running.fresh(migrated=entry.migrated) as url:
        parameters = Parameters(
            redis_url=running.redis_url, postgres_url=url, redis_pid=running.redis_pid, postgres_pid=running.postgres_pid,
            enqueue=entry.enqueue, bulk=entry.bulk, settings=entry.settings,
            pick_ups=100 if short else 200, cancels=50,
        )  # fmt: skip
        began = time.monotonic()
        status, output, errors = _finished([*command, json.dumps(asdict(parameters))])
    try:
        if status:
            raise ValueError(f"ended with status {status}")
        run.add(entry, output)
    except (ValueError, LookupError) as error:
        last = next((line.strip() for line in reversed(errors.splitlines()) if line.strip()), "no reason given")
        reason = f"took more than {LONGEST:.0f} s" if time.monotonic() - began > LONGEST else f"{error}: {last}"
        run.failures[entry.key].append(reason)
        _say(f"    {reason}")


def _finished(command: list[str]) -> tuple[int, str, str]:
    """Runs a command. Returns its exit status, its output and its errors.

    Kills the process group of the command at its end, or after LONGEST seconds.
    """
    process = subprocess.Popen(
        command, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        output, errors = process.communicate(timeout=LONGEST)
        return process.returncode, output, errors
    except subprocess.TimeoutExpired:
        _kill(process)
        return -signal.SIGKILL, "", ""
    finally:
        _kill(process)


def _kill(process: subprocess.Popen[str]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
