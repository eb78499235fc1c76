"""Writes a campaign's report: a table in Markdown, and each violation with its history."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import orjson

from tests.chaos.checks import Figures
from tests.chaos.history import Event, Violation
from tests.chaos.plan import Kind, Size
from tests.chaos.record import NO_ANSWER, Record
from tests.chaos.rows import Everything

MOST_SHOWN = 15


@dataclass(slots=True)
class Outcome:
    """The facts for the report. A field stays empty if the campaign ended before that part."""

    size: Size
    seed: int
    done: Counter[Kind] = field(default_factory=Counter)
    figures: Figures = field(default_factory=Figures)
    violations: list[Violation] = field(default_factory=list)
    found: Everything | None = None
    seconds: float = 0.0
    seconds_to_the_last_end: float | None = None
    starts: int = 0
    skewed_starts: int = 0
    declared_gone: int = 0
    snapshots: tuple[int, int] = (0, 0)
    compared_flushes: int = 0
    chatwork: str = ""
    second_opinion: str = ""
    checkpoints: str = ""


def table(outcome: Outcome, record: Record) -> str:
    figures = outcome.figures
    refused = sum(number for status, number in record.statuses.items() if status == 503)
    rows = [(f"fault: {kind}", str(outcome.done[kind])) for kind in outcome.size.faults]
    rows += [
        (
            "processes of the service started",
            f"{outcome.starts}, of them {outcome.skewed_starts} with a clock 1 to 15 minutes off",
        ),
        ("jobs accepted", str(len(record.accepted))),
        ("jobs in the log", str(figures.jobs)),
        ("events", str(figures.events)),
        ("attempts started", str(figures.attempts)),
        ("ends", ", ".join(f"{number} {type}" for type, number in sorted(figures.ends.items()))),
        (
            "attempts rescued from lost workers",
            f"{figures.reasons['worker_lost']}, of which {figures.rescued_for_good} were not retried",
        ),
        ("of them from workers that still ran, but sent no heartbeat", str(figures.rescued_alive)),
        ("running workers that found themselves declared gone", str(outcome.declared_gone)),
        ("attempts handed back at SIGTERM", str(figures.reasons["worker_shutdown"])),
        ("retries: automatic, by users", f"{figures.reasons['retry']}, {figures.reasons['manual_retry']}"),
        ("requests; without an answer; answered 503", f"{record.statuses.total()}; {record.statuses[NO_ANSWER]}; {refused}"),
        ("jobs shown by answers, compared with the log", str(figures.shown)),
        ("snapshots of view and log; jobs compared in them", "{}; {}".format(*outcome.snapshots)),
        ("FLUSHALLs before and after which rows of ended jobs were compared", str(outcome.compared_flushes)),
        ("requests to Chatwork", outcome.chatwork),
        ("longest wait of a due attempt", f"{figures.longest_wait:.1f} s"),
        (
            "longest wait of a due attempt, far from every fault",
            f"{figures.longest_quiet_wait:.1f} s ({figures.quiet_waits} attempts)",
        ),
        ("from the last fault to the end of the last job", _seconds(outcome.seconds_to_the_last_end)),
        ("`projections/verify.py`, as a second opinion", outcome.second_opinion or "not asked"),
        ("checkpoints of the log", outcome.checkpoints),
        ("violations", str(len(outcome.violations))),
        ("duration of the whole campaign", f"{outcome.seconds:.0f} s"),
        ("seed", str(outcome.seed)),
    ]
    lines = [f"| {outcome.size.name} campaign | |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in rows)]
    return "\n".join(lines)


def complaints(outcome: Outcome) -> str:
    """Returns the violations as text.

    First comes their number by invariant. Then follow some of each in full, with the whole history
    of the job.
    """
    counted = Counter(str(violation.invariant) for violation in outcome.violations)
    lines = ["", "Violations: " + ", ".join(f"{number} of {invariant}" for invariant, number in counted.most_common())]
    for violation in _some_of_each(outcome.violations):
        lines.append(f"\n- [{violation.invariant}] {violation.job_id or ''}: {violation.detail}")
        history = outcome.found.histories.get(violation.job_id or "", []) if outcome.found else []
        lines += [f"    {_line(event)}" for event in history]
    return "\n".join(lines)


def _some_of_each(violations: Sequence[Violation]) -> list[Violation]:
    seen: Counter[int | str] = Counter()
    chosen = []
    for violation in violations:
        seen[violation.invariant] += 1
        if seen[violation.invariant] <= MOST_SHOWN:
            chosen.append(violation)
    return chosen


def _line(event: Event) -> str:
    data = orjson.dumps(event.data).decode()
    return f"{event.at:%H:%M:%S.%f} {event.seq:3} attempt {event.attempt} {event.type:9} {event.actor} {data[:200]}"


def _seconds(seconds: float | None) -> str:
    return "not reached" if seconds is None else f"{seconds:.1f} s"
