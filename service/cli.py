"""The command `rireki`: starting the processes, adding people, auditing.

Answers go to standard output, logs and complaints to standard error. Exit status: 0 done; 1 it failed, or an audit found a
difference; 2 the command or the environment is wrong.
"""

import asyncio
import contextlib
import sys
import traceback
from collections.abc import Callable, Coroutine, Iterator
from importlib import metadata
from io import TextIOWrapper
from typing import Annotated, Any, NoReturn, TypeVar

import typer

from events.secret_redaction import scrubbed
from service.commands.plain_text import plain_lines, visible
from service.config import ConfigError, Settings, load_settings

T = TypeVar("T")

LEFT_ALONE_AFTER = 2.0  # seconds

app = typer.Typer(
    name="rireki",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
users = typer.Typer(help="The people who may sign in.", no_args_is_help=True)
audit = typer.Typer(help="Reading and proving the history.", no_args_is_help=True)
projections = typer.Typer(help="The views that are folded from the log.", no_args_is_help=True)
app.add_typer(users, name="users")
app.add_typer(audit, name="audit")
app.add_typer(projections, name="projections")

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"rireki {metadata.version('rireki')}")
        raise typer.Exit


Version = Annotated[
    bool,
    typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version of what is installed, and end."),
]


@app.callback()
def rireki(version: Version = False) -> None:
    """Rireki (履歴): jobs whose every change is an event that stays."""


def main() -> None:
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            # A locale that is named and not installed leaves Python with ASCII, and our words are not all ASCII.
            stream.reconfigure(encoding="utf-8", errors="surrogateescape")
    for argument in sys.argv:
        try:
            argument.encode()
        except UnicodeEncodeError:
            _wrong(f"an argument is not UTF-8: {argument!r}")
    with _complaining():
        raise SystemExit(app(standalone_mode=False))


@app.command()
def serve() -> None:
    """Run the API and the page; a worker too, unless JOB_WORKER_ENABLED says no.

    Without DATABASE_URL a PostgreSQL of its own runs under RIREKI_HOME; without REDIS_URL jobs run inside this process. Ctrl-C
    ends it and hands running jobs back.
    """
    from service.http.logs import configure_logs
    from service.process.assembly import database_url, prepare_schema
    from service.process.serve import listen
    from service.process.serve import serve as run

    settings = load_settings()
    configure_logs()
    with contextlib.closing(listen(settings)) as listening, database_url(settings) as url:
        prepare_schema(settings, url)
        _run(run(settings, url, listening))


@app.command()
def worker() -> None:
    """Run a worker alone. It needs REDIS_URL, which tells it what to do next.

    SIGTERM lets running jobs end (WORKER_SHUTDOWN_GRACE_SECONDS, default 25) and hands the rest back; Ctrl-C hands back at once.
    """
    from service.http.logs import configure_logs
    from service.process.assembly import database_url, prepare_schema
    from service.process.serve import work

    settings = load_settings()
    if settings.redis_url is None:
        raise ConfigError(
            "REDIS_URL is not set: a worker alone hears of jobs over Redis; without it `rireki serve` works itself"
        )
    configure_logs()
    with database_url(settings) as url:
        prepare_schema(settings, url)
        _run(work(settings, url))


@app.command()
def migrate(
    app_role: Annotated[
        str | None,
        typer.Option(
            help="An existing PostgreSQL role: give it what the service needs, and of the log only select and insert."
        ),
    ] = None,
) -> None:
    """Bring the database to the newest schema. Safe to repeat, and safe beside a running service."""
    from events.database import connect_unsettled
    from migrations.migrate import UnknownRole, grant, migrate
    from service.process.assembly import migrate_database_url

    with migrate_database_url(load_settings()) as url:
        migrate(url, connect_unsettled)
        try:
            if app_role is not None:
                grant(url, app_role, connect_unsettled)
        except UnknownRole as refusal:
            _wrong(f"the schema is up to date, but --app-role was given nothing: {refusal}")
    print("the schema is up to date")


