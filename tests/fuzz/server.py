"""A real service on loopback, to which the fuzzer sends requests.

It is `rireki serve` with PostgreSQL, Redis and a worker.
"""

import asyncio
import os
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from events.database import Database
from migrations.migrate import migrate
from service.accounts.users import Role, add_user
from tests.servers import postgres_server, redis_server

PASSWORD = "the password of every user of the fuzzer"
UNLIMITED = ("LIMIT_REQUESTS", "LIMIT_STREAMS", "LIMIT_HELD_ANSWERS", "LIMIT_ACTIVE_JOBS", "LIMIT_PAID_JOBS")


@dataclass(frozen=True, slots=True)
class FuzzedService:
    """A running service. For each role there is a user `<role>@example.com` with `PASSWORD`."""

    url: str
    database_url: str
    log: Path


@contextmanager
def fuzzed_service() -> Iterator[FuzzedService]:
    """Runs a service with an empty database.

    Its Chatwork is the sandbox, and its summaries need no language model.
    """
    with (
        tempfile.TemporaryDirectory(prefix="rireki-fuzz-") as folder, postgres_server() as server, redis_server() as redis_url,
    ):  # fmt: skip
        home, name = Path(folder), f"rireki_fuzz_{secrets.token_hex(4)}"
        database_url = urlunsplit(urlsplit(server)._replace(path=f"/{name}"))
        asyncio.run(_execute(server, f"create database {name}"))
        migrate(database_url)
        asyncio.run(_add_users(database_url))
        log = home / "serve.log"
        with log.open("wb") as errors, _serving(home, errors, DATABASE_URL=database_url, REDIS_URL=redis_url) as url:
            yield FuzzedService(url, database_url, log)
        asyncio.run(_execute(server, f"drop database {name} with (force)"))


@contextmanager
def _serving(home: Path, errors: IO[bytes], **variables: str) -> Iterator[str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("CHATWORK_", "OPENAI_"))}
    settings = {"APP_ENV": "development", "PORT": "0", "RIREKI_HOME": str(home), "CHATWORK_RATE_LIMIT": "1000000"}
    process = subprocess.Popen(
        [sys.executable, "-m", "service.cli", "serve"],
        env=inherited | settings | dict.fromkeys(UNLIMITED, "off") | variables,
        cwd=Path(__file__).parents[2], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise RuntimeError(f"the service did not start: {(home / 'serve.log').read_text()[-2000:]}")
        yield line.split()[-1]
    finally:
        process.terminate()
        process.wait(timeout=60)


async def _add_users(database_url: str) -> None:
    database = Database(database_url)
    await database.connect()
    for role in Role:
        await add_user(database, f"{role}@example.com", role, PASSWORD)
    await add_user(database, "second-admin@example.com", "admin", PASSWORD)
    await database.disconnect()


async def _execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url, timeout=30)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
