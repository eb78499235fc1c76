"""PostgreSQL clusters with an archive of their WAL, which tests back up, restore and promote.

Each cluster is a folder below one home. Its servers come from the wheel, like the embedded one.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from service.embedded.binaries import Programs, prepare_programs

STARTS_WITHIN = 60.0  # seconds
DATABASE = "rireki"

SETTINGS = """
listen_addresses = ''
unix_socket_directories = '.'
fsync = off
max_connections = 40
shared_buffers = 32MB
jit = off
wal_level = replica
archive_mode = on
archive_command = 'cp %p {archive}/%f'
"""
RESTORED = """
restore_command = 'cp {archive}/%f %p'
recovery_target_name = '{point}'
recovery_target_action = 'promote'
archive_mode = off
"""


class Cluster:
    """One cluster. Its folder must have a short path, because it holds the socket."""

    def __init__(self, home: Path, name: str, programs: Programs) -> None:
        self.data = home / name
        self._home = home
        self._programs = programs
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def archive(self) -> Path:
        return self._home / "archive"

    @property
    def url(self) -> str:
        return f"postgresql://rireki@/{DATABASE}?host={quote(str(self.data), safe='')}"

    def create(self) -> None:
        """Makes the data, starts the server and makes the database."""
        self._run("initdb", "-D", str(self.data), "--no-locale", "-E", "UTF8", "-U", "rireki", "-A", "trust", "--no-sync")
        self._set(SETTINGS.format(archive=self.archive))
        self.start()
        fault = self._programs.query(f"create database {DATABASE}", socket_directory=str(self.data))
        assert fault is None, fault

    def start(self) -> None:
        """Starts the server, and returns once it takes queries."""
        log = os.open(self._home / f"{self.data.name}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            self._process = self._programs.start("postgres", "-D", str(self.data), cwd=self._home, output=log)
        finally:
            os.close(log)
        until = time.monotonic() + STARTS_WITHIN
        while (fault := self._programs.query("select 1", socket_directory=str(self.data))) is not None:
            assert self._process.poll() is None, f"{self.data.name} has ended: {fault}"
            assert time.monotonic() < until, fault
            time.sleep(0.05)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(STARTS_WITHIN)
            self._process = None

    def back_up(self, name: str) -> "Cluster":
        """Copies the running cluster into another folder, as pg_basebackup does. Its server does not run yet."""
        copy = Cluster(self._home, name, self._programs)
        self._run(
            "pg_basebackup",
            "-h",
            str(self.data),
            "-U",
            "rireki",
            "-D",
            str(copy.data),
            "-c",
            "fast",
            "-X",
            "stream",
            "--no-sync",
        )
        for socket in copy.data.glob(".s.PGSQL.5432*"):
            socket.unlink()  # the data folder holds the socket, so the copy has the lock file of the socket too
        return copy

    def restore_to(self, point: str) -> None:
        """Recovers this copy from the archive up to a named restore point, and opens it for writing."""
        self._set(RESTORED.format(archive=self.archive, point=point))
        (self.data / "recovery.signal").touch()
        self.start()

    def follow(self, primary: "Cluster") -> None:
        """Runs this copy as a replica of the primary."""
        self._set(f"archive_mode = off\nprimary_conninfo = 'host={primary.data} user=rireki'\n")
        (self.data / "standby.signal").touch()
        self.start()

    def promote(self) -> None:
        fault = self._programs.query("select pg_promote(true, 60)", socket_directory=str(self.data))
        assert fault is None, fault

    def _set(self, settings: str) -> None:
        with (self.data / "postgresql.conf").open("a") as file:
            file.write(settings)

    def _run(self, program: str, *arguments: str) -> None:
        status, output = self._programs.run(program, *arguments, cwd=self._home)
        assert status == 0, output


@contextlib.contextmanager
def primary_cluster() -> Iterator[Cluster]:
    """Runs a new cluster. All clusters that are made from it end with the block."""
    home = Path(tempfile.mkdtemp(prefix="rireki-wal-"))
    programs = prepare_programs(home, version=18)
    work = home / "clusters"
    for folder in (work, work / "archive"):
        folder.mkdir()
        os.chown(folder, programs.uid, programs.gid)
    home.chmod(0o711)
    primary = Cluster(work, "primary", programs)
    primary.create()
    try:
        yield primary
    finally:
        primary.stop(signal.SIGQUIT)
        shutil.rmtree(home, ignore_errors=True)
