"""Writes one run as Markdown: medians and ranges of its rounds, compared with the goals.

Every figure and every verdict is computed from this run's measurements.
"""

import itertools
import json
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from bench.contestants import Entry

Rounds = dict[str, list[float]]
"""The figures by the name of the measure. Each list has one figure for each round."""

PERCENTILES = {"pick_up": (50, 99), "cancel": (50, 95)}
COLUMNS = (
    ("enqueue, 50 callers, jobs/s", ("enqueue",)),
    ("in bulk, jobs/s", ("bulk",)),
    ("drain, jobs/s", ("drain",)),
    ("pick-up p50, ms", ("pick_up_p50",)),
    ("p99", ("pick_up_p99",)),
    ("cancel running p50, ms", ("cancel_p50",)),
    ("p95", ("cancel_p95",)),
    ("CPU of worker / Redis / PostgreSQL, µs a job", ("cpu_worker", "cpu_redis", "cpu_postgres")),
)

DRAIN_WANTED = {
    "arq": 5.0, "arq-best": 3.0, "pgqueuer": 1.0, "pgqueuer-best": 1.0, "bullmq": 1.0, "bullmq-best": 1.0,
}  # fmt: skip
ENQUEUE_WANTED = {"arq": 2.5, "arq-best": 2.5}
OURS_WANTED: tuple[tuple[str, str, Callable[[float], bool], str], ...] = (
    ("Enqueue in bulk, jobs/s", "bulk", lambda is_: is_ >= 30_000, "at least 30,000"),
    ("Pick-up p50, ms", "pick_up_p50", lambda is_: is_ < 3, "under 3"),
    ("Pick-up p99, ms", "pick_up_p99", lambda is_: is_ < 8, "under 8"),
    ("Cancel of a running job p50, ms", "cancel_p50", lambda is_: is_ < 2, "under 2"),
    ("Cancel of a running job p95, ms", "cancel_p95", lambda is_: is_ < 8, "under 8"),
)
APPENDS_WANTED = (
    ("Appends: group commit against one statement for each event, one connection", "append, 1 connection", 8.0),
    ("Appends: group commit against one statement for each event, ten connections", "append, 10 connections", 3.0),
)


@dataclass
class Run:
    """The figures that a run has measured so far."""

    entries: list[Entry]
    versions: dict[str, str]
    rounds: int
    figures: dict[str, Rounds] = field(default_factory=lambda: defaultdict(lambda: defaultdict(list)))
    """The figures by the key of the contestant."""
    appends: Rounds = field(default_factory=lambda: defaultdict(list))
    calibration: Rounds = field(default_factory=lambda: defaultdict(list))
    peers_versions: dict[str, dict[str, str]] = field(default_factory=dict)
    failures: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def add(self, entry: Entry, output: str) -> None:
        """Adds the figures from the last line of a contestant's output.

        Raises `ValueError` if this line is not JSON.
        """
        said = json.loads(output.strip().rpartition("\n")[2])
        self.peers_versions[entry.key] = said["versions"]
        for what, values in said["figures"].items():
            for name, value in _percentiles(what, values):
                self.figures[entry.key][name].append(value)

    def median(self, key: str, what: str) -> float | None:
        values = self.figures[key][what] if key in self.figures else []
        return statistics.median(values) if values else None


def markdown(run: Run, *, only_ratios: bool = False) -> str:
    parts = [_rounds(run), _noise(run)]
    if only_ratios:
        parts += [_ratios(run)]
    else:
        parts += [_contestants(run), _ratios(run), _appends(run), _settings(run)]
    return "\n\n".join(part for part in [*parts, _failures(run)] if part) + "\n"


