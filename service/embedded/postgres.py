"""The embedded PostgreSQL under RIREKI_HOME, which all processes with the same home share.

Processes agree by locks and not by pid files, because the kernel releases the locks of a dead
process. A process holds `start.lock` while it starts or stops the server. A process holds
`use.lock` shared while it uses the server. So a process that gets `use.lock` exclusively is the
last user, and stops the server.
"""

import errno
import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from service.embedded.binaries import EmbeddedError, prepare_programs
from service.embedded.file_lock import held, open_lock, share, try_exclusively
from service.embedded.server import Server

__all__ = ["EmbeddedError", "EmbeddedPostgres"]


class EmbeddedPostgres:
    """One process's use of the embedded server. Not thread-safe."""

    def __init__(self, home: Path, server: Server, *, start_lock: int, use_lock: int) -> None:
        self._home = home
        self._server = server
        self._start_lock = start_lock
        self._use_lock = use_lock
        self._closed = False

    @classmethod
    def start(cls, home: Path, *, version: int = 18, _durable: bool = True) -> "EmbeddedPostgres":
        """Join the server of this home, or start it. In a new home `initdb` runs first.

        `_durable=False` is for tests: it is faster, but a power cut may lose data. Raises
        `EmbeddedError`.
        """
        home = Path(os.path.realpath(home))
        with _explaining(home):
            folder = _prepare_folder(home, version)
            start_lock = open_lock(folder / "start.lock")
            use_lock = open_lock(folder / "use.lock")
            try:
                with held(start_lock):
                    programs = prepare_programs(folder, version=version)
                    server = Server(folder, programs, version=version, durable=_durable)
                    embedded = cls(home, server, start_lock=start_lock, use_lock=use_lock)
                    embedded._join()
            except BaseException:
                os.close(use_lock)
                os.close(start_lock)
                raise
            return embedded

    @property
    def socket_directory(self) -> str:
        """The absolute path of the socket's folder, for asyncpg's `host`."""
        return self._server.socket_directory

    def url(self, database: str = "rireki") -> str:
        return f"postgresql://rireki@/{quote(database, safe='')}?host={quote(os.fsencode(self.socket_directory), safe='')}"

    def ensure_running(self) -> None:
        """Start the server again if it has died. Raises `EmbeddedError`."""
        with _explaining(self._home), held(self._start_lock):
            self._server.run()

    def close(self) -> None:
        """Ends the use of the server. The last process stops the server and waits for its end."""
        if self._closed:
            return
        self._closed = True
        with held(self._start_lock):
            self._leave()
        os.close(self._use_lock)
        os.close(self._start_lock)

    def _join(self) -> None:
        share(self._use_lock)
        try:
            self._server.run()
        except BaseException:
            self._leave()
            raise

    def _leave(self) -> None:
        if try_exclusively(self._use_lock):
            self._server.stop()
        self._server.forget()


def _prepare_folder(home: Path, version: int) -> Path:
    """Returns the server's folder under the home, and makes it if it is missing.

    Raises: `EmbeddedError` if another user made the folder.
    """
    folder = home / f"postgresql-{version}"
    if folder.exists() and (owner := folder.stat().st_uid) != os.geteuid():
        raise EmbeddedError(
            f"{folder} was made by {_user_name(owner)} and you are {_user_name(os.geteuid())}: "
            "run as that user, or set RIREKI_HOME to a folder of your own"
        )
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)
    if os.geteuid() == 0:
        # The server runs as nobody, which may enter these folders but not list them.
        for passage in (home, folder):
            passage.chmod(passage.stat().st_mode | 0o011)
    return folder


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


@contextmanager
def _explaining(home: Path) -> Iterator[None]:
    """Translate an `OSError` into an `EmbeddedError` that names the remedy."""
    try:
        yield
    except OSError as error:
        remedy = "free some space there" if error.errno == errno.ENOSPC else "make that folder writable for you"
        where = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
        raise EmbeddedError(
            f"the embedded PostgreSQL can't use {home} ({where}): {remedy}, set RIREKI_HOME to another folder, "
            "or DATABASE_URL to a server of yours"
        ) from error
