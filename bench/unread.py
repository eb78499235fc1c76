"""Measures the memory of an API with 1,000 open streams whose clients never read.

Meanwhile 500 events a second are appended.

Each kind of stream gets an API of its own: everybody's changes from now on, the same resumed from
9,000 positions back, and the events of one job with a long history. One admin opens all streams, so
LIMIT_STREAMS is off. With its default of 20, 1,000 streams take 50 people.
"""

import argparse
import asyncio
import contextlib
import re
import socket
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import uvloop

from bench.processes import ADMIN, add_people, an_employee, environment, memory_of, serving
from bench.record import add_save_option, publish
from bench.servers import Servers, servers
from bench.watching import opened, queue_for, written_elsewhere
from events.database import Database
from events.job import progress
from projections.changes import last_position
from projections.seal import seal_everything

JOBS = 200
BEHIND = 9_000  # positions; a client that is more than 10,000 behind gets `reset` and no changes
HISTORY, SIZE = 2_000, 4_000  # events of the job with the long history, and the characters of each result
RECEIVED = 4096  # bytes that the client's system takes for one connection
LOOK_EVERY = 0.1  # seconds
PAGE_OF_MEMORY = 4096  # bytes

NEW, RESUMED, ONE_JOB = "everybody's changes", f"everybody's changes, {BEHIND:,} positions back", "the events of one job"
KINDS = (NEW, RESUMED, ONE_JOB)


@dataclass(slots=True)
class Memory:
    """The memory of the API's process, and of the system's TCP buffers, in bytes."""

    before: int
    peak: int = 0
    in_system: int = 0
    end: int = 0
    connections: list[socket.socket] = field(default_factory=list)

    @property
    def open(self) -> int:
        return sum(not _is_closed(connection) for connection in self.connections)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.unread", description=__doc__)
    parser.add_argument("--streams", type=int, default=1000)
    parser.add_argument("--events", type=int, default=500, help="events a second")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--kind", choices=range(len(KINDS)), type=int, help="0: new, 1: resumed, 2: one job. Default: all")
    add_save_option(parser)
    options = parser.parse_args()
    rows = ["| streams of | before | peak | of each stream | end | system's buffers | open at the end |", "| --- " * 7 + "|"]
    with servers() as started:
        kinds = KINDS if options.kind is None else (KINDS[options.kind],)
        rows += [_row(kind, _measure(started, kind, options), options.streams) for kind in kinds]
        publish("unread", "\n".join(rows), versions=started.versions, save=options.save)


def _row(kind: str, memory: Memory, streams: int) -> str:
    sizes = [f"{size / 1e6:,.0f} MB" for size in (memory.before, memory.peak, memory.end, memory.in_system)]
    each = f"{(memory.peak - memory.before) / streams / 1e3:,.0f} KB"
    return f"| {kind} | {sizes[0]} | {sizes[1]} | {each} | {sizes[2]} | {sizes[3]} | {memory.open:,} |"


def _measure(started: Servers, kind: str, options: argparse.Namespace) -> Memory:
    with started.fresh(migrated=True) as url, environment(url, started.redis_url) as settings:
        token, jobs, headers = uvloop.run(_prepared(url, started.redis_url, kind))
        path = f"/api/jobs/{jobs[0]}/events" if kind == ONE_JOB else "/api/jobs/stream"
        request = "\r\n".join([f"GET {path} HTTP/1.1", "Host: 127.0.0.1", f"Authorization: Bearer {token}", *headers, "", ""])
        with serving(settings) as (pid, port):
            return uvloop.run(_unread(pid, port, request.encode(), _Load(url, started.redis_url, jobs[1:], options)))


async def _prepared(url: str, redis_url: str, kind: str) -> tuple[str, list[str], list[str]]:
    """Fills the database for this kind of stream.

    Returns a token, the ids of the jobs, and the headers of a request.
    """
    people = [an_employee() for _ in range(JOBS)]
    token, *_ = await add_people(url, [ADMIN, *people])
    jobs = await queue_for(url, redis_url, [person.id for person in people])
    headers = ["Accept: text/event-stream"]
    if kind == ONE_JOB:
        await _tell_a_long_history(url, redis_url, jobs[0])
    if kind == RESUMED:
        await written_elsewhere(url, redis_url, jobs, events=1500, seconds=BEHIND / 1500)
        headers.append(f"Last-Event-ID: {max(0, await _sealed(url) - BEHIND)}")
    return token, jobs, headers


async def _tell_a_long_history(url: str, redis_url: str, job_id: str) -> None:
    result = {"text": "x" * SIZE}
    async with opened(url, redis_url) as (store, view):
        (job,) = await view.get_many([job_id])
        for number in range(HISTORY):
            told = partial(progress, attempt=1, worker="bench", result=result | {"n": number})
            job = await store.append(job, told, actor="worker:bench")


async def _sealed(url: str) -> int:
    """Gives all events their positions. Returns the last one."""
    database = Database(url)
    await database.connect()
    try:
        await seal_everything(database)
        return await last_position(database)
    finally:
        await database.disconnect()


@dataclass(frozen=True, slots=True)
class _Load:
    url: str
    redis_url: str
    jobs: list[str]
    options: argparse.Namespace


async def _unread(pid: int, port: int, request: bytes, load: _Load) -> Memory:
    """Opens the streams, appends events, and watches the memory meanwhile."""
    await asyncio.sleep(1)
    memory = Memory(memory_of(pid))
    watching = asyncio.create_task(_watch(pid, memory, _tcp_memory()))
    for _ in range(load.options.streams):
        memory.connections.append(await _opened(port, request))
    await written_elsewhere(load.url, load.redis_url, load.jobs, load.options.events, load.options.seconds)
    watching.cancel()
    memory.end = memory_of(pid)
    return memory


async def _opened(port: int, request: bytes) -> socket.socket:
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVED)
    connection.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(connection, ("127.0.0.1", port))
    await loop.sock_sendall(connection, request)
    return connection


async def _watch(pid: int, memory: Memory, system_before: int) -> None:
    while True:
        memory.peak = max(memory.peak, memory_of(pid))
        memory.in_system = max(memory.in_system, _tcp_memory() - system_before)
        await asyncio.sleep(LOOK_EVERY)


def _tcp_memory() -> int:
    """Returns the bytes of all TCP buffers of this machine."""
    found = re.search(r"^TCP: .* mem (\d+)", Path("/proc/net/sockstat").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) * PAGE_OF_MEMORY


def _is_closed(connection: socket.socket) -> bool:
    """Returns whether the API has ended the connection.

    Reads and drops the bytes that wait.
    """
    with contextlib.suppress(BlockingIOError):
        try:
            while connection.recv(2**20):
                pass
        except ConnectionError:
            pass
        return True
    return False


if __name__ == "__main__":
    main()
