"""The commands `rireki jobs`: list, show, cancel, retry and watch jobs.

They print a table to a terminal, tab-separated lines to a pipe, and JSON with --json. A pipe gets
every value uncut. They return the exit status.
"""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import typer
from rich.console import Console
from rich.table import Table

from events.bus import Bus, RedisBus
from events.database import Database
from events.job import ENDED, Event, Job, NotAllowed, Recorded, Status, cancel, retry, rfc3339, word
from events.store import Store
from events.writes import AlreadyActive, UnknownJob
from projections.jobs import SHORT_ID, JobFilter, JobsView
from service.accounts.access_records import OPERATOR, Action
from service.accounts.people import accounts
from service.api.descriptions import DescribedJobDocument, DescriptionPart, described_jobs
from service.api.documents import event_json
from service.commands.plain_text import plain_text, print_fields, print_json, shortened, visible
from service.commands.recording import record
from service.config import load_settings
from workers.registry import JOB_TYPES

LOOK_EVERY = 0.5  # seconds between two reads of the log by `watch`
LONGEST_CELL = 60  # characters of a description in a terminal


@dataclass(frozen=True, slots=True)
class Listing:
    """The options of `rireki jobs list`. `owner` is an email address."""

    type: str | None
    status: Status | None
    owner: str | None
    after: datetime | None
    before: datetime | None
    limit: int


def read_status(text: str | None) -> Status | None:
    if text is not None and text not in list(Status):
        raise typer.BadParameter(f"{text!r} is not a status: use one of {', '.join(Status)}")
    return None if text is None else Status(text)


def read_type(text: str | None) -> str | None:
    if text is not None and text not in JOB_TYPES:
        raise typer.BadParameter(f"{text!r} is not a job type: use one of {', '.join(JOB_TYPES)}")
    return text


def read_moment(text: str | None, option: str) -> datetime | None:
    """Returns a time with its zone, or a day, which means 00:00 UTC. Raises `typer.BadParameter`."""
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text if len(text) > len("2026-11-23") else f"{text}T00:00:00Z")
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None or not 1970 <= moment.year < 9999:
        raise typer.BadParameter(f"{option} must be a time like 2026-11-23T09:00:00+09:00, or a day, not {text!r}")
    return moment


async def print_jobs(database: Database, asked: Listing, *, as_json: bool) -> int:
    """Prints the newest jobs that fit. Exit status 1 if the owner is unknown."""
    people = {account.user.id: account.user.email for account in await accounts(database)}
    user_id = next((user_id for user_id, email in people.items() if email == asked.owner), None)
    if asked.owner is not None and user_id is None:
        return _say(f"there is no user with the email {asked.owner}")
    wanted = JobFilter(asked.type, asked.status, user_id, asked.after, asked.before)
    page = await JobsView(database).page(wanted, limit=asked.limit)
    jobs = await described_jobs(database, page.jobs, with_stack=True)
    await record(database, Action.READ_JOBS, f"jobs?limit={asked.limit}")
    if as_json:
        print_json({"jobs": jobs, "nextCursor": page.next_cursor})
    elif sys.stdout.isatty():
        Console().print(_table(jobs, people))
    else:
        for job in jobs:
            print_fields(*_row(job, people))
    return 0


async def print_job(database: Database, text: str, *, as_json: bool) -> int:
    """Prints all fields of one job."""
    job = await _found(database, text)
    if job is None:
        return 1
    await record(database, Action.READ_JOB, f"job:{job.id}")
    (document,) = await described_jobs(database, [job], with_stack=True)
    if as_json:
        print_json({"job": document})
        return 0
    people = {account.user.id: account.user.email for account in await accounts(database)}
    shown: dict[str, Any] = document | {"about": about(document), "owner": _owner(document, people)}
    for name in ("id", "type", "about", "status", "owner", *(name for name in document if name not in _ELSEWHERE)):
        print_fields(name, "" if shown[name] is None else str(shown[name]))
    return 0


async def change_jobs(database: Database, texts: Sequence[str], action: str) -> int:
    """Cancels or retries jobs one by one, as the page does. Exit status 1 if one is refused."""

    def decide(job: Job) -> list[Event]:
        return cancel(job, reason="canceled by an operator") if action == "cancel" else retry(job)

    status = 0
    async with _store(database) as store:
        for text in texts:
            job = await _found(database, text)
            if job is None:
                status = 1
                continue
            try:
                changed = await store.append(job.id, decide, actor=OPERATOR)
            except (NotAllowed, AlreadyActive, UnknownJob) as refusal:
                status = _say(f"{job.id}: {refusal}")
                continue
            await record(database, Action.CHANGE_JOBS, f"job:{job.id} action={action} done=1")
            print_fields(changed.id, changed.status.value)
    return status


