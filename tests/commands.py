"""Runs Rireki's commands, each in a separate process, as a shell would start them.

The processes are forked from one process that has already imported the code. Otherwise every test would spend most of its time
waiting for the imports.
"""

import asyncio
import multiprocessing
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from multiprocessing import reduction
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(
    [
        "tests.commands",
        "service.cli",
        "service.http.logs",
        "service.process.assembly",
        "service.process.serve",
        "migrations.migrate",
    ]
)

TO_START = 90  # seconds in which a command must print its address
TO_END = 90  # seconds in which a command must end

Main = Callable[[], None]


def rireki() -> None:
    from service.cli import main

    main()


async def run_command(*arguments: str, environment: Mapping[str, str], given: bytes = b"") -> tuple[int, str, str]:
    """Runs a command to its end, with `given` as its standard input.

    Returns its exit status, standard output and standard error. A negative status is the number of
    the signal that ended it.
    """
    with TemporaryFile() as standard_input, TemporaryFile() as out, TemporaryFile() as errors:
        standard_input.write(given)
        standard_input.seek(0)
        files = tuple(reduction.DupFd(file.fileno()) for file in (standard_input, out, errors))
        process = _FORKS.Process(target=_run_with, args=(rireki, arguments, dict(environment), files), daemon=True)
        await asyncio.to_thread(process.start)
        try:
            await asyncio.to_thread(process.join, TO_END)
        finally:
            process.kill()
        assert process.exitcode is not None, f"{arguments} has not ended in {TO_END} s"
        out.seek(0)
        errors.seek(0)
        return process.exitcode, out.read().decode(), errors.read().decode()


class Command:
    """A running `rireki` command. Its output goes to files in the folder `home`."""

    def __init__(self, home: Path, arguments: list[str], variables: dict[str, str], main: Main = rireki) -> None:
        self._out = home / f"{arguments[0]}.out"
        self._out.write_bytes(b"")
        log = home / f"{arguments[0]}.log"
        self._process = _FORKS.Process(target=_run, args=(main, arguments, variables, self._out, log), daemon=True)

    async def start(self) -> None:
        await asyncio.to_thread(self._process.start)

    async def address(self) -> str:
        """Waits until the API answers. Returns its address."""
        async with asyncio.timeout(TO_START):
            while not (line := self._out.read_bytes().decode()).endswith("\n"):
                assert self._process.is_alive(), f"it has ended; see {self._out.with_suffix('.log')}"
                await asyncio.sleep(0.02)
        return line.splitlines()[0].split()[-1]

    async def kill(self) -> None:
        """Kills the process, as `kill -9` does, and waits for its end."""
        self._process.kill()
        await asyncio.to_thread(self._process.join)


@asynccontextmanager
async def running(*arguments: str, home: Path, **variables: str) -> AsyncIterator[Command]:
    command = Command(home, list(arguments), {"APP_ENV": "test", "RIREKI_HOME": str(home), "PORT": "0"} | variables)
    await command.start()
    try:
        yield command
    finally:
        await command.kill()


def _run(main: Main, arguments: list[str], variables: dict[str, str], out: Path, log: Path) -> None:
    for stream, path in ((1, out), (2, log)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), stream)
    for name in ("DATABASE_URL", "REDIS_URL"):
        os.environ.pop(name, None)
    _call(main, arguments, os.environ | variables)


def _run_with(main: Main, arguments: Sequence[str], environment: dict[str, str], files: Sequence[Any]) -> None:
    for stream, file in enumerate(files):
        os.dup2(file.detach(), stream)
    sys.stdin = os.fdopen(0, closefd=False)  # multiprocessing has replaced it by /dev/null
    _call(main, arguments, environment)


def _call(main: Main, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["rireki", *arguments]
    main()
