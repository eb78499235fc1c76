"""The commands `rireki jobs`: read, cancel, retry and watch jobs."""

from typing import Annotated

import typer

from service.commands.running import exit_with, misuse, with_database

jobs_app = typer.Typer(help="List, show, cancel, retry and watch jobs.", no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
OneJob = Annotated[str, typer.Argument(metavar="job", help="The job's id, or the last eight digits of it.")]
ManyJobs = Annotated[list[str], typer.Argument(metavar="job…", help="Ids of jobs, or the last eight digits of them.")]


@jobs_app.command("list")
def list_jobs(
    type_: Annotated[str | None, typer.Option("--type", help="Only jobs of this type.")] = None,
    status: Annotated[str | None, typer.Option(help="queued, processing, completed, failed or canceled.")] = None,
    owner: Annotated[str | None, typer.Option(help="Only jobs of the person with this email.")] = None,
    since: Annotated[str | None, typer.Option(help="Only jobs created within this time, such as 1h, 24h, 7d or 30d.")] = None,
    after: Annotated[str | None, typer.Option("--from", help="Only jobs created after this time or day.")] = None,
    before: Annotated[str | None, typer.Option("--to", help="Only jobs created before this time or day.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="The most jobs.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List jobs, newest first, with the filters of the page.

    In a pipe each line has these fields, separated by tabs: id, type, what it is about, status,
    attempt, owner, time of creation, error.
    """
    from service.commands.jobs import Listing, print_jobs, read_moment, read_status, read_type
    from service.commands.operators import read_age

    if since is not None and after is not None:
        misuse("--since and --from must not come together: give one of them")
    begin = read_age(since) if since is not None else read_moment(after, "--from")
    asked = Listing(read_type(type_), read_status(status), owner, begin, read_moment(before, "--to"), limit)
    exit_with(with_database(lambda database: print_jobs(database, asked, as_json=as_json)))


@jobs_app.command("show")
def show(job: OneJob, as_json: AsJson = False) -> None:
    """Print all fields of a job. Exit status 1 if there is no such job."""
    from service.commands.jobs import print_job, read_job

    text = read_job(job)
    exit_with(with_database(lambda database: print_job(database, text, as_json=as_json)))


@jobs_app.command("cancel")
def cancel(jobs: ManyJobs) -> None:
    """Cancel jobs that are queued or processing. Exit status 1 if one is refused."""
    _change(jobs, "cancel")


@jobs_app.command("retry")
def retry(jobs: ManyJobs) -> None:
    """Queue the next attempt of failed or canceled jobs. Exit status 1 if one is refused."""
    _change(jobs, "retry")


@jobs_app.command("watch")
def watch(job: OneJob, as_json: AsJson = False) -> None:
    """Print each event of a job until the job ends. Exit status 1 if it is not completed."""
    from service.commands.jobs import read_job, watch_job

    text = read_job(job)
    exit_with(with_database(lambda database: watch_job(database, text, as_json=as_json)))


def _change(jobs: list[str], action: str) -> None:
    from service.commands.jobs import change_jobs, read_job

    texts = [read_job(job) for job in jobs]
    exit_with(with_database(lambda database: change_jobs(database, texts, action)))
