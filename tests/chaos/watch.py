"""Compares snapshots of view and log, and reads the whole log, while faults go on."""

import asyncio
import hashlib
from contextlib import suppress
from typing import Any

import orjson

from tests.chaos import rows
from tests.chaos.history import Event, Violation, differences, fold, text
from tests.chaos.load import Clients
from tests.chaos.record import User

PAGE = 1000


class Snapshots:
    """Takes snapshots of the database, and compares the view with the log in each.

    In each snapshot, a recently changed job must be in the view as its events say.
    """

    def __init__(self, url: str) -> None:
        self.taken = 0
        self.compared = 0
        self.violations: list[Violation] = []
        self._url = url

    async def run(self) -> None:
        """Takes snapshots until it is canceled. Reconnects after an outage of PostgreSQL."""
        while True:
            with suppress(*rows.AWAY):
                connection = await rows.connect(self._url)
                try:
                    while True:
                        await self._take(connection)
                        await asyncio.sleep(0.7)
                finally:
                    connection.terminate()
            await asyncio.sleep(0.3)

    async def _take(self, connection: rows.Connection) -> None:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            ids = [row["id"] for row in await connection.fetch(rows.RECENT)]
            shown = await rows.view(connection, ids)
            histories = await rows.histories(connection, ids)
            doubled = await connection.fetch(rows.DOUBLED_UNIQUE)
        self.taken += 1
        self.compared += len(shown)
        self.violations += [
            Violation("unique", None, f"two active jobs have the unique key {row['unique_key']}") for row in doubled
        ]
        for job_id, state in shown.items():
            events = histories.get(job_id)
            if not events:
                self.violations.append(Violation(3, job_id, "in a snapshot, the job is in the view and not in the log"))
                continue
            found = differences(fold(events).state, state)
            self.violations += [Violation(3, job_id, f"in a snapshot at seq {state['seq']}: {detail}") for detail in found]


class LogReader:
    """Reads the log by `GET /api/events` as an admin, over any API process.

    Each read starts after the last position, so no event is read twice.
    """

    def __init__(self, clients: Clients, admin: User) -> None:
        self.digests: list[bytes] = []
        """The digests of the events at positions 1, 2, 3 and so on."""
        self.violations: list[Violation] = []
        self._clients = clients
        self._admin = admin

    async def run(self) -> None:
        while True:
            if await self._read_on() < PAGE:
                await asyncio.sleep(0.5)

    async def finish(self, last: int) -> None:
        """Reads on until it has `last` events, with at most 200 requests."""
        for _ in range(200):
            if len(self.digests) >= last:
                return
            await self._read_on()
            await asyncio.sleep(0.05)

    async def _read_on(self) -> int:
        after = len(self.digests)
        answer = await self._clients.ask("log", self._admin, "GET", f"/api/events?after={after}&limit={PAGE}")
        if not answer.ok:
            return 0
        events = answer.document["events"]
        answer.document["events"] = len(events)
        for expected, event in enumerate(events, start=after + 1):
            if event["position"] != expected:
                detail = f"a reader of the log was given position {event['position']} where {expected} comes next"
                self.violations.append(Violation(9, event["jobId"], detail))
            self.digests.append(digest_of_document(event))
        return len(events)


def digest_of_document(event: dict[str, Any]) -> bytes:
    return _digest([event[key] for key in ("jobId", "seq", "type", "attempt", "actor", "data", "at")])


def digest_of_row(event: Event) -> bytes:
    return _digest([event.job_id, event.seq, event.type, event.attempt, event.actor, event.data, text(event.at)])


def _digest(values: list[Any]) -> bytes:
    return hashlib.blake2b(orjson.dumps(values, option=orjson.OPT_SORT_KEYS), digest_size=12).digest()
