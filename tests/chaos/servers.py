"""A PostgreSQL, durable as in production, that can be killed and started again."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from service.embedded.binaries import EmbeddedError
from service.embedded.postgres import EmbeddedPostgres


class Postgres:
    """Blocks while it starts and stops: call it in a thread."""

    def __init__(self, home: Path) -> None:
        self._server = EmbeddedPostgres.start(home)
        self._pid_file = home / "postgresql-18" / "data" / "postmaster.pid"

    @property
    def url(self) -> str:
        """Past every proxy: over its own socket."""
        return self._server.url()

    @property
    def socket_path(self) -> str:
        return f"{self._server.socket_directory}/.s.PGSQL.5432"

    def kill(self) -> None:
        """kill -9 of all of its processes, the postmaster first: it must not clean up after the others. It is stopped while they
        are listed, or a backend that it forks just then lives on, waiting for ever for a lock of one that was killed."""
        postmaster = int(self._pid_file.read_text().split("\n", 1)[0])
        with suppress(ProcessLookupError):
            os.kill(postmaster, signal.SIGSTOP)
        while _status(postmaster)[:1] not in ([], ["T"], ["Z"]):
            time.sleep(0.001)
        for pid in (postmaster, *_children(postmaster)):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def kill_a_backend(self, pick: float) -> bool:
        """kill -9 of one client's backend, on which PostgreSQL ends all the others and recovers. False if there is none."""
        postmaster = int(self._pid_file.read_text().split("\n", 1)[0])
        backends = [pid for pid in _children(postmaster) if b"rireki rireki" in _command(pid)]
        if not backends:
            return False
        with suppress(ProcessLookupError):
            os.kill(backends[int(pick * len(backends))], signal.SIGKILL)
        return True

    def start(self) -> None:
        """Returns once it answers, after its recovery, which on a busy machine may take longer than a person would wait."""
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
    """The state, the parent and so on; empty where there is no such process."""
    with suppress(OSError):
        # They come after the name, which is in parentheses and may hold anything.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return []


def _command(pid: int) -> bytes:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""
