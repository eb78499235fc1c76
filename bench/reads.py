"""Measures how much slower requests are on a large database than on a small one.

It sends each question (a request to the API) to both databases in turns. The report also has the
speed of enqueue and drain on both, the pages and the plan of each query, and the bytes of a job. The
endpoints run inside this process, without a socket, so that only the database differs.
"""

import argparse
import asyncio
import contextlib
import itertools
import logging
import secrets
import statistics
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode, urlsplit, urlunsplit

import asyncpg
import orjson
import structlog
import uvloop
from starlette.types import ASGIApp, Message

from bench.fill import TABLES, Filled, fill
from bench.nothing import drained_per_second, queued_per_second
from bench.processes import NO_LIMITS
from bench.record import add_save_option, publish
from bench.servers import fresh_database, versions_of
from events.database import Connection, connect
from migrations.migrate import migrate
from projections.verify import verify
from service.accounts.users import ADD, Role, User
from service.api.app import create_app
from service.config import Settings
from service.process.assembly import Core, api_context, opened
from tests.servers import redis_server

VERIFIED = 200  # jobs that are compared with their events after a fill
LONGEST = 8.0  # seconds for one question to both databases
MANY_ROWS = 5_000  # A plan that sorts or discards this number of rows or more is reported as a fault.

SIZES = """
select c.relname as name, c.relkind::text = 'r' as is_table,
    case when c.relkind::text = 'r' then pg_table_size(c.oid) else pg_relation_size(c.oid) end as bytes
from pg_class c left join pg_index i on i.indexrelid = c.oid
where coalesce(i.indrelid, c.oid)::regclass::text = any($1) and c.relkind::text in ('r', 'i')
order by coalesce(i.indrelid, c.oid)::regclass::text, c.relkind::text = 'i', c.relname
"""

Ask = Callable[["Side"], tuple[str, "User | None"]]
"""Makes a question to a side. Returns its address and its caller (None means the admin)."""


@dataclass(slots=True)
class Side:
    """One of the two databases, with the API over it."""

    core: Core
    app: ASGIApp
    filled: Filled
    tokens: dict[str, str]
    admin: User
    employee: User
    middle: str
    """A time in the middle of the year."""
    cursor: str
    """The cursor of a page in the middle of the list."""
    ended: Iterator[str] = field(init=False)
    waiting: Iterator[str] = field(init=False)
    owners: Iterator[str] = field(init=False)

    def __post_init__(self) -> None:
        self.ended, self.waiting = itertools.cycle(self.filled.ended), itertools.cycle(self.filled.waiting)
        self.owners = itertools.cycle(self.filled.owners[500:])


def _questions() -> dict[str, Ask]:
    def jobs(**query: Any) -> Ask:
        return lambda side: (_address("/api/jobs", side, query), None)

    def counts(**query: Any) -> Ask:
        return lambda side: (_address("/api/jobs/counts", side, query), None)

    def events(**query: Any) -> Ask:
        return lambda side: (_address("/api/events", side, query), None)

    def own(path: str, **query: Any) -> Ask:
        return lambda side: (_address(path, side, query), side.employee)

    great: Callable[[Side], str] = lambda side: side.filled.owners[0]  # noqa: E731
    small: Callable[[Side], str] = lambda side: next(side.owners)  # noqa: E731
    middle: Callable[[Side], str] = lambda side: side.middle  # noqa: E731
    one: Callable[[Side], str] = lambda side: next(side.ended)  # noqa: E731
    twenty: Callable[[Side], str] = lambda side: ",".join(next(side.ended) for _ in range(20))  # noqa: E731
    half: Callable[[Side], int] = lambda side: side.filled.events // 2  # noqa: E731
    return {
        "jobs": jobs(),
        "jobs, 100 of them": jobs(limit=100),
        "jobs, a page in the middle": jobs(cursor=lambda side: side.cursor),
        "jobs by ids": jobs(ids=twenty),
        "jobs `type`": jobs(type="summary_draft"),
        **{
            f"jobs `status={status}`": jobs(status=status)
            for status in ("queued", "processing", "completed", "failed", "canceled")
        },
        "jobs `type` `status`": jobs(type="chatwork_rooms_sync", status="failed"),
        "jobs `type` `status`, a page in the middle": jobs(
            type="chatwork_rooms_sync", status="failed", cursor=lambda side: side.cursor
        ),
        "jobs `createdBefore`": jobs(createdBefore=middle),
        "jobs `createdBefore` `type`": jobs(createdBefore=middle, type="summary_draft"),
        "jobs `createdAfter`": jobs(createdAfter=middle),
        "jobs `userId`, with most": jobs(userId=great),
        "jobs `userId`, with few": jobs(userId=small),
        "jobs `userId` `status=failed`": jobs(userId=great, status="failed"),
        "jobs `userId` `status=queued`": jobs(userId=great, status="queued"),
        "jobs `userId` `type`": jobs(userId=great, type="chatwork_rooms_sync"),
        "jobs `userId` `type` `status`": jobs(userId=great, type="chatwork_rooms_sync", status="processing"),
        "jobs `userId` `createdBefore`": jobs(userId=great, createdBefore=middle),
        "an employee's jobs": own("/api/jobs"),
        "an employee's jobs `status=canceled`": own("/api/jobs", status="canceled"),
        "counts": counts(),
        "counts `type`": counts(type="summary_draft"),
        "counts `userId`": counts(userId=great),
        "counts `createdBefore`": counts(createdBefore=middle),
        "an employee's counts": own("/api/jobs/counts"),
        "a job": lambda side: (f"/api/jobs/{next(side.ended)}", None),
        "a job's events": lambda side: (f"/api/jobs/{next(side.ended)}/events", None),
        "a job after its event 2": lambda side: (f"/api/jobs/{next(side.ended)}?seq=2", None),
        "a job at a time": lambda side: (f"/api/jobs/{side.filled.ended[-1]}?at=2098-01-01T00:00:00Z", None),
        "why a job waits": lambda side: (f"/api/jobs/{next(side.waiting)}/waiting", None),
        "the log": events(),
        "the log from the middle": events(after=half),
        "the log, its end": events(latest="true"),
        "the log `type=failed`": events(type="failed", latest="true"),
        "the log `type=canceled` from the middle": events(type="canceled", after=half),
        "the log `jobId`": events(jobId=one),
        "the log `actor`, a user with most": events(actor=lambda side: f"user:{side.filled.owners[0]}", latest="true"),
        "the log `actor`, a user without events": events(actor="user:nobody", latest="true"),
        "metrics": lambda side: ("/metrics", None),
    }


