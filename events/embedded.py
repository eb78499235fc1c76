"""The embedded PostgreSQL under RIREKI_HOME, shared by every process that uses the same home.

Three `flock`s tell the truth, because the kernel forgets the dead; pid files only inform. Each stands in the server's folder:

- `start.lock`: held by whoever decides to start or stop the server, while deciding.
- `use.lock`: held shared by each process that uses the server; who can get it exclusively is the last one out.
- `server.lock`: held by the server itself, inherited by all of its processes (and by an `initdb` under way). Free means:
  nothing of it lives, and what its pid file says is stale.
"""

import errno
import fcntl
import os
import pwd
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

from events.embedded_binaries import EmbeddedError, Programs, prepare_programs

__all__ = ["EmbeddedError", "EmbeddedPostgres"]

CREATE_DATABASE = r"""
select 'create database rireki' where not exists (select from pg_database where datname = 'rireki') \gexec
"""

# For a developer's machine of two cores. The socket's folder is relative to the data folder: no path is too long for the server.
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
NOT_DURABLE = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}

# The longest path of a socket in bytes (sun_path less its closing zero).
SOCKET_PATH_LIMIT = 107 if sys.platform == "linux" else 103

# Seconds without any sign of life after which a server that runs is given up. One that says it is recovering is waited for.
PATIENCE = 60.0


class EmbeddedPostgres:
    """One process's part in the embedded server. Not for several threads at once."""

    def __init__(self, folder: Path, programs: Programs, *, version: int, durable: bool, start_lock: int) -> None:
        self._folder = folder
        self._data = folder / "data"
        self._log = folder / "server.log"
        self._programs = programs
        self._version = version
        self._durable = durable
        self._start_lock = start_lock
        self._use_lock: int | None = _open_lock(folder / "use.lock")
        self._data_descriptor: int | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._log_offset = 0
        self.socket_directory = str(self._data)

    @classmethod
    def start(cls, home: Path, *, version: int = 18, _durable: bool = True) -> "EmbeddedPostgres":
        """Join the server of this home, or start it, after `initdb` where it is new. `_durable=False` is for tests: faster, and
        not safe against a power cut.

        Raises EmbeddedError.
        """
        home = Path(os.path.realpath(home))
        with _explaining(home):
            folder = _prepare_folder(home, version)
            start_lock = _open_lock(folder / "start.lock")
            try:
                with _held(start_lock):
                    programs = prepare_programs(folder, version=version)
                    server = cls(folder, programs, version=version, durable=_durable, start_lock=start_lock)
                    server._join()
            except BaseException:
                os.close(start_lock)
                raise
            return server

    def url(self, database: str = "rireki") -> str:
        return f"postgresql://rireki@/{quote(database, safe='')}?host={quote(os.fsencode(self.socket_directory), safe='')}"

    def ensure_running(self) -> None:
        """Start the server again if it has died meanwhile. Raises EmbeddedError."""
        with _explaining(self._folder.parent), _held(self._start_lock):
            self._run()

    def close(self) -> None:
        """Leave. The last one out stops the server, and waits for its end."""
        if self._use_lock is not None:
            with _held(self._start_lock):
                self._leave()
            os.close(self._start_lock)

    def _join(self) -> None:
        assert self._use_lock is not None
        fcntl.flock(self._use_lock, fcntl.LOCK_SH)
        try:
            self._run()
        except BaseException:
            self._leave()
            raise

    def _leave(self) -> None:
        assert self._use_lock is not None
        if _try_exclusively(self._use_lock):
            self._stop()
        elif self._process is not None:
            # It stays for the others. Nobody waits for it here any more, and Popen shall not complain of that.
            self._process.returncode = 0
        os.close(self._use_lock)
        self._use_lock = None
        if self._data_descriptor is not None:
            os.close(self._data_descriptor)

    def _run(self) -> None:
        """See to it that the server runs and answers."""
        if self._process is not None and self._process.poll() is not None:
            self._process = None
        patient_until = time.monotonic() + PATIENCE
        while (complaint := self._complaint()) is not None:
            with self._nothing_lives() as server_lock:
                if server_lock is not None and self._process is None:
                    self._launch(server_lock)
                elif server_lock is not None:
                    raise EmbeddedError(self._failure("did not start", self._reason_in_log()))
            if self._pid_file()[1] in ("starting", "stopping"):
                patient_until = time.monotonic() + PATIENCE
            elif time.monotonic() > patient_until:
                raise EmbeddedError(self._failure("does not answer", complaint))
            time.sleep(0.02)

    def _complaint(self) -> str | None:
        """Why the server can't be used yet; None when it can, and the database is there."""
        if self._pid_file()[1] != "ready":
            return "it isn't ready"
        self._choose_socket_directory()
        return self._programs.query(CREATE_DATABASE, socket_directory=self.socket_directory)

    @contextmanager
    def _nothing_lives(self) -> Iterator[int | None]:
        """Hold the server's lock, if none of its processes does: the descriptor for the next server to inherit, else None."""
        server_lock = _open_lock(self._folder / "server.lock")
        try:
            yield server_lock if _try_exclusively(server_lock) else None
        finally:
            # Closed, never unlocked: unlocking would take it from the server too, which holds the same open file.
            os.close(server_lock)

    def _launch(self, server_lock: int) -> None:
        if not self._data.exists() or not any(self._data.iterdir()):
            self._initialise(server_lock)
        self._check_data()
        self._disown_stale_files()
        settings = SETTINGS if self._durable else SETTINGS | NOT_DURABLE
        arguments = [f"--{name}={value}" for name, value in settings.items()]
        log = os.open(self._log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            self._log_offset = os.fstat(log).st_size
            self._process = self._programs.start(
                "postgres", "-D", str(self._data), *arguments, cwd=self._folder, output=log, pass_fds=[server_lock]
            )
        finally:
            os.close(log)

    def _initialise(self, server_lock: int) -> None:
        """Lay the data folder down beside its place, and move it there when it is whole."""
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
                f"the embedded PostgreSQL could not be laid down in {self._folder} ({_gravest_line(output)}): "
                "set RIREKI_HOME to another folder, or DATABASE_URL to a server of yours"
            )
        fresh.rename(self._data)

    def _check_data(self) -> None:
        try:
            found = (self._data / "PG_VERSION").read_text().strip()
        except FileNotFoundError:
            raise EmbeddedError(f"{self._data} is damaged (no PG_VERSION): {self._begin_anew()}") from None
        if found != str(self._version):
            raise EmbeddedError(f"{self._data} is of PostgreSQL {found or '?'}, not {self._version}: {self._begin_anew()}")

    def _disown_stale_files(self) -> None:
        """PostgreSQL takes a pid file seriously whose process lives, even if that is another program by now; we know better."""
        for name in ("postmaster.pid", ".s.PGSQL.5432.lock"):
            (self._data / name).unlink(missing_ok=True)

    def _stop(self) -> None:
        """Fast shutdown; where that takes too long the immediate one, after which the next start recovers."""
        for stop, seconds in ((signal.SIGINT, PATIENCE), (signal.SIGQUIT, PATIENCE / 2)):
            pid = self._process.pid if self._process is not None else self._pid_file()[0]
            if pid is None or self._has_ended(0):
                return
            with suppress(ProcessLookupError):
                os.kill(pid, stop)
            if self._has_ended(seconds):
                return

    def _has_ended(self, seconds: float) -> bool:
        """Whether the server ends within this time."""
        until = time.monotonic() + seconds
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
        """The server's pid and state ("starting", "ready", "stopping") as its pid file has them."""
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
            raise EmbeddedError(f"the path {self._data} is too long for a socket: set RIREKI_HOME to a shorter one")
        self._data_descriptor = os.open(self._data, os.O_RDONLY | os.O_DIRECTORY)
        self.socket_directory = f"/proc/{os.getpid()}/fd/{self._data_descriptor}"

    def _reason_in_log(self) -> str:
        with self._log.open("rb") as log:
            log.seek(self._log_offset)
            return _gravest_line(log.read().decode(errors="replace"))

    def _failure(self, what: str, reason: str) -> str:
        return f"the embedded PostgreSQL in {self._folder} {what} ({reason}; see {self._log.name} there): {self._begin_anew()}"

    def _begin_anew(self) -> str:
        return f"move {self._data} away to begin with an empty one, or set RIREKI_HOME to another folder"


