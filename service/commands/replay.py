"""The command `rireki audit replay`: a job's history, each event with the job's state after it."""

import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, NamedTuple

import orjson
import typer
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
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
from projections.verify import Finding
from service.accounts.access_records import Action
from service.api.documents import event_json, job_json
from service.commands.past_jobs import read_time
from service.commands.plain_text import plain, print_fields, print_json, shortened, visible
from service.commands.recording import record

COLOURS = {
    Status.QUEUED: "yellow",
    Status.PROCESSING: "cyan",
    Status.COMPLETED: "green",
    Status.FAILED: "red",
    Status.CANCELED: "magenta",
}

EMAILS = "select id, email from users where id = any(cast(:ids as uuid[]))"

_USER = re.compile(r"user:([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})")


class Step(NamedTuple):
    """An event, the job after it, and the email of the user who caused it, if known."""

    recorded: Recorded
    job: Job
    email: str | None


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
    return read_time(text, "--until", or_else="an event number")


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
    emails = await _emails(database, {recorded.actor for recorded in history})
    steps, broken = _states(_up_to(history, until), emails)
    if as_json:
        _print_as_json(steps, broken)
    elif sys.stdout.isatty():
        Console(highlight=False).print(_on_terminal(job_id, steps))
    else:
        for step in steps:
            print_fields(*_fields(step))
    if broken is None:
        return 0
    if not as_json:
        sentence = f"the history is broken at event {broken.seq}: {broken.name}: {broken.detail}"
        Console(highlight=False, soft_wrap=True).print(Text(visible(sentence), style="red"))
    return 1


async def _emails(database: Database, actors: Iterable[str]) -> dict[str, str]:
    """Returns the email of each actor that is a user with an account."""
    ids = [found[1] for found in map(_USER.fullmatch, actors) if found]
    if not ids:
        return {}
    return {f"user:{row['id']}": row["email"] for row in await database.fetch_all(EMAILS, {"ids": ids})}


def _up_to(history: Iterable[Recorded], until: int | datetime | None) -> Iterator[Recorded]:
    for recorded in history:
        if isinstance(until, int) and recorded.seq > until:
            return
        if isinstance(until, datetime) and recorded.at > until:
            return
        yield recorded


def _states(history: Iterable[Recorded], emails: Mapping[str, str]) -> tuple[list[Step], Finding | None]:
    """Returns each event with the job after it, and the fault that breaks the history.

    The events end before the break. The fault is None if nothing is broken.
    """
    steps: list[Step] = []
    job: Job | None = None
    for recorded in history:
        try:
            job = evolve(job, recorded)
        except BrokenHistory as broken:
            return steps, Finding(broken.name, recorded.job_id, recorded.seq, recorded.position, str(broken))
        steps.append(Step(recorded, job, emails.get(recorded.actor)))
    return steps, None


def _print_as_json(steps: Iterable[Step], broken: Finding | None) -> None:
    for recorded, job, email in steps:
        event = event_json(recorded, with_stack=True)
        print_json({"event": event, "job": job_json(job, with_stack=True), "email": email})
    if broken is not None:
        print_json({"broken": broken.to_json()})


def _fields(step: Step) -> list[str]:
    """Returns the fields of one line for programs. The last three are left out if they are unknown."""
    recorded, job, email = step
    known = {"request": recorded.request_id, "cause": recorded.cause, "email": email}
    return [
        str(recorded.seq), rfc3339(recorded.at), recorded.actor, f"attempt {recorded.attempt}", word(recorded.event),
        _gist(recorded.event), f"→ {job.status}", *(f"{name} {value}" for name, value in known.items() if value is not None),
    ]  # fmt: skip


def _on_terminal(job_id: str, steps: list[Step]) -> Group:
    """Returns the history for a terminal: for each event a line that fits 80 columns, and its details below, indented."""
    job_type = f"{plain(steps[0].job.type)} " if steps else ""
    lines: list[RenderableType] = [Text(f"{job_type}{job_id}", style="bold")]
    width = max((len(str(step.recorded.seq)) for step in steps), default=1)
    for step in steps:
        lines += [_headline(step, width), Padding(_details(step), (0, 0, 0, width + 2))]
    return Group(*lines)


def _headline(step: Step, width: int) -> Text:
    recorded, job, _ = step
    head = f"{recorded.seq:>{width}}  {rfc3339(recorded.at)}  {word(recorded.event):<9}  attempt {recorded.attempt}  → "
    return Text(head) + Text(job.status, style=COLOURS[job.status])


def _details(step: Step) -> Text:
    recorded, _, email = step
    by = f"by {plain(recorded.actor)}" + (f" ({plain(email)})" if email is not None else "")
    lines = [by, plain(_gist(recorded.event))]
    if recorded.request_id is not None:
        lines.append(f"request {plain(recorded.request_id)}")
    if recorded.cause is not None:
        lines.append(f"cause {plain(recorded.cause)}")
    return Text("\n".join(line for line in lines if line), style="dim", overflow="fold")


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
