"""Simulates clients that queue, watch, cancel and retry jobs, and records the answers.

A client repeats a request that got no answer, with the same idempotency key.
"""

import asyncio
import random
import time
from collections.abc import Coroutine
from typing import Any

import httpx2 as httpx

from tests.chaos.fleet import Fleet
from tests.chaos.plan import Size
from tests.chaos.record import NO_ANSWER, Answer, Record, User
from tests.chaos.work import LOAD
from tests.http_client import http_client
from workers.chatwork.sandbox import Sandbox

PATIENCE = 6.0  # seconds that a client waits for an answer
MOST_PENDING = 300
# For this many seconds before the end of the load, no sync is queued. A later sync could still wait
# for Chatwork's request budget when all jobs must have ended.
QUIET_CHATWORK = 25.0
UNIQUE_KINDS = 12
ADMINS = 3  # how many admins queue syncs at the same time


class Clients:
    """Sends requests over HTTP, each to an API process chosen at random."""

    def __init__(self, fleet: Fleet, record: Record, dice: random.Random) -> None:
        self._fleet = fleet
        self._record = record
        self._dice = dice
        limits = httpx.Limits(max_connections=400, max_keepalive_connections=50)
        self._http = http_client(timeout=PATIENCE, limits=limits, trust_env=False)

    async def close(self) -> None:
        await self._http.aclose()

    async def ask(
        self,
        what: str,
        user: User,
        method: str,
        path: str,
        *,
        key: str | None = None,
        body: Any = None,
        wait: int | None = None,
    ) -> Answer:
        """Sends a request once, and records the request and its answer."""
        headers = {"Authorization": f"Bearer {user.token}"} if user.token else {}
        headers |= {"Idempotency-Key": key} if key else {}
        headers |= {"Prefer": f"wait={wait}"} if wait else {}
        url = f"http://127.0.0.1:{self._dice.choice(self._fleet.apis).port}{path}"
        began = time.time()
        try:
            response = await self._http.request(method, url, headers=headers, json=body, timeout=PATIENCE + (wait or 0))
            answer = Answer(response.status_code, response.json() if response.content else None)
        except Exception:
            # A broken connection can raise many kinds of errors. All of them mean that no answer
            # came.
            answer = Answer(NO_ANSWER)
        self._record.request(what, user, path, key, answer, began)
        return answer

    async def insist(self, what: str, user: User, method: str, path: str, *, tries: int, **rest: Any) -> Answer:
        """Repeats a request until its answer does not ask for another try."""
        answer = Answer(NO_ANSWER)
        for tried in range(tries):
            answer = await self.ask(what, user, method, path, **rest)
            if not answer.try_again:
                break
            await asyncio.sleep(self._dice.uniform(0.1, 0.8) * min(1 + tried / 2, 4))
        return answer