def _address(path: str, side: Side, query: dict[str, Any]) -> str:
    return f"{path}?{urlencode({name: value(side) if callable(value) else value for name, value in query.items()})}"


@dataclass(slots=True)
class Answered:
    """The times of the answers in milliseconds, and the database pages that one answer reads."""

    ms: list[float] = field(default_factory=list)
    pages: int = 0
    flaws: set[str] = field(default_factory=set)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.reads", description=__doc__)
    parser.add_argument("--jobs", type=int, default=10_000_000, help="jobs in the large database (1.5 KB of disk each)")
    parser.add_argument("--small", type=int, default=10_000, help="jobs in the small database")
    parser.add_argument("--times", type=int, default=400, help="how often each question is asked")
    parser.add_argument("--rounds", type=int, default=6, help="rounds of enqueue and drain")
    add_save_option(parser)
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    with fresh_database() as small, another_database(small) as large, redis_server() as redis_url:
        tables = uvloop.run(_measure((small, large), (options.small, options.jobs), redis_url, options.times, options.rounds))
        publish("reads", tables, versions=versions_of(large, redis_url), save=options.save)


@contextlib.contextmanager
def another_database(url: str) -> Iterator[str]:
    """Makes a second, migrated database on the same server. Drops it at the end of the block."""
    name = f"rireki_bench_{secrets.token_hex(4)}"
    uvloop.run(_administer(url, f"create database {name}"))
    try:
        other = urlunsplit(urlsplit(url)._replace(path=f"/{name}"))
        migrate(other)
        yield other
    finally:
        uvloop.run(_administer(url, f"drop database {name} with (force)"))


