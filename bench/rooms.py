"""Measures a sync of all rooms of a file, with the sandbox, the API, Redis and a worker.

The report gives the time, the worker's CPU and memory, and whether each message was stored exactly
once.
"""

import asyncio
import contextlib
import gzip
import hashlib
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import httpx2 as httpx
import orjson

from workers.chatwork.sandbox import Sandbox

EMAIL, PASSWORD = "bench@example.com", "a password for the benchmark"
LIFTED = "1000000"  # CHATWORK_RATE_LIMIT for the benchmark; it is so high that no request ever waits
LONGEST = 300.0  # seconds that a sync may take

# Selects a checksum over all messages in order, to compare the table with the file.
STORED = """
select count(*) as messages, count(distinct (room_id, message_id)) as different,
       md5(string_agg(room_id || '/' || message_id || '/' || md5(body), E'\n' order by room_id collate "C", message_id collate "C"))
       as checksum
from chatwork_messages
"""


async def sync_rooms(url: str, redis_url: str, file: Path) -> str:
    """Runs `rireki serve` and `rireki worker` on this database and this Redis.

    Returns a Markdown table.
    """
    messages, checksum = await asyncio.to_thread(_expected, file)
    async with Sandbox(file, limit=int(LIFTED)) as sandbox:
        with tempfile.TemporaryDirectory(prefix="rireki-bench-") as home:
            environment = os.environ | {
                "DATABASE_URL": url, "REDIS_URL": redis_url, "RIREKI_HOME": home, "PORT": "0", "JOB_WORKER_ENABLED": "false",
                "CHATWORK_API_BASE_URL": sandbox.base_url, "CHATWORK_API_TOKEN": sandbox.token, "CHATWORK_RATE_LIMIT": LIFTED,
            }  # fmt: skip
            _rireki("users", "add", EMAIL, "--role", "admin", "--password-stdin", environment=environment)
            with _running("serve", environment) as serve, _running("worker", environment) as worker:
                address = await asyncio.to_thread(_address, serve)
                async with httpx.AsyncClient(base_url=address, timeout=90) as api:
                    (await api.post("/api/auth/login", json={"email": EMAIL, "password": PASSWORD})).raise_for_status()
                    rooms, seconds_rooms = await _sync(api, "/api/chatwork/rooms/sync")
                    first, seconds = await _sync(api, "/api/chatwork/messages/sync")
                    second, seconds_again = await _sync(api, "/api/chatwork/messages/sync")
                memory = _peak_megabytes(worker.pid)
    stored = await _stored(url)
    fetched_again = sum(room["fetched"] for room in second["rooms"])
    exactly_once = (stored["messages"], stored["different"], stored["checksum"]) == (messages, messages, checksum)
    rows = (
        ("rooms found", f"{rooms['total']:,}", f"{seconds_rooms:.1f} s", ""),
        ("messages fetched", f"{sum(room['fetched'] for room in first['rooms']):,}", f"{seconds:.1f} s", "under 30 s"),
        ("found by a second sync", f"{fetched_again:,}", f"{seconds_again:.1f} s", "nothing"),
        ("stored exactly once, same checksum of bodies", "yes" if exactly_once else f"no: {dict(stored)}", "", "yes"),
        ("peak memory of the worker", f"{memory:.0f} MB", "", "under 200 MB"),
    )
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join(["", "| the real rooms | is | in | wanted |", "| --- | --- | --- | --- |", *lines, ""])


def _expected(file: Path) -> tuple[int, str]:
    """Returns the number of messages in the file, and the same checksum as `STORED` selects."""
    lines: list[tuple[str, str, str]] = []
    with gzip.open(file, "rb") if file.suffix == ".gz" else file.open("rb") as rooms:
        for line in rooms:
            room = orjson.loads(line)
            for message in room["messages"][-100:]:
                body = hashlib.md5(message["body"].encode(), usedforsecurity=False).hexdigest()
                lines.append((str(room["room_id"]), str(message["message_id"]), body))
    lines.sort()
    return len(lines), hashlib.md5("\n".join("/".join(line) for line in lines).encode(), usedforsecurity=False).hexdigest()


async def _sync(api: httpx.AsyncClient, path: str) -> tuple[dict[str, Any], float]:
    """Runs a sync. Returns its result and the seconds from the request to its end."""
    began = time.perf_counter()
    queued = await api.post(path, headers={"Prefer": "wait=60"})
    queued.raise_for_status()
    while time.perf_counter() - began < LONGEST:
        job = (await api.get(f"/api/jobs/{queued.json()['jobId']}")).json()["job"]
        if job["status"] == "completed":
            return job["result"], time.perf_counter() - began
        if job["status"] in ("failed", "canceled"):
            raise RuntimeError(f"the sync ended as {job['status']}: {job['error']}")
        await asyncio.sleep(0.1)
    raise TimeoutError(f"the sync did not end within {LONGEST:.0f} s")


async def _stored(url: str) -> asyncpg.Record:
    connection = await asyncpg.connect(url)
    try:
        row = await connection.fetchrow(STORED)
        assert row is not None
        return row
    finally:
        await connection.close()


def _rireki(*arguments: str, environment: dict[str, str]) -> None:
    subprocess.run(
        [sys.executable, "-m", "service.cli", *arguments], input=f"{PASSWORD}\n", env=environment, check=True, text=True,
        stdout=subprocess.DEVNULL,
    )  # fmt: skip


@contextlib.contextmanager
def _running(command: str, environment: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "service.cli", command], env=environment, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.terminate()
        process.wait(60)


def _address(serve: subprocess.Popen[str]) -> str:
    assert serve.stdout is not None
    for line in serve.stdout:
        if found := re.search(r"http://\S+", line):
            return found[0]
    raise RuntimeError("the API did not start")


def _peak_megabytes(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) / 1024
