"""The command `rireki`: its commands, options and exit statuses.

The code of most commands is in `service/commands/`.

Results go to standard output; logs and errors go to standard error. Exit status 0: done. 1: it
failed, or an audit found a difference. 2: the command line or the environment is wrong.
"""

import asyncio
import contextlib
import sys
import traceback
from collections.abc import Iterator
from importlib import metadata
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from events.secret_redaction import scrubbed
from service.cli_checkpoints import add_checkpoint_commands
from service.cli_jobs import jobs_app
from service.cli_users import users_app
from service.cli_verify import add_verify_command
from service.commands.plain_text import plain_lines, visible
from service.commands.running import end, exit_with, fail, misuse, run_work, with_database
from service.config import ConfigError, SealerSettings, load_settings

app = typer.Typer(
    name="rireki",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
audit = typer.Typer(help="Read, verify and export the event log.", no_args_is_help=True)
projections = typer.Typer(help="Manage the tables that are computed from the event log.", no_args_is_help=True)
app.add_typer(jobs_app, name="jobs")
app.add_typer(users_app, name="users")
app.add_typer(audit, name="audit")
app.add_typer(projections, name="projections")

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"rireki {metadata.version('rireki')}")
        raise typer.Exit


Version = Annotated[
    bool,
    typer.Option("--version", callback=_print_version, is_eager=True, help="Print the installed version and exit."),
]


@app.callback()
def rireki(version: Version = False) -> None:
    """Rireki (履歴): a job service that keeps every change of every job as an event."""


