"""One embedded server in its folder: creates its data, starts it, and stops it.

The caller holds the folder's `start.lock` during each call. Every process of the server, and a
running `initdb`, inherits `server.lock`. If that lock is free, no process of the server lives, and
its pid file is stale.
"""

import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from service.embedded.binaries import EmbeddedError, Programs
from service.embedded.file_lock import open_lock, try_exclusively

CREATE_DATABASE = r"""
select 'create database rireki' where not exists (select from pg_database where datname = 'rireki') \gexec
"""

# These settings are for a developer's machine with two cores. The socket's folder is given relative
# to the data folder, because the path of a socket must be short.
SETTINGS = {
    "listen_addresses": "",
    "unix_socket_directories": ".",
    "max_connections": "200",
    "shared_buffers": "256MB",
    "random_page_cost": "1.1",
    "jit": "off",
    "log_checkpoints": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
}
# With these settings, committed data survive a killed server, but not a power cut.
NOT_DURABLE = {"fsync": "off", "full_page_writes": "off"}

# The longest path of a socket in bytes (sun_path less its closing zero).
SOCKET_PATH_LIMIT = 107 if sys.platform == "linux" else 103

# Seconds without an answer after which the wait for a running server ends with an error. The time
# does not run while the server reports that it is starting or stopping.
PATIENCE = 60.0


