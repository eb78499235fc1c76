"""A PostgreSQL server that keeps commits as in production and can be killed and restarted."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from service.embedded.binaries import EmbeddedError
from service.embedded.postgres import EmbeddedPostgres


class Postgres:
    """A PostgreSQL server. Its methods block, so call them in a thread."""

    def __init__(self, home: Path) -> None:
        self._server = EmbeddedPostgres.start(home)
        self._pid_file = home / "postgresql-18" / "data" / "postmaster.pid"

    @property
    def url(self) -> str:
        """The URL of the server's own socket, not that of a proxy."""
        return self._server.url()

    @property
    def socket_path(self) -> str:
        return f"{self._server.socket_directory}/.s.PGSQL.5432"

    def kill(self) -> None:
        """Kills all processes of the server with SIGKILL.

        The main process (postmaster) is killed first, so that it cannot clean up after the others.
        It is stopped while the others are listed; otherwise it could fork a backend that is not on
        the list and that would wait for ever for a lock of a killed process.
        """
        postmaster = int(self._pid_file.read_text().split("\n", 1)[0])
        with suppress(ProcessLookupError):
            os.kill(postmaster, signal.SIGSTOP)
        while _status(postmaster)[:1] not in ([], ["T"], ["Z"]):
            time.sleep(0.001)
        for pid in (postmaster, *_children(postmaster)):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def kill_a_backend(self, pick: float) -> bool:
        """Kills one client's backend with SIGKILL. Returns False if there is none.

        PostgreSQL then ends all other backends and recovers.
        """
        postmaster = int(self._pid_file.read_text().split("\n", 1)[0])
        backends = [pid for pid in _children(postmaster) if b"rireki rireki" in _command(pid)]
        if not backends:
            return False
        with suppress(ProcessLookupError):
            os.kill(backends[int(pick * len(backends))], signal.SIGKILL)
        return True

    def start(self) -> None:
        """Starts the server. Returns when it answers.

        Before it answers, PostgreSQL recovers from the kill. This may take minutes on a busy
        machine.
        """
        for patience in reversed(range(10)):
            try:
                self._server.ensure_running()
                return
            except EmbeddedError:
                if not patience:
                    raise

    def close(self) -> None:
        self._server.close()


def _children(parent: int) -> Iterator[int]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and _status(int(entry.name))[1:2] == [str(parent)]:
            yield int(entry.name)


def _status(pid: int) -> list[str]:
    """Returns the fields of /proc/<pid>/stat after the process's name (state, parent, ...).

    The list is empty if there is no such process.
    """
    with suppress(OSError):
        # The name is in parentheses and may hold any character, so the other fields begin after the last parenthesis.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return []


def _command(pid: int) -> bytes:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""
