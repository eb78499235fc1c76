"""The command `rireki demo`: show the service at work, from a sync to an audit.

It runs a service of its own over real HTTP, on a temporary database, with the simulated Chatwork.
It uses the API as a client does; only the history and the audit at the end are read from the
database. It stops with status 1 at the first unexpected result.
"""

import contextlib
import logging
import secrets
import socket
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import httpx2 as httpx
import orjson
import uvloop
from rich.console import Console
from rich.markdown import Markdown
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from events.database import connect, connect_unsettled
from migrations.migrate import migrate
from service.accounts.passwords import random_password
from service.accounts.users import Role, add_user
from service.commands.plain_text import plain_lines, plain_text, visible
from service.commands.replay import print_replay
from service.commands.verify import print_verification
from service.config import Settings
from service.http.logs import configure_logs
from service.process.assembly import api_context, database_url, opened, worker_of
from service.process.serve import answering
from workers.chatwork.sandbox import Sandbox

EMAIL = "demo@example.com"
SLOWLY = 0.5  # seconds that the sandbox waits before each response, so that there is time to cancel
LINKED_ROOMS = 3

Json = dict[str, Any]


class UnexpectedResult(Exception):
    """The service has not answered as the demo expects."""


def run_demo(settings: Settings) -> int:
    """Run the demo and return the exit status.

    It uses no Redis and no language model, even if the environment names them. So it leaves nothing
    in a shared queue.
    """
    console = Console(highlight=False)
    configure_logs(logging.WARNING)
    with database_url(settings) as server, _own_database(server) as url:
        try:
            return uvloop.run(_show(url, console))
        except UnexpectedResult as fault:
            console.print(Text(f"unexpected result: {visible(str(fault))}", style="red"))
            return 1


async def _show(url: str, console: Console) -> int:
    async with Sandbox() as sandbox, _service(url, sandbox) as api:
        console.rule("Sync the list of rooms")
        job = await _post(api, "/api/chatwork/rooms/sync", wait=30)
        result = (await _ended(api, job["jobId"], "completed"))["result"]
        console.print(f"{result['total']} rooms, {result['created']} of them new")

        console.rule("Sync the messages")
        job = await _post(api, "/api/chatwork/messages/sync")
        result = (await _watch(api, console, job["jobId"], "completed"))["result"]
        console.print(f"{sum(room['fetched'] for room in result['rooms'])} messages, {len(result['errors'])} rooms with errors")

        console.rule("Link rooms to a company, draft a summary")
        await _draft(api, console)

        console.rule("Cancel a running sync, and retry it")
        sandbox.slow(SLOWLY)
        job = await _post(api, "/api/chatwork/messages/sync")
        await _watch(api, console, job["jobId"], "canceled", cancel_at=0.4)
        sandbox.slow(0)
        await _post(api, f"/api/jobs/{job['jobId']}/retry")
        await _watch(api, console, job["jobId"], "completed")

        console.rule("Print the history of that job")
        database = api.context.database
        if await print_replay(database, job["jobId"], None, as_json=False) != 0:
            raise UnexpectedResult("the job has no history")

        console.rule("Recompute all jobs from the log, and compare with the view")
        return await print_verification(database, api.context.settings)


class Api(httpx.AsyncClient):
    """A client of the demo's service, signed in."""

    context: Any


@contextlib.asynccontextmanager
async def _service(url: str, sandbox: Sandbox) -> AsyncIterator[Api]:
    settings = Settings.model_construct(
        app_env="test", database_url=url, chatwork_api_base_url=sandbox.base_url, chatwork_api_token=sandbox.token
    )
    password = random_password()
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as listening:
        async with opened(settings, url, seals=True) as core:
            await add_user(core.database, EMAIL, Role.ADMIN, password)
            context, worker = api_context(core), worker_of(core)
            await worker.start()
            try:
                async with answering(context, listening) as address, Api(base_url=address, timeout=60) as api:
                    api.context = context
                    await _post(api, "/api/auth/login", {"email": EMAIL, "password": password})
                    yield api
            finally:
                await worker.stop(grace=0)


async def _draft(api: Api, console: Console) -> None:
    company = (await _post(api, "/api/companies", {"name": "株式会社サンプル"}))["company"]
    rooms = sorted((await _get(api, "/api/chatwork/rooms"))["rooms"], key=lambda room: -room["messageCount"])[:LINKED_ROOMS]
    for room in rooms:
        await _post(api, f"/api/companies/{company['id']}/chatwork-rooms", {"roomId": room["roomId"]})
    console.print(plain_text(f"{company['name']}: {', '.join(room['name'] for room in rooms)}"))
    now = datetime.now(UTC).replace(microsecond=0)
    period = {"periodStart": (now - timedelta(days=3650)).isoformat(), "periodEnd": (now + timedelta(days=1)).isoformat()}
    job = await _post(api, f"/api/companies/{company['id']}/summaries/draft", period, wait=30)
    draft = (await _ended(api, job["jobId"], "completed"))["result"]
    console.print(Markdown(plain_lines(draft["content"])))
    console.print(plain_text(f"from {draft['sourceMessageCount']} messages, by {draft['model']}", "dim"))


async def _watch(api: Api, console: Console, job_id: str, end: str, *, cancel_at: float | None = None) -> Json:
    """Follow a sync over server-sent events until it ends, and return the job.

    `cancel_at` is the share of finished rooms, from 0 to 1, at which the job is canceled.
    """
    columns = TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("rooms", total=None)
        async with api.stream("GET", f"/api/jobs/{job_id}/events", headers={"Accept": "text/event-stream"}) as stream:
            async for line in stream.aiter_lines():
                if not line.startswith("data: "):
                    continue
                event = orjson.loads(line.removeprefix("data: "))
                result = event["data"].get("result")
                if result is not None:
                    bar.update(task, total=result["totalRooms"], completed=result["processedRooms"])
                    if cancel_at is not None and result["processedRooms"] >= cancel_at * result["totalRooms"]:
                        cancel_at = None
                        await _post(api, f"/api/jobs/{job_id}/cancel")
                bar.update(task, description=event["type"])
    return await _ended(api, job_id, end)


async def _ended(api: Api, job_id: str, end: str) -> Json:
    job: Json = (await _get(api, f"/api/jobs/{job_id}"))["job"]
    if job["status"] != end:
        raise UnexpectedResult(f"job {job_id} is {job['status']} instead of {end}: {job['error']}")
    return job


async def _get(api: Api, path: str) -> Json:
    return _read(await api.get(path))


async def _post(api: Api, path: str, body: Json | None = None, *, wait: int | None = None) -> Json:
    headers = {} if wait is None else {"Prefer": f"wait={wait}"}
    return _read(await api.post(path, json=body, headers=headers))


def _read(response: httpx.Response) -> Json:
    if response.status_code >= 400:
        raise UnexpectedResult(f"{response.request.method} {response.request.url.path}: {response.status_code} {response.text}")
    answer: Json = response.json()
    return answer


@contextlib.contextmanager
def _own_database(server: str) -> Iterator[str]:
    name = f"rireki_demo_{secrets.token_hex(4)}"
    uvloop.run(_administer(server, f"create database {name}"))
    try:
        url = urlunsplit(urlsplit(server)._replace(path=f"/{name}"))
        migrate(url, connect_unsettled)
        yield url
    finally:
        uvloop.run(_administer(server, f"drop database {name} with (force)"))


async def _administer(server: str, statement: str) -> None:
    connection = await connect(server)
    await connection.execute(statement)
    await connection.close()
