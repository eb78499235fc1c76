"""Starts PgBouncer (a connection pooler) in front of a test's PostgreSQL.

The program comes from this machine, or from Debian's package, which is installed if the tests run
as root.
"""

import asyncio
import contextlib
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from events.database_url import read_database_url

CONFIG = """
[databases]
* = host=127.0.0.1 port={server} user={user}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = {mode}
server_reset_query = DISCARD ALL
default_pool_size = {size}
max_client_conn = 200
"""
WITHIN = 20  # seconds that a start may take
TO_INSTALL = 300  # seconds that an installation may take


def find_pgbouncer() -> str:
    """Returns the path of PgBouncer. Installs it if there is none and that is possible.

    If there is none, skips the test, or fails it if PGBOUNCER_TESTS=required.
    """
    found = _on_this_machine()
    if found is None and sys.platform == "linux" and os.geteuid() == 0 and shutil.which("apt-get"):
        for command in (["update"], ["install", "-y", "--no-install-recommends", "pgbouncer"]):
            environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
            with contextlib.suppress(OSError, subprocess.TimeoutExpired):
                subprocess.run(["apt-get", "-qq", *command], env=environment, capture_output=True, timeout=TO_INSTALL)
        found = _on_this_machine()
    if found is not None:
        return found
    reason = "pgbouncer is not on this machine, and apt-get could not install it"
    if os.environ.get("PGBOUNCER_TESTS") == "required":
        pytest.fail(reason)
    pytest.skip(reason)


def _on_this_machine() -> str | None:
    return shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


@contextlib.asynccontextmanager
async def pgbouncer_before(url: str, *, mode: str, size: int = 20) -> AsyncIterator[str]:
    """Runs a PgBouncer with this pool mode and `size` connections. Yields its address."""
    program, address = find_pgbouncer(), read_database_url(url).arguments
    host, number = (address["host"] or ["127.0.0.1"])[0], (address["port"] or [5432])[0]

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # PgBouncer may run as a user that cannot read the folder of the server's socket, so it
        # connects over TCP through this process.
        opening = asyncio.open_unix_connection(f"{host}/.s.PGSQL.{number}") if host.startswith("/") else None
        there = await (opening or asyncio.open_connection(host, number))
        await asyncio.gather(_pour(reader, there[1]), _pour(there[0], writer))

    folder = Path(tempfile.mkdtemp(prefix="rireki-pgbouncer-"))
    try:
        async with await asyncio.start_server(pass_on, "127.0.0.1", 0) as server, await _reserved() as probe:
            port = probe.sockets[0].getsockname()[1]
            probe.close()
            user, password = address["user"], address["password"]
            login = user if password is None else f"{user} password='{password}'"
            listening = server.sockets[0].getsockname()[1]
            text = CONFIG.format(server=listening, user=login, port=port, mode=mode, size=size)
            process = _start(program, folder, text)
            try:
                await _answers(process, port)
                yield f"postgresql://{user}@127.0.0.1:{port}{urlsplit(url).path}"
            finally:
                process.kill()
                process.wait()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def _reserved() -> asyncio.Server:
    async def nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    return await asyncio.start_server(nothing, "127.0.0.1", 0)


def _start(program: str, folder: Path, text: str) -> "subprocess.Popen[bytes]":
    config = folder / "pgbouncer.ini"
    config.write_text(text)
    folder.chmod(0o755)
    # PgBouncer refuses to run as root.
    somebody = pwd.getpwnam("nobody").pw_uid if os.geteuid() == 0 else None
    return subprocess.Popen([program, str(config)], user=somebody, stderr=subprocess.PIPE)


async def _answers(process: "subprocess.Popen[bytes]", port: int) -> None:
    async with asyncio.timeout(WITHIN):
        while process.poll() is None:
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                return
            await asyncio.sleep(0.02)
    assert process.stderr is not None
    raise RuntimeError(f"pgbouncer did not start: {process.stderr.read().decode()}")


async def _pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()
