"""Runs Rireki's commands, each in a separate process, as a shell would start them.

The processes are forked from one process that has already imported the code. Otherwise every test would spend most of its time
waiting for the imports.
"""

import asyncio
import multiprocessing
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(
    [
        "tests.browser.commands",
        "service.cli",
        "service.http.logs",
        "service.process.assembly",
        "service.process.serve",
        "migrations.migrate",
    ]
)

TO_START = 90  # seconds in which a command must print its address

Main = Callable[[], None]


def rireki() -> None:
    from service.cli import main

    main()


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
    for stream, path in ((sys.stdout, out), (sys.stderr, log)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), stream.fileno())
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for name in ("DATABASE_URL", "REDIS_URL"):
        os.environ.pop(name, None)
    os.environ.update(variables)
    sys.argv = ["rireki", *arguments]
    main()
