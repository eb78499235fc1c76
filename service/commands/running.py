"""Runs the work of a command, and ends the process with an exit status.

The work gets an event loop and a database.
"""

import asyncio
import sys
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn, TypeVar

import typer

from events.secret_redaction import scrubbed
from service.commands.plain_text import visible
from service.config import Settings, load_settings

T = TypeVar("T")

CANCEL_WITHIN = 2.0  # seconds that a canceled task has to end, before the process ends without it


def with_database(command: Callable[[Any], Coroutine[Any, Any, T]]) -> T:
    """Runs `command` with the service's database, after the schema was migrated or checked."""
    return with_settings(lambda database, _: command(database))


def with_settings(command: Callable[[Any, Settings], Coroutine[Any, Any, T]]) -> T:
    """Runs `command` with the service's database and settings, as `with_database` does."""
    from events.database import Database
    from service.process.assembly import database_url, prepare_schema

    async def run(url: str) -> T:
        database = Database(url, pool_size=2)
        await database.connect()
        try:
            return await command(database, settings)
        finally:
            await database.disconnect()

    settings: Settings = load_settings()
    with database_url(settings) as url:
        prepare_schema(settings, url)
        return run_work(run(url))


def run_work(work: Coroutine[Any, Any, T]) -> T:
    """Runs `work` on a new event loop, and ends all other tasks after it."""
    import uvloop

    runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
    try:
        return runner.run(work)
    finally:
        # `close` waits for all remaining tasks. If a task ignores its cancellation, `close` is
        # skipped, because the process ends anyway.
        if runner.run(_all_others_end()):
            runner.close()


async def _all_others_end() -> bool:
    """Cancels all other tasks. Returns whether all of them ended within `CANCEL_WITHIN`."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    return not others or not (await asyncio.wait(others, timeout=CANCEL_WITHIN))[1]


def exit_with(status: int) -> NoReturn:
    raise typer.Exit(status)


def fail(message: str) -> NoReturn:
    """Prints why the work failed, and exits with status 1."""
    end(1, message)


def misuse(message: str) -> NoReturn:
    """Prints what is wrong with the command line or the environment, and exits with status 2."""
    end(2, message)


def end(status: int, message: str) -> NoReturn:
    """Prints a line to standard error, and exits with this status."""
    print(f"rireki: {visible(scrubbed(message))}", file=sys.stderr)
    raise SystemExit(status)