class Server:
    """The server of one folder. `durable=False` is faster, but a power cut may lose data."""

    def __init__(self, folder: Path, programs: Programs, *, version: int, durable: bool) -> None:
        self.socket_directory = str(folder / "data")
        self._folder = folder
        self._data = folder / "data"
        self._log = folder / "server.log"
        self._log_offset = 0
        self._programs = programs
        self._version = version
        self._durable = durable
        self._process: subprocess.Popen[bytes] | None = None
        self._data_descriptor: int | None = None

    def run(self) -> None:
        """Start the server if it does not run, and wait until it answers. Raises `EmbeddedError`."""
        if self._process is not None and self._process.poll() is not None:
            self._process = None
        patient_until = time.monotonic() + PATIENCE
        while (reason := self._reason_not_usable()) is not None:
            with self._nothing_lives() as server_lock:
                if server_lock is not None:
                    self._launch(server_lock)
            if self._pid_file()[1] in ("starting", "stopping"):
                patient_until = time.monotonic() + PATIENCE
            elif time.monotonic() > patient_until:
                raise EmbeddedError(self._failure("does not answer", reason))
            time.sleep(0.02)

    def stop(self) -> None:
        """Stops the server by a fast shutdown, or by an immediate one if that takes too long.

        After an immediate shutdown the next start recovers the data.
        """
        for how, seconds in ((signal.SIGINT, PATIENCE), (signal.SIGQUIT, PATIENCE / 2)):
            pid = self._process.pid if self._process is not None else self._pid_file()[0]
            if pid is None or self._has_ended(within=0):
                return
            with suppress(ProcessLookupError):
                os.kill(pid, how)
            if self._has_ended(within=seconds):
                return

    def forget(self) -> None:
        """Closes what this process holds of the server. The server may go on running."""
        if self._process is not None:
            # The server may keep running for others. A return code keeps Popen from warning that
            # nobody waited for it.
            self._process.returncode = 0
        if self._data_descriptor is not None:
            os.close(self._data_descriptor)

    def _reason_not_usable(self) -> str | None:
        """Returns why the server cannot be used yet; None if it can and the database exists."""
        if self._pid_file()[1] != "ready":
            return "it isn't ready"
        self._choose_socket_directory()
        return self._programs.query(CREATE_DATABASE, socket_directory=self.socket_directory)

    def _launch(self, server_lock: int) -> None:
        if self._process is not None:
            raise EmbeddedError(self._failure("did not start", self._reason_in_log()))
        if not self._data.exists() or not any(self._data.iterdir()):
            self._create_data(server_lock)
        self._check_version()
        # PostgreSQL respects a pid file whose pid is alive, even if the pid belongs to another
        # program by now. The free lock proves that no server lives.
        for stale in ("postmaster.pid", ".s.PGSQL.5432.lock"):
            (self._data / stale).unlink(missing_ok=True)
        settings = SETTINGS if self._durable else SETTINGS | NOT_DURABLE
        arguments = ["-D", str(self._data), *(f"--{name}={value}" for name, value in settings.items())]
        log = os.open(self._log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            self._log_offset = os.fstat(log).st_size
            self._process = self._programs.start("postgres", *arguments, cwd=self._folder, output=log, pass_fds=[server_lock])
        finally:
            os.close(log)

    def _create_data(self, server_lock: int) -> None:
        """Create the data folder under another name, and rename it when it is complete."""
        fresh = self._folder / "data.new"
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700)
        if self._programs.uid != os.geteuid():
            os.chown(fresh, self._programs.uid, self._programs.gid)
        options = ["--no-locale", "-E", "UTF8", "-U", "rireki", "-A", "trust", "--no-instructions"]
        options += [] if self._durable else ["--no-sync"]
        status, output = self._programs.run("initdb", "-D", str(fresh), *options, cwd=self._folder, pass_fds=[server_lock])
        if status != 0:
            shutil.rmtree(fresh, ignore_errors=True)
            raise EmbeddedError(
                f"the embedded PostgreSQL could not be created in {self._folder} ({_gravest_line(output)}): "
                "set RIREKI_HOME to another folder, or DATABASE_URL to a server of yours"
            )
        fresh.rename(self._data)

    def _check_version(self) -> None:
        try:
            found = (self._data / "PG_VERSION").read_text(errors="replace").strip()
        except FileNotFoundError:
            raise EmbeddedError(f"{self._data} is damaged (no PG_VERSION): {self._begin_anew()}") from None
        if found != str(self._version):
            raise EmbeddedError(f"{self._data} is from PostgreSQL {found or '?'}, not {self._version}: {self._begin_anew()}")

    @contextmanager
    def _nothing_lives(self) -> Iterator[int | None]:
        """Takes the server's lock if no process of the server lives.

        Gives the lock's descriptor, which the next server inherits; None if a process lives.
        """
        server_lock = open_lock(self._folder / "server.lock")
        try:
            yield server_lock if try_exclusively(server_lock) else None
        finally:
            # Close it without unlocking, because the server shares the open file and would lose the
            # lock too.
            os.close(server_lock)

    def _has_ended(self, *, within: float) -> bool:
        """Whether the server has ended, after a wait of at most `within` seconds."""
        until = time.monotonic() + within
        while True:
            if self._process is not None:
                if self._process.poll() is not None:
                    return True
            else:
                with suppress(FileNotFoundError), self._nothing_lives() as server_lock:
                    if server_lock is not None:
                        return True
            if time.monotonic() >= until:
                return False
            time.sleep(0.01)

    def _pid_file(self) -> tuple[int | None, str]:
        """Returns the pid and the state in the server's pid file; (None, "") without a file.

        The state is "starting", "ready" or "stopping".
        """
        try:
            lines = (self._data / "postmaster.pid").read_text(errors="replace").splitlines()
        except FileNotFoundError:
            return None, ""
        pid = int(lines[0]) if lines and lines[0].isdecimal() else None
        return pid, lines[7].strip() if len(lines) > 7 else ""

    def _choose_socket_directory(self) -> None:
        if len(os.fsencode(self._data / ".s.PGSQL.5432")) <= SOCKET_PATH_LIMIT or self._data_descriptor is not None:
            return
        if not Path("/proc/self/fd").is_dir():
            raise EmbeddedError(f"the path {self._data} is too long for a socket: set RIREKI_HOME to a shorter path")
        self._data_descriptor = os.open(self._data, os.O_RDONLY | os.O_DIRECTORY)
        self.socket_directory = f"/proc/{os.getpid()}/fd/{self._data_descriptor}"

    def _reason_in_log(self) -> str:
        with self._log.open("rb") as log:
            log.seek(self._log_offset)
            return _gravest_line(log.read().decode(errors="replace"))

    def _failure(self, what: str, reason: str) -> str:
        return f"the embedded PostgreSQL in {self._folder} {what} ({reason}; see {self._log.name} there): {self._begin_anew()}"

    def _begin_anew(self) -> str:
        return f"move {self._data} away to start with an empty database, or set RIREKI_HOME to another folder"


def _gravest_line(output: str) -> str:
    """Returns the first line that says why PostgreSQL stopped. Later lines are consequences."""
    if os.strerror(errno.ENOSPC) in output:
        return os.strerror(errno.ENOSPC)
    lines = output.splitlines()
    for mark in ("PANIC: ", "FATAL: ", "error: "):
        for line in lines:
            if mark in line:
                return line.partition(mark)[2].strip()
    return lines[-1].strip() if lines else "it gave no reason"
