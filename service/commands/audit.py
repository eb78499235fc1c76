"""The commands `rireki audit` and `rireki projections rebuild`.

They print tables to a terminal, tab-separated lines to a pipe, and JSON with --json. They return
the exit status.
"""

import sys
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any, TextIO
from uuid import UUID

import orjson
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from events.database import Database
from events.history import History
from events.job import (
    BrokenHistory,
    Canceled,
    Completed,
    Event,
    Failed,
    Job,
    Progress,
    Queued,
    Recorded,
    Started,
    Status,
    Unreadable,
    evolve,
    rfc3339,
    word,
)
from projections.rebuild import BrokenHistories, RebuildRefused, rebuild_view
from projections.verify import Finding, Verified, verify
from service.accounts.access_records import Action
from service.api.documents import event_json, job_json
from service.commands.plain_text import plain_text, print_fields, print_json, shortened, visible
from service.commands.recording import record
from workers.registry import unique_key

COLOURS = {
    Status.QUEUED: "yellow",
    Status.PROCESSING: "cyan",
    Status.COMPLETED: "green",
    Status.FAILED: "red",
    Status.CANCELED: "magenta",
}


def read_job_id(text: str) -> str:
    try:
        return str(UUID(text))
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is not a job id: give a UUID like 01939b1e-7c2a-7000-8000-0123456789ab") from error


def read_until(text: str | None) -> int | datetime | None:
    """Returns the value of --until: an event number, or a time with its zone.

    Raises `typer.BadParameter`.
    """
    if text is None:
        return None
    if text.isascii() and text.isdecimal():
        if int(text) == 0:
            raise typer.BadParameter("--until must be 1 or more, because events are numbered from 1")
        return int(text)
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(
            f"--until must be an event number or a time like 2026-11-23T09:00:00Z, not {text!r}"
        ) from error
    if time.tzinfo is None:
        raise typer.BadParameter(f"--until needs a time zone: {text!r} must end with Z or an offset like +09:00")
    return time


async def print_replay(database: Database, job_id: str, until: int | datetime | None, *, as_json: bool) -> int:
    """Prints a job's events, each with the job's state after it.

    If the history is broken, it prints the events before the break, and the fault. Returns 1 if the
    history is broken or the job is unknown, else 0.
    """
    history = await History(database).events(job_id)
    await record(database, Action.READ_JOB, f"job:{job_id}")
    if not history:
        print(f"rireki: there is no job {job_id} in the log", file=sys.stderr)
        return 1
    steps, broken = _states(_up_to(history, until))
    if as_json:
        for recorded, job in steps:
            print_json({"event": event_json(recorded, with_stack=True), "job": job_json(job, with_stack=True)})
        if broken is not None:
            print_json({"broken": broken.to_json()})
    elif sys.stdout.isatty():
        Console().print(_replay_table(job_id, steps))
    else:
        for recorded, job in steps:
            print_fields(
                str(recorded.seq), rfc3339(recorded.at), recorded.actor, f"attempt {recorded.attempt}", word(recorded.event),
                _gist(recorded.event), f"→ {job.status}",
            )  # fmt: skip
    if broken is None:
        return 0
    if not as_json:
        sentence = f"the history is broken at event {broken.seq}: {broken.name}: {broken.detail}"
        Console(highlight=False, soft_wrap=True).print(Text(visible(sentence), style="red"))
    return 1


async def print_verification(database: Database, job_id: str | None, *, as_json: bool) -> int:
    """Verifies the log, or one job, and prints the findings.

    Returns 0 if there are no findings, 1 if there are any, 2 if the job is unknown.
    """
    await record(database, Action.VERIFY_LOG, "log" if job_id is None else f"job:{job_id}")
    verified = await verify(database, job_id=job_id, unique_key=unique_key)
    if job_id is not None and verified.jobs == 0:
        print(f"rireki: there is no job {job_id}", file=sys.stderr)
        return 2
    if as_json:
        print_json(
            {
                "jobs": verified.jobs,
                "events": verified.events,
                "lastPosition": verified.last_position,
                "unsealed": verified.unsealed,
                "findings": [finding.to_json() for finding in verified.findings],
                "findingCounts": {name.value: count for name, count in verified.counts.items()},
                "differences": [{"jobId": each.job_id, "detail": each.detail} for each in verified.differences],
            }
        )
    else:
        for finding in verified.findings:
            print(visible(str(finding)))
        if verified.count > len(verified.findings):
            print(f"{verified.count - len(verified.findings)} more findings are not listed")
        Console(highlight=False, soft_wrap=True).print(Text(_summary(verified), style="red" if verified.count else "green"))
    return 1 if verified.count else 0


