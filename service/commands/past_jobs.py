"""The command `rireki audit at`: all jobs as they stood at a past moment."""

import sys
from collections.abc import Iterable
from datetime import datetime

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from events.database import Database
from events.job import BrokenHistory, Job, Status, rfc3339
from projections.past_jobs import JobCounts, jobs_at
from service.accounts.access_records import Action
from service.api.documents import job_json
from service.api.past_jobs import broken_json, count_lines
from service.commands.plain_text import plain_text, print_fields, print_json, visible
from service.commands.recording import record

NOW = "select clock_timestamp()"


def read_time(text: str, name: str, *, or_else: str | None = None) -> datetime:
    """Reads a time with its zone. `name` is the argument or option of the time. `or_else` is another value that is allowed.

    Raises `typer.BadParameter`.
    """
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        wanted = f"{or_else} or a time" if or_else else "a time"
        raise typer.BadParameter(f"{name} must be {wanted} like 2026-11-23T09:00:00Z, not {text!r}") from error
    if time.tzinfo is None:
        raise typer.BadParameter(f"{name} needs a time zone: {text!r} must end with Z or an offset like +09:00")
    if not 1 < time.year < 9999:
        raise typer.BadParameter(f"{name} must be a time in the years 2 to 9998")
    return time


async def print_jobs_at(database: Database, at: datetime, *, rows: bool, as_json: bool) -> int:
    """Prints the numbers of jobs by type and status at that moment, or with `rows` each job as a line of JSON.

    Returns 1 if a history cannot be folded, 2 if the moment is in the future, else 0.
    """
    if at > await database.fetch_val(NOW):
        print(f"rireki: {rfc3339(at)} is in the future: give a past time", file=sys.stderr)
        return 2
    await record(database, Action.READ_STATE, f"state?at={rfc3339(at)}" + ("" if rows else "&counts=True"))
    counts = JobCounts()
    async for found in jobs_at(database, at):
        for each in found:
            counts.add(each)
            if rows:
                print_json(job_json(each, with_stack=True) if isinstance(each, Job) else broken_json(each))
            elif isinstance(each, BrokenHistory):
                _tell_broken(each)
    if not rows:
        _print_counts(at, counts, as_json=as_json)
    return 1 if counts.broken else 0


def _tell_broken(broken: BrokenHistory) -> None:
    sentence = f"{broken.name}: {broken.job_id}, event {broken.seq}: {broken}"
    print(visible(sentence), file=sys.stderr)


def _print_counts(at: datetime, counts: JobCounts, *, as_json: bool) -> None:
    lines = count_lines(counts)
    if as_json:
        print_json({"at": rfc3339(at), "jobs": counts.jobs, "broken": counts.broken, "counts": lines})
    elif sys.stdout.isatty():
        Console().print(_table(at, counts))
    else:
        for line in lines:
            print_fields(line["type"], line["status"], str(line["jobs"]))


def _table(at: datetime, counts: JobCounts) -> Table:
    """Returns a table with a row for each type and a column for each status."""
    table = Table(title=Text(f"the jobs at {rfc3339(at)}", "table.title"), title_justify="left")
    table.add_column("type", overflow="fold")
    for heading in (*Status, "all"):
        table.add_column(heading, justify="right")
    for job_type in sorted({job_type for job_type, _ in counts.by_type}):
        numbers = [counts.by_type[job_type, status] for status in Status]
        table.add_row(plain_text(job_type), *_shown([*numbers, sum(numbers)]))
    table.add_section()
    totals = [sum(count for (_, each), count in counts.by_type.items() if each is status) for status in Status]
    table.add_row("all", *_shown([*totals, counts.jobs]))
    if counts.broken:
        table.caption = f"{counts.broken} jobs have a history that cannot be folded up to then; they are not counted"
    return table


def _shown(numbers: Iterable[int]) -> list[str]:
    return [str(number) if number else "·" for number in numbers]
