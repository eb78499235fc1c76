"""The command `rireki projections rebuild`. It returns the exit status."""

import sys
from typing import TextIO
from uuid import UUID

import typer

from events.database import Database
from events.job import BrokenHistory
from projections.rebuild import BrokenHistories, RebuildRefused, rebuild_view
from service.accounts.access_records import Action
from service.commands.plain_text import visible
from service.commands.recording import record
from workers.registry import unique_key


def read_job_id(text: str) -> str:
    try:
        return str(UUID(text))
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is not a job id: give a UUID like 01939b1e-7c2a-7000-8000-0123456789ab") from error


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