async def watch_job(database: Database, text: str, *, as_json: bool) -> int:
    """Prints each past and future event of a job, until the job ends.

    Exit status 0 if it is completed at the end, else 1.
    """
    job = await _found(database, text)
    if job is None:
        return 1
    await record(database, Action.READ_JOB, f"job:{job.id}")
    store, view, shown = Store(database, Bus()), JobsView(database), 0
    while True:
        # The job is read before its events. So if the job has ended here, the events include its last one.
        job = await view.get(job.id) or job
        if job.seq > shown:
            for recorded in (await store.history.events(job.id))[shown:]:
                _print_event(recorded, as_json=as_json)
                shown = recorded.seq
        if job.status in ENDED and job.finished_at is not None:
            return 0 if job.status is Status.COMPLETED else 1
        await asyncio.sleep(LOOK_EVERY)


def about(job: DescribedJobDocument) -> str:
    """Returns the description of a job as text: "あけぼの食品 · 2026-09-01/2026-12-01"."""
    return " · ".join(_part(part) for part in job["description"])


def _part(part: DescriptionPart) -> str:
    match part:
        case {"kind": "company", "name": name, "id": company_id}:
            return str(name or company_id)
        case {"kind": "room", "name": name, "roomId": room_id}:
            return str(name or room_id)
        case {"kind": "period", "start": start, "end": end}:
            return f"{str(start)[:10]}/{str(end)[:10]}"
        case _:
            return str(part.get("text", ""))


_ELSEWHERE = {"id", "type", "description", "status", "userId"}


def _owner(job: DescribedJobDocument, people: dict[str, str]) -> str:
    user_id = job["userId"]
    return "system" if user_id is None else people.get(user_id, user_id)


def _row(job: DescribedJobDocument, people: dict[str, str]) -> tuple[str, ...]:
    error = job["error"]
    message = "" if error is None else f"{error['name']}: {error['message']}"
    attempt = f"{job['attempt']}/{job['maxAttempts']}"
    return (job["id"], job["type"], about(job), job["status"], attempt, _owner(job, people), job["createdAt"], message)


def _table(jobs: Sequence[DescribedJobDocument], people: dict[str, str]) -> Table:
    table = Table(title="jobs", title_justify="left")
    for heading in ("job", "type", "about", "status", "attempt", "owner", "created"):
        table.add_column(heading, overflow="fold", no_wrap=heading in ("job", "status"))
    for job in jobs:
        job_id, job_type, words, status, attempt, owner, created, _ = _row(job, people)
        table.add_row(
            job_id[-8:], plain_text(job_type), plain_text(shortened(words, LONGEST_CELL)), status, attempt, plain_text(owner),
            f"{created[:16].replace('T', ' ')}Z",
        )  # fmt: skip
    return table


def _print_event(recorded: Recorded, *, as_json: bool) -> None:
    document = event_json(recorded, with_stack=True)
    if as_json:
        print_json(document)
        return
    told = document["data"].get("result") or document["data"].get("error") or document["data"].get("reason") or ""
    print_fields(str(recorded.seq), rfc3339(recorded.at), word(recorded.event), f"attempt {recorded.attempt}", str(told))
    sys.stdout.flush()


async def _found(database: Database, text: str) -> Job | None:
    """Returns the job with this id, or the only job with this short id. Otherwise returns a message."""
    view = JobsView(database)
    ids = await view.of_short_id(text) if SHORT_ID.fullmatch(text) else [_canonical(text)]
    if len(ids) > 1:
        _say(f"{len(ids)} jobs have an id that ends in {text}: {', '.join(ids)}")
        return None
    job = await view.get(ids[0]) if ids else None
    if job is None:
        _say(f"there is no job {text}")
    return job


def read_job(text: str) -> str:
    """Checks that `text` is a whole or a short id. Raises `typer.BadParameter`."""
    if not SHORT_ID.fullmatch(text):
        _canonical(text)
    return text


def _canonical(text: str) -> str:
    try:
        return str(UUID(text))
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is not a job id: give a UUID, or its last eight digits") from error


@contextlib.asynccontextmanager
async def _store(database: Database) -> AsyncIterator[Store]:
    """Opens the log for writing. With Redis, workers get a cancel at once."""
    redis_url = load_settings().redis_url
    bus = Bus() if redis_url is None else RedisBus(redis_url)
    store = Store(database, bus)
    await bus.start()
    await store.start()
    try:
        yield store
    finally:
        await store.stop()
        await bus.stop()


def _say(message: str) -> int:
    """Prints why something was refused. Returns exit status 1."""
    print(f"rireki: {visible(message)}", file=sys.stderr)
    return 1
