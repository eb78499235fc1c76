"""What `rireki audit` prints: tables on a terminal, plain lines in a pipe, JSON where asked."""

import sys
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from events.bus import Bus
from events.database import Database
from events.job import (
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
    evolve,
    rfc3339,
    word,
)
from events.store import Store
from projections.seal import seal_everything
from projections.verify import verify
from service.plain import plain_text, print_fields, print_json, shortened, visible
from service.views import event_json, job_json

AT_ONCE = 1000

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
        raise typer.BadParameter(f"{text!r} is not a job id") from error


def read_until(text: str | None) -> int | datetime | None:
    """An event's number or a time."""
    if text is None:
        return None
    if text.isascii() and text.isdecimal():
        if int(text) == 0:
            raise typer.BadParameter("events are numbered from 1")
        return int(text)
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is neither an event's number nor a time like 2026-11-23T09:00:00Z") from error
    if time.tzinfo is None:
        raise typer.BadParameter(f"{text!r} has no time zone: end it with Z or an offset")
    return time


async def print_replay(database: Database, job_id: str, until: int | datetime | None, *, as_json: bool) -> int:
    """A job's events, each with the state after it. 1 for an unknown job."""
    await seal_everything(database)
    history = await Store(database, Bus()).history(job_id)
    if not history:
        print(f"rireki: there is no job {job_id}", file=sys.stderr)
        return 1
    steps = _states(_up_to(history, until))
    if as_json:
        for recorded, job in steps:
            print_json({"event": event_json(recorded, with_stack=True), "job": job_json(job, with_stack=True)})
    elif sys.stdout.isatty():
        Console().print(_replay_table(job_id, steps))
    else:
        for recorded, job in steps:
            print_fields(
                str(recorded.seq), rfc3339(recorded.at), recorded.actor, f"attempt {recorded.attempt}", word(recorded.event),
                _gist(recorded.event), f"→ {job.status}",
            )  # fmt: skip
    return 0


async def print_verification(database: Database, job_id: str | None, *, as_json: bool) -> int:
    """What differs between log and view. 1 if anything does, or if the one job is unknown."""
    await seal_everything(database)
    verified = await verify(database, job_id=job_id)
    if job_id is not None and verified.jobs == 0:
        print(f"rireki: there is no job {job_id}", file=sys.stderr)
        return 1
    if as_json:
        differences = [{"jobId": difference.job_id, "detail": difference.detail} for difference in verified.differences]
        print_json(
            {
                "jobs": verified.jobs,
                "events": verified.events,
                "lastPosition": verified.last_position,
                "differences": differences,
            }
        )
    else:
        for difference in verified.differences:
            print(visible(f"{difference.job_id or 'the log'}: {difference.detail}"))
        found = f"{len(verified.differences)} differences" if verified.differences else "nothing differs"
        summary = f"{found}: {verified.jobs} jobs, {verified.events} events, the last position is {verified.last_position}"
        Console(highlight=False).print(Text(summary, style="red" if verified.differences else "green"))
    return 1 if verified.differences else 0


async def print_log(database: Database, after: int) -> None:
    """The whole log in order of position, an event a line."""
    await seal_everything(database)
    store = Store(database, Bus())
    while events := await store.log(after=after, limit=AT_ONCE):
        for recorded in events:
            print_json(event_json(recorded, with_stack=True))
        assert events[-1].position is not None
        after = events[-1].position


def _up_to(history: Iterable[Recorded], until: int | datetime | None) -> Iterator[Recorded]:
    for recorded in history:
        if isinstance(until, int) and recorded.seq > until:
            return
        if isinstance(until, datetime) and recorded.at > until:
            return
        yield recorded


def _states(history: Iterable[Recorded]) -> list[tuple[Recorded, Job]]:
    steps: list[tuple[Recorded, Job]] = []
    job: Job | None = None
    for recorded in history:
        job = evolve(job, recorded)
        steps.append((recorded, job))
    return steps


def _replay_table(job_id: str, steps: list[tuple[Recorded, Job]]) -> Table:
    title = plain_text(f"{steps[0][1].type if steps else ''} {job_id}", "table.title")
    table = Table(title=title, title_justify="left", show_lines=False)
    for heading in ("seq", "at", "actor", "attempt", "event", "what", "the job then"):
        table.add_column(heading, justify="right" if heading in ("seq", "attempt") else "left", overflow="fold")
    for recorded, job in steps:
        state = Text(job.status, style=COLOURS[job.status])
        table.add_row(
            str(recorded.seq), rfc3339(recorded.at), plain_text(recorded.actor), str(recorded.attempt), word(recorded.event),
            plain_text(_gist(recorded.event)), state,
        )  # fmt: skip
    return table


def _gist(event: Event) -> str:
    """An event in a few words."""
    match event:
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
