"""Starts the whole service for a test to visit.

It has the API and the page, a worker, a database and a Chatwork sandbox. A test can make the
sandbox slow or make its answers malformed.
"""

import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import httpx2 as httpx

from events.database import Database
from service.accounts.users import User, Users
from tests.chatwork_server import sandbox_of
from tests.commands import Command, Main, rireki, running
from tests.conftest import with_database
from tests.histories import until
from tests.http_client import http_client
from tests.service_fixture import SECRET, user_of
from workers.chatwork.sandbox import Sandbox

ROOMS = {"10": ["おはようございます"], "20": ["見積書をお送りします", "届きました"], "30": ["納期は金曜日です"]}
MESSAGES = 4  # messages in all rooms together
LONG = 60.0  # seconds to wait for a status of a job


@dataclass(slots=True)
class Site:
    """A running service. `as_admin` and `as_employee` are HTTP clients of its API."""

    address: str
    database: Database
    sandbox: Sandbox
    admin: User
    employee: User
    as_admin: httpx.AsyncClient
    as_employee: httpx.AsyncClient
    serve: Command
    variables: dict[str, str]
    home: Path

    def token(self, user: User) -> str:
        return Users(self.database, SECRET).new_token(user)

    async def sync(self, what: str, *, user: httpx.AsyncClient | None = None, **query: str) -> dict[str, Any]:
        """Runs a sync to its end and returns its job. `what` is `rooms` or `messages`."""
        answer = await (user or self.as_admin).post(
            f"/api/chatwork/{what}/sync", params=query, json={}, headers={"Prefer": "wait=60"}
        )
        assert answer.status_code == 202, answer.text
        return await self.job(answer.json()["jobId"])

    async def begin(self, what: str, **query: str) -> str:
        """Queues a sync and returns its job's id, without waiting for its end."""
        answer = await self.as_admin.post(f"/api/chatwork/{what}/sync", params=query, json={})
        assert answer.status_code == 202, answer.text
        return str(answer.json()["jobId"])

    async def job(self, job_id: str, **query: int) -> dict[str, Any]:
        answer = await self.as_admin.get(f"/api/jobs/{job_id}", params=query)
        assert answer.status_code == 200, answer.text
        job: dict[str, Any] = answer.json()["job"]
        return job

    async def jobs(self) -> list[dict[str, Any]]:
        """Returns the newest 100 jobs, newest first."""
        jobs: list[dict[str, Any]] = (await self.as_admin.get("/api/jobs", params={"limit": 100})).json()["jobs"]
        return jobs

    async def becomes(self, job_id: str, status: str) -> dict[str, Any]:
        async def so() -> bool:
            return bool((await self.job(job_id))["status"] == status)

        await until(so, seconds=LONG)
        return await self.job(job_id)

    async def has_positions(self, events: int) -> None:
        """Waits until the sealer has given at least this many events their positions."""

        async def so() -> bool:
            return bool(await self.database.fetch_val("select position from job_event_log_cursor") >= events)

        await until(so, seconds=LONG)

    async def restart(self) -> None:
        """Starts the API again at the same address. Call it after a `kill`."""
        port = self.address.rpartition(":")[2]
        self.serve = Command(self.home, ["serve"], self.variables | {"PORT": port})
        await self.serve.start()
        await self.serve.address()


@asynccontextmanager
async def open_site(
    postgres_url: str,
    template: str,
    home: Path,
    *,
    rooms: Mapping[str, Sequence[str]] = ROOMS,
    redis_url: str | None = None,
    works: bool = True,
    main: Main = rireki,
    sandbox: Sandbox | None = None,
    settings: Mapping[str, str] | None = None,
) -> AsyncIterator[Site]:
    """Starts a site with a new database, and ends it after the block.

    With `redis_url` the worker is a separate process. Without `works` there is no worker. `main` runs in place of `rireki`.
    `sandbox` replaces a Chatwork sandbox that has `rooms`. `settings` are further variables of the environment of `serve`.
    """
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(_database(postgres_url, template))
        database = Database(url)
        await database.connect()
        stack.push_async_callback(database.disconnect)
        admin = await user_of(database, "admin@example.com", "admin", "管理 花子")
        employee = await user_of(database, "employee@example.com", "employee", "山田 太郎")
        sandbox = await stack.enter_async_context(sandbox or sandbox_of(rooms))
        variables = {
            "APP_ENV": "test",
            "RIREKI_HOME": str(home),
            "DATABASE_URL": url,
            "JWT_SECRET": SECRET,
            "CHATWORK_API_BASE_URL": sandbox.base_url,
            "CHATWORK_API_TOKEN": sandbox.token,
            "CHATWORK_RATE_LIMIT": "100000",
            "WORKER_SHUTDOWN_GRACE_SECONDS": "0",
            "JOB_WORKER_ENABLED": str(works and redis_url is None).lower(),
        } | ({"REDIS_URL": redis_url} if redis_url else {})
        if redis_url:
            await stack.enter_async_context(running("worker", home=home, **variables))
        variables |= settings or {}
        serve = Command(home, ["serve"], variables | {"PORT": "0"}, main)
        await serve.start()
        stack.push_async_callback(serve.kill)
        address = await serve.address()

        async def client(user: User) -> httpx.AsyncClient:
            headers = {"Authorization": f"Bearer {Users(database, SECRET).new_token(user)}"}
            return await stack.enter_async_context(http_client(address, headers=headers, timeout=90))

        site = Site(
            address, database, sandbox, admin, employee, await client(admin), await client(employee), serve, variables, home
        )
        try:
            yield site
        finally:
            await site.serve.kill()


@asynccontextmanager
async def _database(postgres_url: str, template: str) -> AsyncIterator[str]:
    """Makes a migrated database. Yields its URL, and drops it after the block."""
    name = f"rireki_page_{secrets.token_hex(4)}"
    connection = await asyncpg.connect(postgres_url, timeout=60)
    try:
        await connection.execute(f"create database {name} template {template}")
        yield with_database(postgres_url, name)
        await connection.execute(f"drop database if exists {name} with (force)")
    finally:
        await connection.close()