def _prepare_folder(home: Path, version: int) -> Path:
    """The server's own folder under the home. What stands there belongs to one user for ever."""
    folder = home / f"postgresql-{version}"
    _refuse_anothers(folder)
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)
    if os.geteuid() == 0:
        # The server runs as nobody: it may pass through, and list nothing.
        for passage in (home, folder):
            passage.chmod(passage.stat().st_mode | 0o011)
    return folder


def _refuse_anothers(folder: Path) -> None:
    if folder.exists() and (owner := folder.stat().st_uid) != os.geteuid():
        raise EmbeddedError(
            f"{folder} was made by {_user_name(owner)} and you are {_user_name(os.geteuid())}: "
            "run as that user, or set RIREKI_HOME to a folder of your own"
        )


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


def _gravest_line(output: str) -> str:
    """The first line that says why PostgreSQL gave up; what follows it is mostly consequence."""
    lines = output.splitlines()
    for mark in ("PANIC: ", "FATAL: ", "error: "):
        for line in lines:
            if mark in line:
                return line.partition(mark)[2].strip()
    return lines[-1].strip() if lines else "it gave no reason"


def _open_lock(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _try_exclusively(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def _held(lock: int) -> Iterator[None]:
    fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(lock, fcntl.LOCK_UN)


@contextmanager
def _explaining(home: Path) -> Iterator[None]:
    """Turn the system's refusals into one line for a person."""
    try:
        yield
    except OSError as error:
        remedy = "free some space there" if error.errno == errno.ENOSPC else "make that folder writable for you"
        where = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
        raise EmbeddedError(
            f"the embedded PostgreSQL can't use {home} ({where}): {remedy}, set RIREKI_HOME to another, "
            "or DATABASE_URL to a server of yours"
        ) from error
