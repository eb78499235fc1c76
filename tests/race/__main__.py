"""Lets 16 writers change 200 jobs over connections that break, while checks run.

`python -m tests.race --decisions 200000` prints the outcome. It exits with 1 if view and log ever
differed, if a write was lost or written twice, if a history broke a rule, or if PostgreSQL met a
deadlock. It uses the server of DATABASE_URL, where it needs the right to create databases. Without
DATABASE_URL it starts an embedded PostgreSQL with fsync.
"""

import argparse
import asyncio
import multiprocessing
import os
import random
import secrets
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path

import asyncpg
import uvloop

from events.database import Connection, connect
from events.history import histories, job_from
from events.job import Job, Recorded, fold
from events.statements import JOB_COLUMNS
from migrations.migrate import migrate
from service.embedded.postgres import EmbeddedPostgres
from tests.conftest import administer, with_database
from tests.histories import open_store, until
from tests.race.check import what_is_wrong
from tests.race.sealers import sealing_beside, wrong_roots
from tests.race.writers import HOT, TYPE, Told, new_job, race_in_a_process

ENDED = f"select {JOB_COLUMNS} from jobs where type = $1 and status = 'completed' order by created_at desc limit 50"
ALL = f"select {JOB_COLUMNS} from jobs where type = $1"
HOW_MANY = "select job_id, count(*) as events from job_events where job_id = any($1) group by job_id"

TERMINATE = """
select count(pg_terminate_backend(pid)) from (
    select pid from pg_stat_activity where datname = current_database() and application_name = 'rireki'
    order by state <> 'active', random() limit $1
) as chosen
"""
OF_THE_SERVICE = "select count(*) from pg_stat_activity where datname = current_database() and application_name = 'rireki'"
DEADLOCKS = "select deadlocks from pg_stat_database where datname = current_database()"
LAST_EVENT = "select last_value from job_event_ids"
EVENTS = "select count(*) from job_events"
STARTED = """
select e.job_id, e.attempt, e.data->>'worker' as worker, j.status <> 'processing' or j.attempt > e.attempt as over
from job_events e join jobs j on j.id = e.job_id where e.type = 'started' and e.request_id is null
"""

MOST_DIFFERENCES = 20  # how many differences of each kind are reported


@dataclass(frozen=True, slots=True)
class Settings:
    decisions: int = 200_000
    jobs: int = 200
    writers: int = 16
    writers_of_a_store: int = 2
    processes: int = 4
    checkers: int = 2
    sealers: int = 2
    terminate_every: int = 150  # average number of events between two terminations of connections; 0 means never
    cut_every: int = 200  # average number of decisions between two cut connections; 0 means never
    seed: int = 1


@dataclass
class Outcome:
    """The outcome of a race.

    If all is well, `differences` and `wrong` are empty and `deadlocks` is 0.
    """

    decisions: int = 0
    refused: int = 0
    decided_again: int = 0
    events: int = 0
    seconds: float = 0.0
    terminated: int = 0
    cut: int = 0
    sent_again: int = 0
    snapshots: int = 0
    compared: int = 0
    folded: int = 0
    published: int = 0
    deadlocks: int = 0
    differences: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        return not (self.differences or self.wrong or self.deadlocks)


async def race(url: str, settings: Settings) -> Outcome:
    """Runs a race in the migrated, empty database at `url`."""
    outcome = Outcome()
    async with open_store(url) as store:
        await asyncio.gather(*(store.create(new_job(), actor="system:race") for _ in range(settings.jobs)))
    over = asyncio.Event()
    beside = [asyncio.create_task(_keep_comparing(url, outcome, over)) for _ in range(settings.checkers)]
    if settings.terminate_every:
        beside.append(asyncio.create_task(_keep_terminating(url, settings, outcome, over)))
    began = time.monotonic()
    try:
        async with sealing_beside(url, settings.sealers) as published:
            told = await _all_writers(url, settings)
    finally:
        outcome.seconds = time.monotonic() - began
        over.set()
        await asyncio.gather(*beside)
    roots = await wrong_roots(url, published)
    await _look_back(url, told, outcome)
    outcome.published, outcome.wrong = len(published), [*outcome.wrong, *roots]
    return outcome