def _summary(verified: Verified) -> str:
    by_name = ", ".join(f"{name} {count}" for name, count in sorted(verified.counts.items()))
    found = f"{verified.count} findings ({by_name})" if verified.count else "no findings"
    covered = f"{verified.jobs} jobs, {verified.events} events, the last position is {verified.last_position}"
    waiting = f", {verified.unsealed} events have no position yet" if verified.unsealed else ""
    return f"{found}: {covered}{waiting}"


async def rebuild_jobs(database: Database, *, skip_broken: bool) -> int:
    """Rebuilds the jobs view and prints the result. Returns 1 if it was not rebuilt."""
    try:
        rebuilt = await rebuild_view(database, unique_key, skip_broken=skip_broken)
    except RebuildRefused as refusal:
        print(f"rireki: {visible(str(refusal))}", file=sys.stderr)
        return 1
    except BrokenHistories as broken:
        print(
            f"rireki: the view was not rebuilt, because {len(broken.jobs)} jobs have a broken history. With --skip-broken their"
            " rows stay unchanged and the rest is rebuilt. The jobs are:",
            file=sys.stderr,
        )
        _print_broken(broken.jobs, sys.stderr)
        return 1
    await record(database, Action.REBUILD_VIEW, f"{rebuilt.jobs} jobs")
    print(f"the view was rebuilt: {rebuilt.jobs} jobs")
    if rebuilt.broken:
        print(f"{len(rebuilt.broken)} jobs have a broken history, so their rows are unchanged:")
        _print_broken(rebuilt.broken, sys.stdout)
    for job_id, key in rebuilt.without_key.items():
        print(visible(f"job {job_id} no longer has a unique key, because an older active job holds {key}"))
    return 0


def _print_broken(jobs: dict[str, BrokenHistory], file: TextIO) -> None:
    for job_id, broken in jobs.items():
        print(visible(f"{job_id}: {broken.name} at event {broken.seq}: {broken}"), file=file)


def _up_to(history: Iterable[Recorded], until: int | datetime | None) -> Iterator[Recorded]:
    for recorded in history:
        if isinstance(until, int) and recorded.seq > until:
            return
        if isinstance(until, datetime) and recorded.at > until:
            return
        yield recorded


def _states(history: Iterable[Recorded]) -> tuple[list[tuple[Recorded, Job]], Finding | None]:
    """Returns each event with the job after it, and the fault that breaks the history.

    The events end before the break. The fault is None if nothing is broken.
    """
    steps: list[tuple[Recorded, Job]] = []
    job: Job | None = None
    for recorded in history:
        try:
            job = evolve(job, recorded)
        except BrokenHistory as broken:
            return steps, Finding(broken.name, recorded.job_id, recorded.seq, recorded.position, str(broken))
        steps.append((recorded, job))
    return steps, None


def _replay_table(job_id: str, steps: list[tuple[Recorded, Job]]) -> Table:
    title = plain_text(f"{steps[0][1].type if steps else ''} {job_id}", "table.title")
    table = Table(title=title, title_justify="left", show_lines=False)
    for heading in ("seq", "at", "actor", "attempt", "event", "details", "job status"):
        table.add_column(heading, justify="right" if heading in ("seq", "attempt") else "left", overflow="fold")
    for recorded, job in steps:
        state = Text(job.status, style=COLOURS[job.status])
        table.add_row(
            str(recorded.seq), rfc3339(recorded.at), plain_text(recorded.actor), str(recorded.attempt), word(recorded.event),
            plain_text(_gist(recorded.event)), state,
        )  # fmt: skip
    return table


def _gist(event: Event | Unreadable) -> str:
    """Returns the details of an event in a few words."""
    match event:
        case Unreadable(data=data):
            return _short(data)
        case Queued(reason=reason, delay=delay):
            return f"{reason}, in {delay.total_seconds():.1f} s" if delay else reason
        case Started(worker=worker):
            return worker
        case Progress(result=result) | Completed(result=result):
            return _short(result)
        case Failed(error=error, will_retry=will_retry):
            return f"{error.name}: {_short(error.message)}" + (" (will be retried)" if will_retry else "")
        case Canceled(reason=reason):
            return reason


def _short(value: Any) -> str:
    return shortened(value if isinstance(value, str) else orjson.dumps(value).decode(), 80)