class Load:
    def __init__(
        self, clients: Clients, record: Record, users: list[User], sandbox: Sandbox, size: Size, dice: random.Random
    ) -> None:
        self._clients = clients
        self._record = record
        self._people = [user for user in users if not user.is_admin]
        self._admin = next(user for user in users if user.is_admin)
        self._sandbox = sandbox
        self._size = size
        self._dice = dice
        self._number = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._ends_at = 0.0
        self._goes_on = True

    @property
    def pending(self) -> int:
        return len(self._tasks)

    async def run(self) -> None:
        """Queues jobs until `end` is called.

        The rate is the number of jobs that are not queued yet, divided by the time that is left.
        """
        self._ends_at = time.monotonic() + self._size.seconds
        others = [
            asyncio.create_task(work) for work in (self._retry_some(), *(self._sync_with_chatwork() for _ in range(ADMINS)))
        ]
        usual = self._size.jobs / self._size.seconds
        while self._goes_on:
            left = self._ends_at - time.monotonic()
            missing = 1.05 * self._size.jobs - len(self._record.accepted) - self.pending / 2
            rate = min(max(missing / max(left, 5), 0.3 * usual), 2.5 * usual)
            if self.pending < MOST_PENDING:
                self._go(self._one_job())
            await asyncio.sleep(self._dice.expovariate(rate))
        for other in others:
            other.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    def end(self) -> None:
        """Stops `run`: no further job is queued."""
        self._goes_on = False

    async def settled(self, *, within: float) -> bool:
        """Waits until all clients have finished. Returns False if `within` seconds are not enough."""
        until = time.monotonic() + within
        while self._tasks and (left := until - time.monotonic()) > 0:
            await asyncio.wait(set(self._tasks), timeout=left)
        return not self._tasks

    def _go(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.result()  # raises the task's error, because an error in the campaign's own code must be seen

    async def _one_job(self) -> None:
        dice, self._number = self._dice, self._number + 1
        number = self._number
        user = dice.choice(self._people)
        type = dice.choices(list(LOAD), [weight for weight, _ in LOAD.values()])[0]
        body, key = self._body(type, number), f"key-{number}"
        if dice.random() < 0.06:
            # Sends the same request twice at once, as an impatient client does.
            self._go(self._queue_again(user, type, key, body, after=0.0))
        job_id = await self._queue(user, type, key, body, wait=5 if dice.random() < 0.05 else None)
        if job_id is None:
            return
        if dice.random() < 0.05:
            self._go(self._queue_again(user, type, key, body, after=dice.uniform(0, 20)))
        if type == "chaos_deaf" and dice.random() < 0.3:
            await asyncio.sleep(dice.uniform(0, 3))
            await self._force_fail(job_id)
        elif dice.random() < 0.14:
            await asyncio.sleep(dice.choice((0.0, 0.05, dice.uniform(0, 5))))
            await self._cancel(user, job_id)
        elif dice.random() < 0.15:
            await asyncio.sleep(dice.uniform(0, 6))
            await self._look(user, job_id)

    def _body(self, type: str, number: int) -> dict[str, Any]:
        if type == "chaos_unique":
            kind = self._dice.randrange(UNIQUE_KINDS)
            return {"mark": f"unique-{kind}", "seconds": kind / 6}
        mark = f"mark-{number}"
        self._record.marks.add(mark)
        return {"mark": mark, "seconds": round(self._dice.uniform(*LOAD[type][1]), 2)}

    async def _queue(self, user: User, type: str, key: str, body: dict[str, Any], *, wait: int | None = None) -> str | None:
        path = f"/api/chaos/{type}"
        answer = await self._clients.insist("queue", user, "POST", path, tries=60, key=key, body=body, wait=wait)
        if not answer.ok:
            return None
        job_id, status = str(answer.document["jobId"]), str(answer.document["status"])
        self._record.accepted[job_id] = type
        self._record.told[user.id, key].add(job_id)
        if wait and status not in ("queued", "processing"):
            self._record.ends_told.append((job_id, status))
        return job_id

    async def _queue_again(self, user: User, type: str, key: str, body: dict[str, Any], *, after: float) -> None:
        await asyncio.sleep(after)
        await self._queue(user, type, key, body)

    async def _cancel(self, user: User, job_id: str) -> None:
        self._record.sent_cancels[job_id] += 3
        answer = await self._clients.insist("cancel", user, "POST", f"/api/jobs/{job_id}/cancel", tries=3)
        if answer.ok:
            self._record.canceled.append((job_id, user.id, answer.document["job"]["seq"]))
            self._record.show(answer.document["job"])

    async def _force_fail(self, job_id: str) -> None:
        path, body = f"/api/jobs/{job_id}/force-fail", {"reason": "an admin canceled the job"}
        answer = await self._clients.insist("force-fail", self._admin, "POST", path, tries=3, body=body)
        if answer.ok:
            self._record.force_failed.append((job_id, self._admin.id, answer.document["job"]["seq"]))
            self._record.show(answer.document["job"])

    async def _look(self, user: User, job_id: str) -> None:
        answer = await self._clients.insist("look", user, "GET", f"/api/jobs/{job_id}", tries=2)
        if answer.ok:
            self._record.show(answer.document["job"])

    async def _retry_some(self) -> None:
        """Retries a few failed and canceled jobs, as a user does who presses Retry."""
        while True:
            await asyncio.sleep(self._dice.uniform(0.5, 1.5))
            user, status = self._dice.choice(self._people), self._dice.choice(("failed", "failed", "canceled"))
            page = await self._clients.ask("list", user, "GET", f"/api/jobs?status={status}&limit=30")
            if not page.ok or not page.document["jobs"]:
                continue
            for job in page.document["jobs"]:
                self._record.show(job)
            self._go(self._retry(user, self._dice.choice(page.document["jobs"])["id"]))

    async def _retry(self, user: User, job_id: str) -> None:
        self._number += 1
        path = f"/api/jobs/{job_id}/retry"
        answer = await self._clients.insist("retry", user, "POST", path, tries=3, key=f"retry-{self._number}")
        if answer.ok:
            self._record.retried.append((job_id, user.id, answer.document["job"]["seq"]))
            self._record.show(answer.document["job"])

    async def _sync_with_chatwork(self) -> None:
        """Adds messages to rooms of the Chatwork sandbox, and queues syncs as an admin."""
        while time.monotonic() < self._ends_at - QUIET_CHATWORK:
            await asyncio.sleep(self._dice.uniform(0.5, 1.5))
            room = self._dice.choice(list(self._sandbox.rooms))
            for _ in range(self._dice.randrange(4)):
                self._sandbox.say(room, f"message {self._dice.random()}")
            chosen = self._dice.choice((room, room, room, None))
            await self.sync(f"messages/sync?roomId={chosen}" if chosen else self._dice.choice(("rooms/sync", "messages/sync")))

    async def sync(self, what: str) -> str | None:
        self._number += 1
        key = f"sync-{self._number}"
        answer = await self._clients.insist("sync", self._admin, "POST", f"/api/chatwork/{what}", tries=60, key=key)
        if not answer.ok:
            return None
        job_id = str(answer.document["jobId"])
        self._record.accepted[job_id] = "chatwork"
        self._record.told[self._admin.id, key].add(job_id)
        return job_id