async def _administer(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute(statement)
    await connection.close()


async def _measure(urls: Sequence[str], jobs: Sequence[int], redis_url: str, times: int, rounds: int) -> str:
    filled = [await fill(url, count) for url, count in zip(urls, jobs, strict=True)]
    asked: dict[str, list[Answered]] = {}
    async with contextlib.AsyncExitStack() as stack:
        sides = [
            await stack.enter_async_context(_open(url, redis_url, put_in)) for url, put_in in zip(urls, filled, strict=True)
        ]
        found = [await _verify(side) for side in sides]
        sizes = await _sizes(urls[1])
        for name, ask in _questions().items():
            asked[name] = await _ask(sides, ask, times)
        speeds = await _speeds(sides, rounds)
    return "\n\n".join(
        [f"Folding {VERIFIED} jobs of each again found {sum(found)} differences.",
         _answers(asked, jobs), _flaws(asked), _speed_table(speeds, jobs), _size_table(sizes, filled[1])]
    )  # fmt: skip


@contextlib.asynccontextmanager
async def _open(url: str, redis_url: str, filled: Filled) -> AsyncIterator[Side]:
    settings = Settings(
        app_env="test", redis_url=redis_url, job_worker_enabled=False,
        **{name.lower(): None for name in NO_LIMITS},  # type: ignore[arg-type]
    )  # fmt: skip
    async with opened(settings, url, seals=True) as core:
        context = api_context(core)
        app = create_app(context)
        people = [User(user_id, f"{user_id}@example.com", "bench", role) for user_id, role in _people(filled)]
        for user in people:
            values = {"id": user.id, "email": user.email, "name": user.name, "role": user.role, "password_hash": "none"}
            await core.database.execute(ADD, values)
        tokens = {user.id: context.users.new_token(user) for user in people}
        admin, employee = people
        side = Side(core, app, filled, tokens, admin, employee, middle="", cursor="")
        async with app.router.lifespan_context(app):
            _, body = await _request(side, f"/api/jobs/{filled.ended[len(filled.ended) // 2]}", None)
            side.middle = orjson.loads(body)["job"]["createdAt"]
            _, body = await _request(side, f"/api/jobs?limit=1&createdBefore={side.middle}", None)
            side.cursor = orjson.loads(body)["nextCursor"]
            yield side
            context.job_watches.close()


def _people(filled: Filled) -> list[tuple[str, Role]]:
    return [("aaaaaaaa-0000-4000-8000-000000000000", Role.ADMIN), (filled.owners[0], Role.EMPLOYEE)]


async def _verify(side: Side) -> int:
    """Compares a sample of jobs in the view with their events. Counts the differences."""
    step = max(1, len(side.filled.ended) // VERIFIED)
    sample = [*side.filled.ended[::step], *side.filled.waiting[:5]]
    return sum([len((await verify(side.core.database, job_id=job_id)).differences) for job_id in sample])


async def _ask(sides: Sequence[Side], ask: Ask, times: int) -> list[Answered]:
    """Sends the same question to both sides in turns, so that other work affects both alike."""
    answered = [Answered() for _ in sides]
    for _ in range(8):  # The first requests are not measured: after them, plans and pages are cached.
        for side in sides:
            await _request(side, *ask(side))
    until = time.perf_counter() + LONGEST
    for _ in range(times):
        for side, answers in zip(sides, answered, strict=True):
            address, user = ask(side)
            began = time.perf_counter()
            await _request(side, address, user)
            answers.ms.append((time.perf_counter() - began) * 1000)
        if time.perf_counter() > until:
            break
    for side, answers in zip(sides, answered, strict=True):
        await _explain(side, ask, answers)
    return answered


async def _request(side: Side, address: str, user: User | None) -> tuple[int, bytes]:
    path, _, query = address.partition("?")
    token = side.tokens[(user or side.admin).id]
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "scheme": "http", "path": path,
        "raw_path": path.encode(), "query_string": query.encode(), "root_path": "", "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80), "headers": [(b"host", b"bench"), (b"authorization", f"Bearer {token}".encode())],
    }  # fmt: skip
    status, body = 0, []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        nonlocal status
        status = message.get("status", status)
        body.append(message.get("body", b""))

    await side.app(scope, receive, send)
    if status != 200:
        raise RuntimeError(f"{address}: {status} {b''.join(body)[:500]!r}")
    return status, b"".join(body)


async def _explain(side: Side, ask: Ask, answers: Answered) -> None:
    """Explains the queries of one answer, with a custom and with a generic plan."""
    with _heard() as queries:
        await _request(side, *ask(side))
    connection = await connect(side.core.database.url)
    try:
        for sql, values in queries:
            if not any(table in sql for table in TABLES) or sql.lstrip().startswith(("begin", "commit")):
                continue
            plan = await _plan(connection, "explain (analyze, buffers, timing off, format json) " + sql, values)
            answers.pages += plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]
            answers.flaws |= set(_flaws_of(plan))
            nulls = f"({', '.join(['null'] * len(values))})" if values else ""
            await connection.execute("set plan_cache_mode = force_generic_plan")
            await connection.execute(f"prepare question as {sql}")
            generic = await _plan(connection, f"explain (format json) execute question{nulls}", ())
            await connection.execute("deallocate question")
            await connection.execute("reset plan_cache_mode")
            answers.flaws |= {f"{flaw} (planned for any values)" for flaw in _flaws_of(generic) if "Seq Scan" in flaw}
    finally:
        await connection.close()


@contextlib.contextmanager
def _heard() -> Iterator[list[tuple[str, Sequence[Any]]]]:
    """Collects the queries of this task, without those of the sealer in the background."""
    queries: list[tuple[str, Sequence[Any]]] = []
    connection: Any = asyncpg.Connection
    asking = asyncio.current_task()
    execute = connection._execute

    async def listening(self: Any, query: str, args: Sequence[Any], *more: Any, **options: Any) -> Any:
        if asyncio.current_task() is asking:
            queries.append((query, args))
        return await execute(self, query, args, *more, **options)

    connection._execute = listening
    try:
        yield queries
    finally:
        connection._execute = execute