async def _all_writers(url: str, settings: Settings) -> list[Told]:
    names = [f"w{n}" for n in range(settings.writers)]
    each = -(-settings.decisions // settings.writers)
    stores = [names[n : n + settings.writers_of_a_store] for n in range(0, len(names), settings.writers_of_a_store)]
    loop = asyncio.get_running_loop()
    # The processes are spawned, because forked processes would share this process's connections.
    with ProcessPoolExecutor(settings.processes, multiprocessing.get_context("spawn")) as pool:
        return await asyncio.gather(
            *(
                loop.run_in_executor(
                    pool, race_in_a_process, url, stores[n :: settings.processes], each, settings.cut_every, settings.seed + n
                )
                for n in range(settings.processes)
            )
        )


async def _keep_comparing(url: str, outcome: Outcome, over: asyncio.Event) -> None:
    connection = await connect(url, application_name="the race's checker", idle_in_transaction_session_timeout="0")
    while not over.is_set():
        for jobs in (HOT, HOT, HOT, ENDED):
            await compare(connection, jobs, outcome)
    await connection.close()


async def compare(connection: Connection, jobs: str, outcome: Outcome) -> None:
    """Compares these jobs in the view with their events, in one snapshot.

    Also checks that the `seq` of a job equals its number of events.
    """
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        shown = {row["id"]: job_from(row) for row in await connection.fetch(jobs, TYPE)}
        counted = {row["job_id"]: row["events"] for row in await connection.fetch(HOW_MANY, list(shown))}
        logged: dict[str, list[Recorded]] = {}
        async for event in histories(connection, list(shown)):
            logged.setdefault(event.job_id, []).append(event)
    outcome.snapshots += 1
    outcome.compared += len(shown)
    outcome.folded += sum(counted.values())
    for id, job in shown.items():
        if job.seq != counted.get(id):
            _differs(outcome, f"{id}: seq is {job.seq} in the view, but the log has {counted.get(id)} events")
        for name, in_view, by_log in _differing(job, fold(logged.get(id, []))):
            _differs(outcome, f"{id}: {name} is {in_view!r} in the view and {by_log!r} by the log")
        await asyncio.sleep(0)


def _differing(shown: Job, folded: Job | None) -> list[tuple[str, object, object]]:
    if folded is None:
        return [("everything", shown, None)]
    both = zip(Job._fields, shown, folded, strict=True)
    return [(name, in_view, by_log) for name, in_view, by_log in both if in_view != by_log]


def _differs(outcome: Outcome, how: str) -> None:
    if len(outcome.differences) < MOST_DIFFERENCES:
        outcome.differences.append(how)


async def _keep_terminating(url: str, settings: Settings, outcome: Outcome, over: asyncio.Event) -> None:
    """Terminates some of the writers' connections at random, and sometimes all of them."""
    chance = random.Random(settings.seed)
    connection = await connect(url, application_name="the race's fault")
    # The next termination waits for a number of written events, not for a time. Otherwise a slow
    # machine could write nothing between two terminations.
    next_at = chance.uniform(0, 2 * settings.terminate_every)
    while not over.is_set():
        if await connection.fetchval(LAST_EVENT) >= next_at:
            how_many = 1_000 if chance.random() < 0.05 else chance.randint(1, 4)
            outcome.terminated += await connection.fetchval(TERMINATE, how_many)
            next_at = await connection.fetchval(LAST_EVENT) + chance.uniform(0, 2 * settings.terminate_every)
        await asyncio.sleep(0.01)
    await connection.close()


async def _look_back(url: str, told: Sequence[Told], outcome: Outcome) -> None:
    """Checks all histories, and all replies to the writers, after the writers have ended."""
    patient = {"idle_in_transaction_session_timeout": "0", "statement_timeout": "0"}
    connection = await connect(url, application_name="the race's checker", **patient)
    await compare(connection, ALL, outcome)
    outcome.wrong, requests = await what_is_wrong(connection)
    outcome.wrong += _not_as_told(told, requests)
    outcome.wrong += _not_started_as_told(told, await connection.fetch(STARTED))
    outcome.events = await connection.fetchval(EVENTS)
    outcome.deadlocks = await deadlocks(connection)
    await connection.close()
    outcome.decisions = sum(len(each.accepted) + len(each.started) for each in told)
    outcome.refused = sum(each.refused for each in told)
    outcome.decided_again = sum(each.decided_again for each in told)
    outcome.cut = sum(each.cut for each in told)
    outcome.sent_again = sum(each.sent_again for each in told)


def _not_as_told(told: Sequence[Told], requests: dict[str, int]) -> list[str]:
    """Finds replies to the writers that the log contradicts.

    An accepted decision must be in the log exactly once, with all its events. A refused decision
    must not be in the log.
    """
    accepted = {asked: events for each in told for asked, (_, _, events) in each.accepted.items()}
    unexpected = [error for each in told for error in each.unexpected]
    lost = [f"{asked} was accepted with {n} events, but the log has {requests.get(asked, 0)}" for asked, n in accepted.items()
            if requests.get(asked, 0) != n]  # fmt: skip
    ghosts = [f"{asked} was refused, but it is in the log" for asked in requests if asked and asked not in accepted]
    return unexpected[:MOST_DIFFERENCES] + lost[:MOST_DIFFERENCES] + ghosts[:MOST_DIFFERENCES]


def _not_started_as_told(told: Sequence[Told], rows: Sequence[asyncpg.Record]) -> list[str]:
    """Returns the differences between the starts that the store accepted and those in the log."""
    accepted = {place: worker for each in told for place, worker in each.started.items()}
    log = {(row["job_id"], row["attempt"]): row["worker"] for row in rows}
    over = {(row["job_id"], row["attempt"]) for row in rows if row["over"]}
    lost = [f"{place}: {worker} was told that it started the attempt, but the log says {log.get(place)}"
            for place, worker in accepted.items() if log.get(place) != worker]  # fmt: skip
    ghosts = [f"{place} was started by {worker} in the log, but no reply said so" for place, worker in log.items()
              if place not in accepted and place not in over]  # fmt: skip
    return lost[:MOST_DIFFERENCES] + ghosts[:MOST_DIFFERENCES]


async def deadlocks(connection: Connection) -> int:
    """Returns the number of deadlocks in this database.

    Waits until the service has closed its connections, because PostgreSQL counts a deadlock only when
    the connection closes.
    """

    async def alone() -> bool:
        return not await connection.fetchval(OF_THE_SERVICE)

    await until(alone)
    return int(await connection.fetchval(DEADLOCKS))


def main() -> int:
    settings = _settings()
    # SIGTERM raises SystemExit, so that the embedded server is stopped, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with _server() as (url, server_log), _database(url) as own:
        outcome = uvloop.run(race(own, settings))
        logged = server_log.read_text(errors="replace").count("deadlock detected") if server_log else None
    _print(settings, outcome, logged)
    return 0 if outcome.is_clean and not logged else 1


def _settings() -> Settings:
    parser = argparse.ArgumentParser(prog="python -m tests.race", description=__doc__)
    for each in fields(Settings):
        parser.add_argument(f"--{each.name.replace('_', '-')}", type=type(each.default), default=each.default)
    return Settings(**vars(parser.parse_args()))


def _print(settings: Settings, outcome: Outcome, logged: int | None) -> None:
    told = {
        "seed": settings.seed,
        "writers": f"{settings.writers} in {settings.processes} processes, {settings.jobs} hot jobs",
        "decisions": f"{outcome.decisions:,} in {outcome.seconds:.0f} s, {outcome.decisions / outcome.seconds:,.0f} a second",
        "made again because the job had changed": f"{outcome.decided_again:,}",
        "refused": f"{outcome.refused:,}",
        "events in the log": f"{outcome.events:,}",
        "connections terminated by PostgreSQL": f"{outcome.terminated:,}",
        "connections cut at a write": f"{outcome.cut:,}",
        "batches without an answer, sent again": f"{outcome.sent_again:,}",
        "snapshots": f"{outcome.snapshots:,}",
        "jobs compared in them": f"{outcome.compared:,}, {outcome.folded:,} events folded",
        "sizes of the tree whose root was published": f"{outcome.published:,}",
        "differences": len(outcome.differences),
        "broken rules, lost or doubled writes": len(outcome.wrong),
        "deadlocks": f"{outcome.deadlocks}" + ("" if logged is None else f", in the server's log {logged}"),
    }
    width = max(map(len, told))
    for name, value in told.items():
        print(f"{name:<{width}}  {value}")
    for each in outcome.differences + outcome.wrong:
        print(each)


@contextmanager
def _server() -> Iterator[tuple[str, Path | None]]:
    if url := os.environ.get("DATABASE_URL"):
        yield url, None
        return
    home = Path(tempfile.mkdtemp(prefix="rireki-race-"))
    try:
        server = EmbeddedPostgres.start(home)
        try:
            yield server.url(), next(home.glob("*/server.log"))
        finally:
            server.close()
    finally:
        shutil.rmtree(home, ignore_errors=True)


@contextmanager
def _database(url: str) -> Iterator[str]:
    name = f"rireki_race_{secrets.token_hex(4)}"
    own = with_database(url, name)
    administer(url, f"create database {name}")
    try:
        migrate(own)
        yield own
    finally:
        administer(url, f"drop database if exists {name} with (force)")


if __name__ == "__main__":
    sys.exit(main())
