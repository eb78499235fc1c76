"""The commands `rireki workers`, `rireki pause` and `rireki resume`.

They print tables to a terminal, tab-separated lines to a pipe, and JSON with --json. They return
the exit status.
"""

import re
import sys
from datetime import UTC, datetime, timedelta

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from events.database import Database
from events.job import rfc3339
from service.accounts.access_records import OPERATOR, Action
from service.api.operations import REMEMBERED, worker_json
from service.commands.plain_text import plain_text, print_fields, print_json, visible
from service.commands.recording import record
from workers.liveness.heartbeat import LEASE
from workers.liveness.worker_table import Presence, WorkerSeen, workers_seen
from workers.pauses import Pauses
from workers.registry import JOB_TYPES

COLOURS = {Presence.ALIVE: "green", Presence.SILENT: "yellow", Presence.GONE: "red"}
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


async def print_workers(database: Database, *, as_json: bool) -> int:
    """Print the workers and the jobs that each runs. Returns 1 if no worker is alive."""
    seen = await workers_seen(database, lease=LEASE, remembered=REMEMBERED)
    if as_json:
        print_json({"workers": [worker_json(worker) for worker in seen]})
    elif not seen:
        print("no worker has run within the last day")
    elif sys.stdout.isatty():
        Console().print(_table(seen))
    else:
        for worker in seen:
            print_fields(worker.id, worker.presence, f"{len(worker.running)}/{worker.slots}", rfc3339(worker.last_seen))
            for line in _doing(worker):
                print_fields("", line)
    return 0 if any(worker.presence is Presence.ALIVE for worker in seen) else 1


async def pause_type(database: Database, job_type: str, *, until: datetime | None, reason: str) -> int:
    """Pauses a job type until a time, or without an end, and prints that it is paused."""
    await Pauses(database).pause(job_type, until=until, reason=reason, actor=OPERATOR)
    await record(database, Action.PAUSE_TYPE, f"job-type:{job_type}?reason={reason}")
    end = f"until {rfc3339(until)}" if until else f"until you run `rireki resume {job_type}`"
    print(visible(f"{job_type} is paused {end}"))
    return 0


async def resume_type(database: Database, job_type: str) -> int:
    """Ends the pause of a job type, if there is one, and prints that it is not paused."""
    await Pauses(database).resume(job_type)
    await record(database, Action.RESUME_TYPE, f"job-type:{job_type}")
    print(visible(f"{job_type} is not paused"))
    return 0


def read_job_type(text: str) -> str:
    if text not in JOB_TYPES:
        raise typer.BadParameter(f"{text!r} is not a job type: use one of {', '.join(JOB_TYPES)}")
    return text


def read_duration(text: str | None) -> datetime | None:
    """Returns the time that is `90s`, `10m`, `2h` or `1d` from now; None without a duration.

    Raises `typer.BadParameter`.
    """
    if text is None:
        return None
    return datetime.now(UTC) + _span(text, "--for")


def read_age(text: str) -> datetime:
    """Returns the time that was `90s`, `10m`, `2h` or `1d` ago. Raises `typer.BadParameter`."""
    return datetime.now(UTC) - _span(text, "--since")


def _span(text: str, option: str) -> timedelta:
    found = re.fullmatch(r"([1-9][0-9]{0,5})([smhd])", text)
    if found is None:
        raise typer.BadParameter(f"{option} must be a duration like 90s, 10m, 2h or 1d, not {text!r}")
    return timedelta(seconds=int(found[1]) * SECONDS[found[2]])


def _table(seen: list[WorkerSeen]) -> Table:
    table = Table(title="workers", title_justify="left")
    for heading in ("worker", "state", "slots", "since", "last seen", "runs"):
        table.add_column(heading, justify="right" if heading == "slots" else "left", overflow="fold")
    for worker in seen:
        table.add_row(
            plain_text(worker.id), Text(worker.presence, style=COLOURS[worker.presence]), f"{len(worker.running)}/{worker.slots}",
            rfc3339(worker.started_at), rfc3339(worker.last_seen), Text("\n").join(map(plain_text, _doing(worker))),
        )  # fmt: skip
    return table


def _doing(worker: WorkerSeen) -> list[str]:
    running = [f"{job.type} {job.job_id} attempt {job.attempt} since {rfc3339(job.started_at)}" for job in worker.running]
    stuck = [
        f"STUCK {handler.type} {handler.job_id} attempt {handler.attempt} since {rfc3339(handler.since)}"
        for handler in worker.stuck
    ]
    return running + stuck