@app.command()
def workers(as_json: AsJson = False) -> None:
    """List the workers, what they run and since when. Exit status 1 where none is alive."""
    from service.commands.operators import print_workers

    _exit(_with_database(lambda database: print_workers(database, as_json=as_json)))


@app.command()
def pause(
    type: Annotated[str, typer.Argument(help="A job type, such as chatwork_messages_sync.")],
    for_: Annotated[
        str | None, typer.Option("--for", help="How long: 90s, 10m, 2h, 1d. Default: until `rireki resume`.")
    ] = None,
    reason: Annotated[str, typer.Option(help="Why; people see it.")] = "paused by an operator",
) -> None:
    """Start nothing of a job type for a while. What runs goes on; what is queued waits."""
    from service.commands.operators import pause_type, read_duration, read_job_type

    name, until = read_job_type(type), read_duration(for_)
    _exit(_with_database(lambda database: pause_type(database, name, until=until, reason=reason)))


@app.command()
def resume(type: Annotated[str, typer.Argument(help="A job type that is paused.")]) -> None:
    """End the pause of a job type."""
    from service.commands.operators import read_job_type, resume_type

    name = read_job_type(type)
    _exit(_with_database(lambda database: resume_type(database, name)))


@app.command()
def demo() -> None:
    """Show the main job from end to end: sync, cancel, retry, summarise, audit. Uses a database of its own and ends by itself."""
    from service.commands.demo import run_demo

    raise typer.Exit(run_demo(load_settings()))


@users.command("add")
def add_user(
    email: str,
    role: Annotated[str, typer.Option(help="admin or employee")],
    password_stdin: Annotated[bool, typer.Option("--password-stdin", help="Read the password from standard input.")] = False,
    name: Annotated[str | None, typer.Option(help="How the person is called. Default: the email's first part.")] = None,
) -> None:
    """Add a person who may sign in."""
    from service.accounts.users import CannotAdd
    from service.accounts.users import add_user as add

    if not password_stdin:
        _wrong("give --password-stdin and the password on standard input: on a command line others could read it")
    try:
        password = sys.stdin.buffer.readline().decode().rstrip("\r\n")
    except UnicodeDecodeError:
        _wrong("the password on standard input is not UTF-8")

    async def run(core_database: Any) -> str:
        return (await add(core_database, email, role, password, name)).id

    try:
        print(_with_database(run))
    except CannotAdd as refusal:
        _wrong(str(refusal))


@audit.command()
def replay(
    job: str,
    until: Annotated[str | None, typer.Option(help="Stop after this event number, or at this time (RFC 3339).")] = None,
    as_json: AsJson = False,
) -> None:
    """Print a job's history: each event, and the state of the job after it.

    Of a broken history it prints all up to the break, and the break. Exit status 1 for that, and for an unknown job.
    """
    from service.commands.audit import print_replay, read_job_id, read_until

    job_id, stop = read_job_id(job), read_until(until)
    _exit(_with_database(lambda database: print_replay(database, job_id, stop, as_json=as_json)))


@audit.command()
def verify(
    job: Annotated[str | None, typer.Option(help="Only this job.")] = None,
    as_json: AsJson = False,
) -> None:
    """Fold every event again, compare with what people are shown, check the log, its order and its guard.

    Reads only. Exit status 0: nothing was found; 1: something was, each under its name; 2: it could not be verified.
    """
    from service.commands.audit import print_verification, read_job_id

    job_id = None if job is None else read_job_id(job)
    with _unverified():
        _exit(_with_database(lambda database: print_verification(database, job_id, as_json=as_json)))


@audit.command()
def export(
    after: Annotated[int, typer.Option(min=0, help="Only events behind this position.")] = 0,
) -> None:
    """Write the whole log in order as NDJSON, an event a line."""
    from service.commands.audit import print_log

    with contextlib.suppress(BrokenPipeError):
        _with_database(lambda database: print_log(database, after))


