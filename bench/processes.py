"""Starts processes of the service as in production, and reads their CPU time and memory."""

import contextlib
import os
import re
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import asyncpg

from events.database import Database
from service.accounts.users import ADD, Role, User, Users

TICKS = os.sysconf("SC_CLK_TCK")
JWT_SECRET = "a key for benchmarks only, of more than 32 bytes"
NO_LIMITS = {f"LIMIT_{name}": "off" for name in ("REQUESTS", "STREAMS", "HELD_ANSWERS", "ACTIVE_JOBS", "PAID_JOBS")}
ADMIN = User("aaaaaaaa-0000-4000-8000-000000000000", "admin@example.com", "Admin", Role.ADMIN)


@contextlib.contextmanager
def environment(url: str, redis_url: str) -> Iterator[dict[str, str]]:
    """Yields the environment of a `rireki serve` with these servers and without a worker.

    It queues Chatwork's syncs, but runs none of them.
    """
    with tempfile.TemporaryDirectory(prefix="rireki-bench-") as home:
        yield os.environ | {
            "APP_ENV": "test", "DATABASE_URL": url, "REDIS_URL": redis_url, "RIREKI_HOME": home, "PORT": "0",
            "JOB_WORKER_ENABLED": "false", "JWT_SECRET": JWT_SECRET, "CHATWORK_API_TOKEN": "nobody-asks", **NO_LIMITS,
        }  # fmt: skip


@contextlib.contextmanager
def started(*module: str, environment: Mapping[str, str] | None = None) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Runs `python -m …` until the block ends.

    Yields the process and its first line of output.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", *module], env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        first = process.stdout.readline()
        if not first:
            raise RuntimeError(f"{' '.join(module)} did not start")
        yield process, first
    finally:
        process.terminate()
        process.wait(60)


@contextlib.contextmanager
def running(*module: str, environment: Mapping[str, str] | None = None) -> Iterator[tuple[int, int]]:
    """Runs a server until the block ends. Yields its process id and its port."""
    with started(*module, environment=environment) as (process, first):
        port = re.search(r"http://[^ ]*:(\d+)", first)
        assert port is not None, first
        yield process.pid, int(port[1])


def serving(environment: Mapping[str, str]) -> contextlib.AbstractContextManager[tuple[int, int]]:
    """Runs the API without a worker until the block ends. Yields its process id and its port."""
    return running("service.cli", "serve", environment=environment)


async def add_people(url: str, people: list[User]) -> list[str]:
    """Adds users to the database. Returns a token for each."""
    database = Database(url)
    await database.connect()
    try:
        for user in people:
            values = {"id": user.id, "email": user.email, "name": user.name, "role": user.role, "password_hash": "none"}
            await database.execute(ADD, values)
        users = Users(database, JWT_SECRET)
        return [users.new_token(user) for user in people]
    finally:
        await database.disconnect()


def an_employee() -> User:
    user_id = f"bbbbbbbb-0000-4000-8000-{secrets.token_hex(6)}"
    return User(user_id, f"{user_id}@example.com", "Employee", Role.EMPLOYEE)


def cpu_seconds(pid: int, *, with_children: bool = False) -> float:
    """Returns the CPU seconds that a process has used; `with_children` adds its children."""
    pids = [pid, *(_children(pid) if with_children else ())]
    used = 0.0
    for each in pids:
        with contextlib.suppress(OSError):
            # Fields 14 to 17 of proc(5): the process itself, and its children that have ended.
            fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
            used += sum(int(ticks) for ticks in (fields[11:15] if with_children else fields[11:13])) / TICKS
    return used


def memory_of(pid: int) -> int:
    """Returns the resident memory of a process in bytes."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


async def postgres_pid(url: str) -> int:
    """Returns the process id of the postmaster. PostgreSQL must run on this machine."""
    connection = await asyncpg.connect(url)
    try:
        backend = await connection.fetchval("select pg_backend_pid()")
        return _parent(backend)
    finally:
        await connection.close()


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
