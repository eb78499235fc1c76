"""A fixture that runs the whole API over HTTP on loopback.

No worker runs: a test calls `run` to append what a worker would.
"""

import asyncio
import contextlib
import functools
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx2 as httpx
import pytest

from events.bus import Bus
from events.database import Database
from events.job import Job
from events.store import Store
from events.writes import NewJob
from projections.jobs import JobsView
from service.accounts import users
from service.accounts.access_records import AccessRecords
from service.accounts.known_devices import KnownDevices
from service.accounts.oidc_sign_in import Oidc
from service.accounts.passwords import hash_password
from service.accounts.sign_in_limit import SignInLimit
from service.accounts.users import Role, User, Users
from service.api.app import create_app
from service.config import Settings
from service.http.context import ApiContext
from service.limits.limits import Limits
from service.live.job_watches import JobWatches
from service.live.verifier import Verifier
from service.process.serve import http_server
from tests.http_client import http_client
from workers.chatwork.client import Chatwork, ChatworkSettings
from workers.delivery.wire import LocalWire
from workers.resources import Resources
from workers.summaries.summariser import Summariser, SummarySettings

PASSWORD = "correct horse battery staple"
NO_LIMITS = {f"limit_{name}": "off" for name in ("requests", "streams", "held_answers", "active_jobs", "paid_jobs")}
SECRET = "a key for tests, long enough also for HS512 tokens, which must be refused"


@dataclass(frozen=True, slots=True)
class Service:
    """A running API, and clients of an admin, two employees, an auditor and a stranger."""

    url: str
    context: ApiContext
    admin: User
    employee: User
    as_admin: httpx.AsyncClient
    as_employee: httpx.AsyncClient
    as_other: httpx.AsyncClient
    as_nobody: httpx.AsyncClient
    auditor: User
    as_auditor: httpx.AsyncClient
    other: User

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    async def run(self, job: Job, *steps: Any) -> Job:
        """Appends the events of these decisions one after another, as a worker does."""
        for step in steps:
            job = await self.context.store.append(job, step, actor="worker:w1")
        return job

    async def job_of(self, user: User | None, job_type: str = "chatwork_rooms_sync", payload: Any = None) -> Job:
        """Queues a job of this user. No worker runs it."""
        new = NewJob(job_type, payload or {}, None if user is None else user.id, max_attempts=5)
        return await self.context.store.create(new, actor="system:test")


@pytest.fixture
async def service(database: Database, bus: Bus, store: Store) -> AsyncIterator[Service]:
    chatwork = Chatwork(ChatworkSettings(base_url="http://127.0.0.1:9", token="nobody-asks"), database)
    context = make_context(database, bus, store, chatwork=chatwork)
    admin = await user_of(database, "admin@example.com", "admin", "管理者")
    employee = await user_of(database, "employee@example.com", "employee", "employee")
    other = await user_of(database, "other@example.com", "employee", "other")
    auditor = await user_of(database, "auditor@example.com", "auditor", "監査人")
    async with contextlib.AsyncExitStack() as stack:
        url = await stack.enter_async_context(serving(context))

        async def client(user: User | None) -> httpx.AsyncClient:
            headers = {"Authorization": f"Bearer {context.users.new_token(user)}"} if user else {}
            return await stack.enter_async_context(http_client(url, headers=headers, timeout=30))

        yield Service(
            url, context, admin, employee, await client(admin), await client(employee), await client(other), await client(None),
            auditor, await client(auditor), other,
        )  # fmt: skip
    await chatwork.close()


@functools.cache
def hash_of_password() -> str:
    """Returns the hash of PASSWORD. It is computed once, because hashing is slow."""
    return hash_password(PASSWORD)


async def user_of(database: Database, email: str, role: str, name: str) -> User:
    user = User(str(uuid4()), email, name, Role(role))
    values = {"id": user.id, "email": email, "name": name, "role": role, "password_hash": hash_of_password()}
    await database.execute(users.ADD, values)
    return user


def make_context(
    database: Database, bus: Bus, store: Store, *, chatwork: Chatwork | None = None, **settings: Any
) -> ApiContext:
    """Returns a context without limits, unless `settings` names some."""
    view = JobsView(database)
    given = Settings(**({"app_env": "test"} | NO_LIMITS | settings))
    return ApiContext(
        settings=given,
        database=database,
        store=store,
        bus=bus,
        jobs=view,
        wire=LocalWire(),
        resources=Resources(database=database, chatwork=chatwork, summariser=Summariser(SummarySettings())),
        users=Users(database, SECRET),
        access_records=AccessRecords(database),
        devices=KnownDevices(SECRET),
        oidc=Oidc.of(given, SECRET),
        sign_in_limit=SignInLimit(None),
        limits=Limits(given, database),
        job_watches=JobWatches(bus, view, store, database),
        verifier=Verifier(database),
        sealer=database,
    )


@contextlib.asynccontextmanager
async def serving(context: ApiContext) -> AsyncIterator[str]:
    """Serves an API with this context. Yields its address."""
    listening = socket.create_server(("127.0.0.1", 0))
    server = http_server(create_app(context), production=context.settings.production)
    running = asyncio.create_task(server.serve(sockets=[listening]))
    while not server.started:
        await asyncio.sleep(0.005)
        assert not running.done(), running.exception()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        context.job_watches.close()
        server.should_exit = True
        await running
        listening.close()