@projections.command()
def rebuild(
    skip_broken: Annotated[
        bool, typer.Option("--skip-broken", help="Leave the rows of jobs whose history is broken as they are, and go on.")
    ] = False,
) -> None:
    """Build the jobs view anew from the log, beside the live one, and swap them. The service may go on running.

    Where the history of a job is broken, nothing is swapped, unless --skip-broken says so. Of active jobs that may not be active
    together, since the rule of their type has changed, the oldest has their unique key.
    """
    from service.commands.audit import rebuild_jobs

    _exit(_with_database(lambda database: rebuild_jobs(database, skip_broken=skip_broken)))


def _with_database(command: Callable[[Any], Coroutine[Any, Any, T]]) -> T:
    from events.database import Database
    from service.process.assembly import database_url, prepare_schema

    async def run(url: str) -> T:
        database = Database(url, pool_size=2)
        await database.connect()
        try:
            return await command(database)
        finally:
            await database.disconnect()

    settings: Settings = load_settings()
    with database_url(settings) as url:
        prepare_schema(settings, url)
        return _run(run(url))


def _run(work: Coroutine[Any, Any, T]) -> T:
    import uvloop

    runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
    try:
        return runner.run(work)
    finally:
        # Closing waits for every task that there still is; one that swallows its cancellation goes with the process.
        if runner.run(_all_others_end()):
            runner.close()


async def _all_others_end() -> bool:
    """Whether all tasks that are left hear that they are cancelled."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    return not others or not (await asyncio.wait(others, timeout=LEFT_ALONE_AFTER))[1]


@contextlib.contextmanager
def _complaining() -> Iterator[None]:
    """What a person can mend is one clear line, without a trace."""
    from events.database_faults import UnsuitableDatabase
    from migrations.connection import UnsuitableDatabase as CannotMigrate

    try:
        yield
    except typer.TyperException as error:
        _misused(error)
    except typer.Abort:
        _fail("stopped")
    except ConfigError as error:
        _wrong(str(error))
    except (UnsuitableDatabase, CannotMigrate) as error:
        _wrong(f"DATABASE_URL: {error}")
    except asyncio.CancelledError:
        _fail("stopped without waiting")
    except Exception as error:
        complaint = _complaint(error)
        if complaint is None:
            print(plain_lines(scrubbed("".join(traceback.format_exception(error)).rstrip())), file=sys.stderr)
            raise SystemExit(1) from error
        status, line = complaint
        _end(status, line)


def _complaint(error: Exception) -> tuple[int, str] | None:
    """The exit status, and what a person can do about it; None for a fault of ours."""
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
            return 1, f"DATABASE_URL: the database does not answer any more ({first_line(cause)}): try again"
    return None


@contextlib.contextmanager
def _unverified() -> Iterator[None]:
    """Whatever keeps an audit from its end is status 2: 1 says that it found something."""
    try:
        yield
    except (typer.Exit, ConfigError, asyncio.CancelledError):
        raise
    except Exception as error:
        _, line = _complaint(error) or (2, f"could not verify: {type(error).__name__}: {error}")
        _wrong(line)


def _misused(error: typer.TyperException) -> NoReturn:
    """Typer would print the arguments as they are, whatever they hold. Its message is empty where it has printed the help."""
    message = error.format_message()
    if not message:
        raise SystemExit(2)
    _wrong(f"{message} (`rireki --help` lists the commands)")


def _exit(status: int) -> None:
    raise typer.Exit(status)


def _fail(message: str) -> NoReturn:
    _end(1, message)


def _wrong(message: str) -> NoReturn:
    _end(2, message)


def _end(status: int, message: str) -> NoReturn:
    print(f"rireki: {visible(scrubbed(message))}", file=sys.stderr)
    raise SystemExit(status)


if __name__ == "__main__":
    main()