def _percentiles(what: str, values: list[float]) -> Iterator[tuple[str, float]]:
    if what not in PERCENTILES:
        yield what, values[0]
        return
    for percent in PERCENTILES[what]:
        # By the nearest-rank method, a percentile is one of the measured values.
        yield f"{what}_p{percent}", sorted(values)[max(0, -(-len(values) * percent // 100) - 1)]


def _rounds(run: Run) -> str:
    return f"{run.rounds} interleaved rounds." if run.rounds > 1 else "One round."


def _noise(run: Run) -> str:
    pieces = (("a fixed piece of arithmetic, ms", "cpu"), ("one write of 8 KB made durable, ms", "fsync"))
    rows = [
        (what, _number(statistics.median(values)), f"{_number(min(values))} to {_number(max(values))}", _spread(values))
        for what, name in pieces
        if (values := run.calibration[name])
    ]
    return _table(("the machine, before each round", "median", "range", "slowest / fastest"), rows)


def _spread(values: list[float]) -> str:
    return f"{max(values) / min(values):.2f}×"


def _contestants(run: Run) -> str:
    header = ("", "durable history", *(title for title, _ in COLUMNS))
    rows = [
        (entry.name, entry.history, *(" / ".join(_cell(run, entry.key, what) for what in whats) for _, whats in COLUMNS))
        for entry in run.entries
        if entry.key in run.figures
    ]
    return _table(header, rows)


def _cell(run: Run, key: str, what: str) -> str:
    values = run.figures[key][what]
    if not values:
        return "–"
    median = _number(statistics.median(values))
    return f"{median} ({_number(min(values))}–{_number(max(values))})" if len(values) > 1 else median


def _ratios(run: Run) -> str:
    rows = []
    for what, wanted_of in (("drain", DRAIN_WANTED), ("enqueue", ENQUEUE_WANTED)):
        for our, entry in itertools.product(_entries(run, ours=True), _entries(run, ours=False)):
            ours, theirs = run.median(our.key, what), run.median(entry.key, what)
            if ours is not None and theirs is not None:
                title = f"{what.capitalize()}: {our.name} / {entry.name}"
                rows.append((title, f"{ours / theirs:.2f}×", *_verdict(ours / theirs, wanted_of.get(entry.key))))
    for title, what, holds, wanted_words in OURS_WANTED:
        if (is_ := run.median("ours", what)) is not None:
            rows.append((title, _number(is_), wanted_words, _yes(holds(is_))))
    for title, against, wanted in APPENDS_WANTED:
        if run.appends[against]:
            ratio = statistics.median(run.appends["append, grouped"]) / statistics.median(run.appends[against])
            rows.append((title, f"{ratio:.2f}×", *_verdict(ratio, wanted)))
    return _table(("medians of this run", "is", "wanted", "met"), rows) if rows else ""


def _entries(run: Run, *, ours: bool) -> list[Entry]:
    return [entry for entry in run.entries if (entry.peer == "ours") is ours]


def _verdict(ratio: float, wanted: float | None) -> tuple[str, str]:
    return ("–", "–") if wanted is None else (f"at least {wanted:.1f}×", _yes(ratio >= wanted))


def _yes(met: bool) -> str:
    return "yes" if met else "**no**"


def _appends(run: Run) -> str:
    rows = [
        (what, _number(statistics.median(values)), f"{_number(min(values))} to {_number(max(values))}")
        for what, values in run.appends.items()
        if values
    ]
    return _table(("events a second, 100 jobs at once", "median", "range"), rows) if rows else ""


def _settings(run: Run) -> str:
    rows = [
        (
            entry.name,
            f"`{json.dumps(entry.settings)}`",
            f"{entry.enqueue + entry.bulk:,}",
            ", ".join(f"{name} {version}" for name, version in run.peers_versions[entry.key].items()),
        )
        for entry in run.entries
        if entry.key in run.peers_versions
    ]
    return _table(("", "settings", "jobs drained", "versions"), rows)


def _failures(run: Run) -> str:
    lines = [
        f"- {entry.name}: {reason}" + (f" ({times} times)" if times > 1 else "")
        for entry in run.entries
        for reason in dict.fromkeys(run.failures[entry.key])
        if (times := run.failures[entry.key].count(reason))
    ]
    return "\n".join(["Not measured, or not in every round:", "", *lines]) if lines else ""


def _table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [header, tuple("---" for _ in header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _number(value: float) -> str:
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"
