"""Prints the report of a benchmark. With `--save` also writes it to bench/results/."""

import argparse
import itertools
import os
import platform
import shlex
import statistics
import sys
import textwrap
import time
from collections.abc import Mapping
from pathlib import Path

from bench.calibrate import calibrate

FOLDER = Path(__file__).resolve().parent / "results"
CALIBRATIONS = 3
SLOW_FROM = 250.0  # milliseconds; a machine counts as slow if the arithmetic of bench/calibrate.py takes at least this time


def add_save_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--save", action="store_true", help="also write the report to bench/results/, over the last one")


def publish(benchmark: str, tables: str, *, versions: Mapping[str, str], save: bool, arithmetic: float | None = None) -> None:
    """Prints the report. With `save` also writes it to bench/results/.

    The file is `<benchmark>.md`, or `<benchmark>-slow.md` on a slow machine. `versions` has the
    versions of the servers by their names. `arithmetic` is the calibration figure in milliseconds. If
    it is None, it is measured now.
    """
    print(f"{machine(versions)}\n\n{tables}")
    if save:
        path = write(benchmark, tables, versions=versions, arithmetic=arithmetic or _milliseconds_of_arithmetic())
        print(f"saved as {path}", file=sys.stderr)


def publish_count(benchmark: str, table: str, *, save: bool) -> None:
    """Prints a table that was computed, not measured. With `save` also writes it to a file.

    The table names no machine, because its figures do not depend on one.
    """
    print(table)
    if save:
        FOLDER.joinpath(f"{benchmark}.md").write_text(
            _document(benchmark, [("Date", _today()), ("Command", _command())], table)
        )


def write(benchmark: str, tables: str, *, versions: Mapping[str, str], arithmetic: float, folder: Path = FOLDER) -> Path:
    """Writes a measured result to a file. Returns the file's path.

    `arithmetic` is the calibration figure in milliseconds.
    """
    slow = arithmetic >= SLOW_FROM
    path = folder / f"{benchmark}{'-slow' if slow else ''}.md"
    facts = [
        ("Date", _today()),
        (
            "Machine",
            f"{_hardware()}; {'slow' if slow else 'fast'}: {arithmetic:.0f} ms for the arithmetic of `bench/calibrate.py`",
        ),
        ("Versions", _named(versions)),
        ("Command", _command()),
    ]
    path.write_text(_document(benchmark, facts, tables), encoding="utf-8")
    return path


def machine(versions: Mapping[str, str]) -> str:
    """Returns the first line of every report: date, hardware, load and versions."""
    return f"{_today()}, {_hardware()}. {_named(versions)}."


def _today() -> str:
    return time.strftime("%Y-%m-%d")


def _hardware() -> str:
    return f"{os.cpu_count()} cores ({_processor()}), load {os.getloadavg()[1]:.1f}"


def _processor() -> str:
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8") as about:
            names = (line.partition(":")[2].strip() for line in about if line.startswith("model name"))
            return next(names, platform.machine())
    except OSError:
        return platform.machine()


def _named(versions: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in ({"Python": platform.python_version()} | dict(versions)).items())


def _command() -> str:
    """Returns the command line as it was typed, with the module's name in place of its file."""
    module = "bench" if Path(sys.argv[0]).stem == "__main__" else f"bench.{Path(sys.argv[0]).stem}"
    return f"`{shlex.join(['python', '-m', module, *sys.argv[1:]])}`"


def _milliseconds_of_arithmetic() -> float:
    return statistics.median(calibrate()["cpu"] for _ in range(CALIBRATIONS))


def _document(benchmark: str, facts: list[tuple[str, str]], tables: str) -> str:
    title = benchmark if benchmark.startswith("bench") else f"bench.{benchmark}"
    return "\n".join([f"# {title}", "", *itertools.starmap(_fact, facts), "", tables.strip(), ""])


def _fact(name: str, fact: str) -> str:
    return textwrap.fill(f"- {name}: {fact}", 100, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