def main() -> None:
    """Run the command line and exit.

    Every error that a person can correct is one line on standard error.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            # Python falls back to ASCII if the named locale is not installed, but our output needs
            # UTF-8.
            stream.reconfigure(encoding="utf-8", errors="surrogateescape")
    for argument in sys.argv:
        try:
            argument.encode()
        except UnicodeEncodeError:
            misuse(f"an argument is not UTF-8: {argument!r}")
    with _errors_in_one_line():
        raise SystemExit(app(standalone_mode=False))


@app.command()
def serve() -> None:
    """Run the API and the page, and a worker unless JOB_WORKER_ENABLED is false.

    It also seals and signs: it gives every event its position in the log, and
    signs checkpoints, unless SEALER_ENABLED is false because `rireki seal` runs.
    Without DATABASE_URL it starts an embedded PostgreSQL under RIREKI_HOME.
    Without REDIS_URL jobs run only inside this process.
    After SIGTERM, running jobs have WORKER_SHUTDOWN_GRACE_SECONDS (default 25)
    to finish; then the rest returns to the queue.
    After Ctrl-C, all running jobs return to the queue at once.
    """
    from service.http.logs import configure_logs
    from service.process.assembly import database_url, prepare_schema
    from service.process.serve import listen
    from service.process.serve import serve as run

    settings = load_settings()
    configure_logs()
    with contextlib.closing(listen(settings)) as listening, database_url(settings) as url:
        prepare_schema(settings, url)
        run_work(run(settings, url, listening))


@app.command()
def worker() -> None:
    """Run a worker without the API. It needs REDIS_URL, because it receives jobs over Redis.

    A worker never seals or signs: `rireki serve` or `rireki seal` does.
    After SIGTERM, running jobs have WORKER_SHUTDOWN_GRACE_SECONDS (default 25)
    to finish; then the rest returns to the queue.
    After Ctrl-C, all running jobs return to the queue at once.
    """
    from service.http.logs import configure_logs
    from service.process.assembly import database_url, prepare_schema
    from service.process.serve import work

    settings = load_settings(
        without=("sealer_database_url", "audit_signing_key", "audit_signing_key_file", "audit_checkpoint_url")
    )
    if settings.redis_url is None:
        raise ConfigError(
            "REDIS_URL is not set, and a worker receives jobs over Redis: set it, or use `rireki serve`, which runs jobs itself"
        )
    configure_logs()
    with database_url(settings) as url:
        prepare_schema(settings, url)
        run_work(work(settings, url))


@app.command()
def seal() -> None:
    """Seal and sign the log, and nothing else.

    It gives every event its position in the log, and signs a checkpoint each
    minute or 10,000 events, if AUDIT_SIGNING_KEY or AUDIT_SIGNING_KEY_FILE is set.
    Run it beside `rireki serve` with SEALER_ENABLED=false. It connects over
    SEALER_DATABASE_URL, or else DATABASE_URL, and needs no Redis. Several may run;
    one at a time seals. While none runs, events wait for their positions.
    """
    from service.http.logs import configure_logs
    from service.process.assembly import sealer_url
    from service.process.serve import seal as run

    settings = load_settings(SealerSettings)
    configure_logs()
    with sealer_url(settings) as url:
        run_work(run(settings, url))


@app.command()
def migrate(
    app_role: Annotated[
        str | None,
        typer.Option(help="An existing PostgreSQL role. It gets the rights that the service needs, and loses all others."),
    ] = None,
    sealer_role: Annotated[
        str | None,
        typer.Option(
            help="Another existing role, for SEALER_DATABASE_URL. It gets the rights to seal the log and nothing else, and the"
            " role of --app-role loses them."
        ),
    ] = None,
) -> None:
    """Bring the database to the newest schema.

    It is safe to repeat, also while the service runs.
    """
    from events.database import connect_unsettled
    from migrations.migrate import UnknownRole, grant, migrate
    from service.process.assembly import migrate_database_url

    if sealer_role is not None and app_role is None:
        misuse("--sealer-role needs --app-role, which names the role that loses the rights to seal")
    if sealer_role is not None and sealer_role == app_role:
        misuse("--sealer-role must name another role than --app-role")
    sealers: list[str] = []
    settings = load_settings()
    with migrate_database_url(settings) as url:
        migrate(url, connect_unsettled, origin=settings.audit_log_origin)
        try:
            if app_role is not None:
                sealers = grant(url, app_role, connect_unsettled, sealer=sealer_role)
        except UnknownRole as refusal:
            misuse(f"the schema is up to date, but no role got any rights: {refusal}")
    print("the schema is up to date")
    if sealers:
        names = ", ".join(sealers)
        print(visible(f"the role {app_role} may not seal, because that is the right of {names}"))


@app.command()
def workers(as_json: AsJson = False) -> None:
    """List the workers, and the jobs that each runs. Exit status 1 if no worker is alive."""
    from service.commands.operators import print_workers

    exit_with(with_database(lambda database: print_workers(database, as_json=as_json)))


@app.command()
def pause(
    job_type: Annotated[str, typer.Argument(metavar="type", help="A job type, such as chatwork_messages_sync.")],
    for_: Annotated[
        str | None,
        typer.Option("--for", help="The duration, such as 90s, 10m, 2h or 1d. Default: until `rireki resume`."),
    ] = None,
    reason: Annotated[str, typer.Option(help="The reason, which users see.")] = "paused by an operator",
) -> None:
    """Start no jobs of a type for a while. Running jobs continue; jobs in the queue wait."""
    from service.commands.operators import pause_type, read_duration, read_job_type

    name, until = read_job_type(job_type), read_duration(for_)
    exit_with(with_database(lambda database: pause_type(database, name, until=until, reason=reason)))


@app.command()
def resume(
    job_type: Annotated[str, typer.Argument(metavar="type", help="A job type, such as chatwork_messages_sync.")],
) -> None:
    """End the pause of a job type."""
    from service.commands.operators import read_job_type, resume_type

    name = read_job_type(job_type)
    exit_with(with_database(lambda database: resume_type(database, name)))


@app.command()
def demo() -> None:
    """Show the service at work: sync, summarise, cancel, retry, audit.

    It uses a temporary database and a simulated Chatwork, and ends by itself.
    """
    from service.commands.demo import run_demo

    raise typer.Exit(run_demo(load_settings()))


@audit.command()
def replay(
    job: Annotated[str, typer.Argument(help="The job's id.")],
    until: Annotated[str | None, typer.Option(help="The last event to show, as an event number or a time (RFC 3339).")] = None,
    as_json: AsJson = False,
) -> None:
    """Print a job's history: each event, and the job's state after it.

    If the history is broken, it prints the events before the break, and the fault.
    Exit status 1 if the history is broken or the job is unknown.
    """
    from service.commands.audit import read_job_id
    from service.commands.replay import print_replay, read_until

    job_id, stop = read_job_id(job), read_until(until)
    exit_with(with_database(lambda database: print_replay(database, job_id, stop, as_json=as_json)))


@audit.command()
def at(
    time: Annotated[str, typer.Argument(help="The past moment (RFC 3339), such as 2026-11-23T09:00:00Z.")],
    rows: Annotated[bool, typer.Option("--rows", help="Print each job as a line of JSON.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show all jobs as they stood at a past moment, folded from the log.

    An event with this very time counts. Without --rows it prints how many jobs
    of each type had each status.
    Exit status 1 if a history is broken, 2 if the moment is in the future.
    """
    from service.commands.past_jobs import print_jobs_at, read_time

    moment = read_time(time, "TIME")
    exit_with(with_database(lambda database: print_jobs_at(database, moment, rows=rows, as_json=as_json)))