async def _plan(connection: Connection, explain: str, values: Sequence[Any]) -> dict[str, Any]:
    """Explains a query in a transaction that is rolled back."""
    transaction = connection.transaction()
    await transaction.start()
    try:
        plan: dict[str, Any] = orjson.loads(await connection.fetchval(explain, *values))[0]["Plan"]
        return plan
    finally:
        await transaction.rollback()


def _flaws_of(node: dict[str, Any]) -> Iterator[str]:
    """Yields the faults of a plan: a full scan, a sort of many rows, many discarded rows."""
    name, children = node["Node Type"], node.get("Plans", [])
    if name == "Seq Scan" and node["Relation Name"] in TABLES:
        yield f"Seq Scan of {node['Relation Name']}"
    if name in ("Sort", "Incremental Sort") and max(_rows(child) for child in children) > MANY_ROWS:
        yield f"Sort of {max(_rows(child) for child in children):,.0f} rows"
    if (thrown := node.get("Rows Removed by Filter", 0) * node.get("Actual Loops", 1)) > MANY_ROWS:
        yield f"{name} of {node.get('Relation Name')} discards {thrown:,.0f} rows"
    for child in children:
        yield from _flaws_of(child)


def _rows(node: dict[str, Any]) -> float:
    return float(node.get("Actual Rows", node["Plan Rows"]) * node.get("Actual Loops", 1))


async def _speeds(sides: Sequence[Side], rounds: int, jobs: int = 5_000) -> dict[str, list[list[float]]]:
    speeds: dict[str, list[list[float]]] = {"enqueue": [[], []], "drain": [[], []]}
    for turn in range(rounds):
        # The order alternates, because the second side has the advantage of warm caches.
        for number, side in list(enumerate(sides))[:: -1 if turn % 2 else 1]:
            speeds["enqueue"][number].append(await queued_per_second(side.core, jobs))
            speeds["drain"][number].append(await drained_per_second(side.core, jobs))
    return speeds


def _answers(asked: dict[str, list[Answered]], jobs: Sequence[int]) -> str:
    rows = [
        (
            f"| question | p50 ms, {jobs[0]:,} jobs | {jobs[1]:,} | ratio | p99 ms, {jobs[0]:,} jobs | {jobs[1]:,} | ratio "
            "| pages read | asked |"
        ),
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, (small, large) in asked.items():
        times = [(percentile(small.ms, p), percentile(large.ms, p)) for p in (50, 99)]
        cells = [f"{a:.2f} | {b:.2f} | {b / a:.1f}×" for a, b in times]
        rows.append(f"| {name} | {' | '.join(cells)} | {small.pages:,} → {large.pages:,} | {len(large.ms)} |")
    return "\n".join(rows)


def _flaws(asked: dict[str, list[Answered]]) -> str:
    found = [f"- {name}: {'; '.join(sorted(large.flaws))}" for name, (_, large) in asked.items() if large.flaws]
    if not found:
        return "No plan scans or sorts a whole table, or discards many rows that it has read."
    return "\n".join(["Plans that read, sort or discard too many rows of the large database:", *found])


def _speed_table(speeds: dict[str, list[list[float]]], jobs: Sequence[int]) -> str:
    rows = [f"| jobs/s, medians | {jobs[0]:,} jobs | {jobs[1]:,} | slower by |", "| --- | --- | --- | --- |"]
    for name, (small, large) in speeds.items():
        a, b = statistics.median(small), statistics.median(large)
        rows.append(f"| {name} | {a:,.0f} | {b:,.0f} | {a / b:.2f}× |")
    return "\n".join(rows)


async def _sizes(url: str) -> list[asyncpg.Record]:
    connection = await connect(url)
    try:
        return await connection.fetch(SIZES, TABLES)
    finally:
        await connection.close()


def _size_table(sizes: Sequence[asyncpg.Record], filled: Filled) -> str:
    rows = ["| table or index | MB | bytes for each job |", "| --- | --- | --- |"]
    for row in sizes:
        name = f"**{row['name']}**" if row["is_table"] else row["name"]
        rows.append(f"| {name} | {row['bytes'] / 1e6:,.0f} | {row['bytes'] / filled.jobs:,.0f} |")
    whole = sum(row["bytes"] for row in sizes)
    rows.append(
        f"| all of it, {filled.events / filled.jobs:.2f} events a job | {whole / 1e6:,.0f} | {whole / filled.jobs:,.0f} |"
    )
    return "\n".join(rows)


def percentile(values: Sequence[float], percent: int) -> float:
    return sorted(values)[min(len(values) - 1, len(values) * percent // 100)]


if __name__ == "__main__":
    main()
