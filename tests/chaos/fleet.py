"""Starts, kills, freezes and restarts the processes of the service.

It records how each process ended.
"""

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos.history import Violation
from tests.chaos.network import Line

ROOT = Path(__file__).parents[2]
GRACE = 2.0  # seconds: WORKER_SHUTDOWN_GRACE_SECONDS of every process
ENDS_WITHIN = 40.0  # seconds from SIGTERM until a process must have ended, also during other faults
CAME_UP = (b"worker started", b"Rireki is at")
"""The log lines of a process that has started.

Before that, a process may end by itself: it does so if PostgreSQL does not answer.
"""


@dataclass(slots=True)
class Life:
    """One process from start to end. Times are Unix seconds."""

    name: str
    pid: int
    began: float
    log_begins: int
    killed: float | None = None
    stopped: int = 0
    terminated: float | None = None
    ended: float | None = None
    status: int | None = None

    @property
    def left_in_order(self) -> bool:
        """Whether the process got one SIGTERM and then ended with status 0."""
        return self.terminated is not None and self.killed is None and self.status == 0


@dataclass(slots=True)
class Member:
    """An API or a worker that is always replaced: a new process starts when the old one ends."""

    name: str
    kind: str  # "api" or "worker"
    environment: dict[str, str]
    postgres: Line
    redis: Line
    logs: Path
    skewed: bool = False
    port: int = 0
    busy: bool = False  # whether a fault is killing or restarting this process
    frozen: bool = False
    process: "subprocess.Popen[bytes] | None" = None
    lives: list[Life] = field(default_factory=list)

    @property
    def life(self) -> Life:
        return self.lives[-1]

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None and not self.frozen

    def start(self, skew: float) -> None:
        environment = os.environ | self.environment | {"CHAOS_CLOCK_SKEW": str(skew)}
        with self._log.open("ab") as log:
            log_begins = log.tell()
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.chaos.processes", self.kind],
                cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        self.frozen = False
        self.lives.append(Life(self.name, self.process.pid, time.time(), log_begins))

    @property
    def came_up(self) -> bool:
        with self._log.open("rb") as log:
            log.seek(self.life.log_begins)
            said = log.read()
        return any(word in said for word in CAME_UP)

    def has_said(self, what: bytes) -> int:
        """Returns how often `what` is in the logs of all processes of this member."""
        return self._log.read_bytes().count(what)

    @property
    def _log(self) -> Path:
        return self.logs / f"{self.name}.log"

    def send(self, what: signal.Signals) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(what)

    def kill(self) -> None:
        self.life.killed = time.time()
        self.send(signal.SIGKILL)


class Fleet:
    def __init__(self, dice: random.Random) -> None:
        self.members: list[Member] = []
        self.violations: list[Violation] = []
        self.starts = 0
        self.skewed_starts = 0
        self._dice = dice

    @property
    def workers(self) -> list[Member]:
        return [member for member in self.members if member.kind == "worker"]

    @property
    def apis(self) -> list[Member]:
        return [member for member in self.members if member.kind == "api"]

    @property
    def lives(self) -> list[Life]:
        return [life for member in self.members for life in member.lives]

    def start(self, member: Member) -> None:
        skew = self._dice.choice((-1, 1)) * self._dice.uniform(60, 900) if member.skewed else 0.0
        self.starts += 1
        self.skewed_starts += bool(skew)
        member.start(skew)

    async def kill(self, member: Member, *, down: float) -> None:
        member.busy = True
        try:
            member.kill()
            await self._ended(member, within=10)
            await asyncio.sleep(down)
            self.start(member)
        finally:
            member.busy = False

    async def restart(self, member: Member, *, twice: bool = False) -> None:
        """Sends SIGTERM, once or twice, waits until the process has ended, and starts a new one."""
        member.busy = True
        try:
            member.life.terminated = time.time()
            member.send(signal.SIGTERM)
            if twice:
                await asyncio.sleep(0.3)
                member.life.killed = time.time()
                member.send(signal.SIGTERM)
            if not await self._ended(member, within=ENDS_WITHIN):
                detail = f"{member.name} (pid {member.life.pid}) still ran {ENDS_WITHIN:g} s after SIGTERM"
                self.violations.append(Violation("stopping", None, detail))
                member.kill()
                await self._ended(member, within=10)
            self.start(member)
        finally:
            member.busy = False

    async def freeze(self, member: Member, seconds: float) -> bool:
        """Stops the process by SIGSTOP for `seconds`, then lets it run on by SIGCONT.

        Returns False if the process was killed meanwhile.
        """
        process = member.process
        member.send(signal.SIGSTOP)
        member.frozen = True
        member.life.stopped += 1
        try:
            await asyncio.sleep(seconds)
        finally:
            alive = process is not None and process is member.process and process.poll() is None
            if alive:
                member.send(signal.SIGCONT)
                member.frozen = False
        return alive

    async def watch(self) -> None:
        """Restarts each process that ends by itself, as a supervisor does, until it is canceled.

        Ending by itself is a violation, unless the process had not finished its start (`CAME_UP`).
        """
        while True:
            await asyncio.sleep(0.3)
            for member in self.members:
                if member.busy or member.process is None or (status := member.process.poll()) is None:
                    continue
                life = member.life
                life.ended, life.status = time.time(), status
                if member.came_up:
                    detail = (
                        f"{member.name} (pid {life.pid}) ended by itself at {_clock(life.ended)}, status {status}: see its log"
                    )
                    self.violations.append(Violation("process", None, detail))
                self.start(member)

    async def end(self) -> list[Life]:
        """Sends SIGTERM to every process and waits until all have ended.

        Returns the names of those that did not end in order.
        """
        asked = [member for member in self.members if member.process is not None and member.process.poll() is None]
        for member in asked:
            member.busy = True
            member.life.terminated = time.time()
            member.send(signal.SIGCONT)
            member.send(signal.SIGTERM)
        for member in asked:
            if not await self._ended(member, within=15):
                self.kill_now(member)
        return [member.life for member in asked if not member.life.left_in_order]

    def kill_now(self, member: Member) -> None:
        if member.process is not None:
            member.send(signal.SIGKILL)
            with suppress(subprocess.TimeoutExpired):
                member.life.status = member.process.wait(10)

    async def _ended(self, member: Member, *, within: float) -> bool:
        process, life = member.process, member.life
        until = time.monotonic() + within
        while process is not None and process.poll() is None:
            if time.monotonic() > until:
                return False
            await asyncio.sleep(0.02)
        life.ended, life.status = time.time(), None if process is None else process.returncode
        return True


def _clock(time_of_day: float) -> str:
    return time.strftime("%H:%M:%S", time.gmtime(time_of_day))