@audit.command()
def proof(
    job: Annotated[str, typer.Argument(help="The job's id.")],
    seq: Annotated[int, typer.Argument(min=1, max=2**31 - 1, help="The number of the event within the job.")],
    as_json: AsJson = False,
) -> None:
    """Print the proof that an event is in the signed log: a C2SP tlog-proof.

    It shows the event with its data. `rireki audit verify-proof` verifies it offline.
    Exit status 1 if there is no such event, or if no checkpoint covers it yet.
    """
    from service.commands.audit import read_job_id
    from service.commands.proofs import print_proof

    job_id = read_job_id(job)
    exit_with(with_database(lambda database: print_proof(database, job_id, seq, as_json=as_json)))


Keys = Annotated[
    list[str],
    typer.Option("--key", metavar="VKEY", help="A key of the log, as `rireki audit key` prints it. May be repeated."),
]


@audit.command("verify-proof")
def check_proof(
    file: Annotated[Path, typer.Argument(help="A file with the output of `rireki audit proof`.")],
    key: Keys,
    as_json: AsJson = False,
) -> None:
    """Verify the proof of an event, without database and network.

    Exit status 0: the log holds the event. 1: the proof is false; the finding is printed.
    2: the file cannot be read as a proof.
    """
    from service.commands.proofs import print_verified_proof, read_keys

    exit_with(print_verified_proof(file, read_keys(key), as_json=as_json))


