"""The commands `rireki audit` and `rireki projections rebuild`.

They print tables to a terminal, tab-separated lines to a pipe, and JSON with --json. They return
the exit status.
"""

import sys
from typing import TextIO
from uuid import UUID

import typer
from rich.console import Console
from rich.text import Text

from events.database import Database
from events.job import BrokenHistory
from projections.rebuild import BrokenHistories, RebuildRefused, rebuild_view
from projections.verify import Verified, verify
from service.accounts.access_records import Action
from service.commands.plain_text import print_json, visible
from service.commands.recording import record
from workers.registry import unique_key


def read_job_id(text: str) -> str:
    try:
        return str(UUID(text))
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is not a job id: give a UUID like 01939b1e-7c2a-7000-8000-0123456789ab") from error


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
