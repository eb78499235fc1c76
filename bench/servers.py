"""Starts the servers of a run: PostgreSQL with fsync on, and Redis.

All contestants share these servers. Each contestant gets a new database and an empty Redis.
"""

import asyncio
import contextlib
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import redis.asyncio

from migrations.migrate import migrate
from service.embedded.postgres import EmbeddedPostgres
from tests.servers import redis_server


class NotEmptyError(Exception):
    """The Redis of REDIS_URL holds data, which a benchmark would delete. So none runs."""


@dataclass(frozen=True)
class Servers:
    postgres_url: str
    redis_url: str
    postgres_pid: int | None
    redis_pid: int | None
    versions: dict[str, str]

    @contextlib.contextmanager
    def fresh(self, *, migrated: bool) -> Iterator[str]:
        """Empties Redis and makes a database. Yields its URL, and drops it after the block."""
        name = f"rireki_bench_{secrets.token_hex(4)}"
        asyncio.run(_empty(self.redis_url))
        asyncio.run(_execute(self.postgres_url, f"create database {name}"))
        try:
            url = urlunsplit(urlsplit(self.postgres_url)._replace(path=f"/{name}"))
            if migrated:
                migrate(url)
            yield url
        finally:
            asyncio.run(_execute(self.postgres_url, f"drop database {name} with (force)", "checkpoint"))


@contextlib.contextmanager
def servers() -> Iterator[Servers]:
    """Yields the servers of DATABASE_URL and REDIS_URL.

    If a variable is missing, it starts that server and ends it after the block. Raises
    `NotEmptyError` if the Redis of REDIS_URL holds data.
    """
    with _postgres() as postgres_url, redis_server() as redis_url:
        if "REDIS_URL" in os.environ:
            asyncio.run(_refuse_to_empty(redis_url))
        postgres, postgres_pid = asyncio.run(_about_postgres(postgres_url))
        redis, redis_pid = asyncio.run(_about_redis(redis_url))
        yield Servers(postgres_url, redis_url, postgres_pid, redis_pid, postgres | redis)


@contextlib.contextmanager
def fresh_database() -> Iterator[str]:
    """Yields the URL of a new, migrated database, for a benchmark that needs only PostgreSQL."""
    with servers() as started, started.fresh(migrated=True) as url:
        yield url


def versions_of(postgres_url: str, redis_url: str) -> dict[str, str]:
    """Returns the versions of the two servers by their names, for `bench.record.publish`."""
    return asyncio.run(_about_postgres(postgres_url))[0] | asyncio.run(_about_redis(redis_url))[0]


@contextlib.contextmanager
def _postgres() -> Iterator[str]:
    if url := os.environ.get("DATABASE_URL"):
        yield url
        return
    with contextlib.ExitStack() as stack:
        home = tempfile.mkdtemp(prefix="rireki-bench-")
        stack.callback(shutil.rmtree, home, ignore_errors=True)
        embedded = EmbeddedPostgres.start(Path(home))
        stack.callback(embedded.close)
        yield embedded.url()


async def _about_postgres(url: str) -> tuple[dict[str, str], int | None]:
    connection = await asyncpg.connect(url)
    try:
        row = await connection.fetchrow("select current_setting('server_version'), current_setting('fsync'), pg_backend_pid()")
        assert row is not None
        version, fsync, backend = row
        return {"PostgreSQL": f"{version}, fsync {fsync}"}, _parent(backend, named="postgres")
    finally:
        await connection.close()


async def _about_redis(url: str) -> tuple[dict[str, str], int | None]:
    async with redis.asyncio.Redis.from_url(url) as client:
        about = await client.info("server")
    name = "Valkey" if "valkey_version" in about else "Redis"
    version = about.get("valkey_version", about["redis_version"])
    pid = about["process_id"]
    return {name: version}, pid if _name_of(pid) in ("valkey-server", "redis-server") else None


def _parent(pid: int, *, named: str) -> int | None:
    """Returns the parent of a process, or None if its program is not called `named`."""
    if _name_of(pid) != named:
        return None
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def _name_of(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().strip()
    return ""


async def _execute(url: str, *statements: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


async def _empty(url: str) -> None:
    async with redis.asyncio.Redis.from_url(url) as client:
        await client.flushdb()


async def _refuse_to_empty(url: str) -> None:
    async with redis.asyncio.Redis.from_url(url) as client:
        if await client.dbsize():
            raise NotEmptyError(f"The Redis of REDIS_URL is not empty, and a benchmark empties it: {url}")