@audit.command()
def export(
    to: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write a directory that a stranger can verify. Default: standard output.")
    ] = None,
    after: Annotated[int, typer.Option(min=0, help="Export only events with a higher position than this.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Write the whole log to standard output, in order: NDJSON, one event per line.

    With --to, write a directory up to the newest signed checkpoint: the checkpoint,
    the tiles and entries of the tree (C2SP tlog-tiles), and all events. --after then
    limits only the events. An export that was stopped goes on when it is repeated,
    and an earlier export is brought up to date. `rireki audit verify-export` verifies it.
    """
    from service.commands.export import print_log, write_export

    if to is not None:
        exit_with(with_database(lambda database: write_export(database, to, after, as_json=as_json)))
    with contextlib.suppress(BrokenPipeError):
        with_database(lambda database: print_log(database, after))


@audit.command()
def witness(
    key_file: Annotated[Path, typer.Option(help="The file with the witness's private key.")],
    state: Annotated[Path, typer.Option(help="The folder in which the witness remembers what it has cosigned.")],
    log: Annotated[
        list[str] | None, typer.Option(help="The verifier key of a log, as `rireki audit key` prints it. May be repeated.")
    ] = None,
    listen: Annotated[str, typer.Option(help="The host and port to listen at. TLS is a proxy's.")] = "127.0.0.1:8080",
    init: Annotated[
        str | None, typer.Option(metavar="NAME", help="Make the key and the empty state of a new witness, and end.")
    ] = None,
) -> None:
    """Cosign the checkpoints of other logs, as long as each log only grows.

    Run it on another machine, where nobody can change the log. It needs no
    PostgreSQL and no Redis. First make its key: `rireki audit witness --init NAME
    --key-file FILE --state DIR` prints the verifier key for AUDIT_WITNESSES.
    A witness without its state would cosign another history, so keep the folder.
    """
    from service.commands.witness import make_witness, serve_witness

    if init is not None:
        exit_with(make_witness(init, key_file, state))
    serve_witness(log or [], key_file, state, listen)


@audit.command("verify-export")
def check_export(
    directory: Annotated[Path, typer.Argument(help="A directory that `rireki audit export --to` has written.")],
    key: Keys,
    after: Annotated[int, typer.Option(min=0, help="The --after of the export.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Verify an exported directory, without database and network.

    Exit status 0: no findings. 1: findings, which are printed by name.
    2: the directory is no whole export, or cannot be read.
    """
    from service.commands.export import print_verified_export
    from service.commands.proofs import read_keys

    exit_with(print_verified_export(directory, read_keys(key), after, as_json=as_json))


add_checkpoint_commands(audit)


@projections.command()
def rebuild(
    skip_broken: Annotated[
        bool, typer.Option("--skip-broken", help="Keep the rows of jobs with a broken history unchanged, and rebuild the rest.")
    ] = False,
) -> None:
    """Rebuild the jobs view from the log, then swap it in. The service may keep running.

    If any job has a broken history, the rebuild changes nothing.
    With --skip-broken it keeps the rows of such jobs and rebuilds the others.
    If several active jobs claim the same unique key, the oldest one gets it.
    """
    from service.commands.audit import rebuild_jobs

    exit_with(with_database(lambda database: rebuild_jobs(database, skip_broken=skip_broken)))


@contextlib.contextmanager
def _errors_in_one_line() -> Iterator[None]:
    """Print an error that a person can correct as one line, and exit with its status."""
    from events.database_faults import UnsuitableDatabase
    from migrations.connection import UnsuitableDatabase as CannotMigrate

    try:
        yield
    except typer.TyperException as error:
        _misused(error)
    except typer.Abort:
        fail("stopped")
    except ConfigError as error:
        misuse(str(error))
    except (UnsuitableDatabase, CannotMigrate) as error:
        misuse(f"DATABASE_URL: {error}")
    except asyncio.CancelledError:
        fail("stopped without waiting")
    except Exception as error:
        explained = _explained(error)
        if explained is None:
            print(plain_lines(scrubbed("".join(traceback.format_exception(error)).rstrip())), file=sys.stderr)
            raise SystemExit(1) from error
        status, line = explained
        end(status, line)


def _explained(error: Exception) -> tuple[int, str] | None:
    """Returns the exit status and a line with the remedy; None for a fault of this program."""
    from events.database import is_away
    from events.database_check import causes, first_line
    from events.database_faults import fault
    from service.embedded.binaries import EmbeddedError
    from service.process.serve import CannotListen

    for cause in causes(error):
        if isinstance(cause, (EmbeddedError, CannotListen)):
            return 1, str(cause)
        if line := fault(cause):
            return 2, f"DATABASE_URL: {line}"
        if isinstance(cause, Exception) and is_away(cause):
            return 1, f"DATABASE_URL: the database no longer answers ({first_line(cause)}): try again"
    return None


@contextlib.contextmanager
def _failure_is_status_2() -> Iterator[None]:
    """Exit with status 2 if a verification cannot finish. Status 1 means findings."""
    try:
        yield
    except (typer.Exit, ConfigError, asyncio.CancelledError):
        raise
    except Exception as error:
        _, line = _explained(error) or (2, f"the verification could not finish: {type(error).__name__}: {error}")
        misuse(line)


def _misused(error: typer.TyperException) -> NoReturn:
    """Prints a usage error, without an argument's control characters, which Typer would print.

    If Typer has already printed the help, the message is empty and nothing more is printed.
    """
    message = error.format_message()
    if not message:
        raise SystemExit(2)
    misuse(f"{message} (`rireki --help` lists the commands)")


add_verify_command(audit, _failure_is_status_2)


if __name__ == "__main__":
    main()
