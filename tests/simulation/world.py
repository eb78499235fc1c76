"""One run of a seed: processes and clients under faults, then a calm time, then checks.

During the calm time, no fault is made and every job must end.
"""

import asyncio
import contextlib
import gc
import sys
import warnings
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from dataclasses import astuple, dataclass
from functools import partial
from random import Random
from typing import Any, TypeVar
from unittest.mock import patch

import structlog

from events.database import DATABASE_ERRORS
from events.job import NotAllowed
from events.writes import AlreadyActive
from tests.simulation import clock
from tests.simulation.checks import Checks
from tests.simulation.faults import Faults
from tests.simulation.handlers import DEADLINE, KINDS, Script, job_types
from tests.simulation.loop import PROCESS, START, WORLD, Process, VirtualLoop
from tests.simulation.node import Gone, Node, Role
from tests.simulation.postgres import CLIENT_GIVES_UP, Postgres, SimConnection, Trace
from tests.simulation.statements import STATEMENTS
from tests.simulation.wire import Redis, SimWire, TakingLoop

T = TypeVar("T")

# After the last fault, all jobs must end within this number of seconds. It takes long if the only
# worker runs one job at a time and its handlers ignore their deadlines.
ENDS_WITHIN = 240.0
BUSY_AT_MOST = CLIENT_GIVES_UP + 10.0  # seconds after the end of all jobs in which a worker may still be busy
STOPS_WITHIN = 45.0  # seconds in which a process must stop when no faults are made
USERS = ("11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222")


@dataclass(frozen=True, slots=True)
class Lived:
    """Statistics of one or more runs.

    `seconds` is virtual time. `faults` does not count the faults of single messages.
    """

    seconds: float = 0.0
    jobs: int = 0
    events: int = 0
    processes: int = 0
    faults: int = 0

    def __add__(self, other: "Lived") -> "Lived":
        return Lived(*(mine + its for mine, its in zip(astuple(self), astuple(other), strict=True)))


def simulate(seed: int, trace: Callable[[str], None] | None = None) -> Lived:
    """Runs one seed.

    `trace` is called with a line for each step. Raises a `Violation`, or any other error of the
    code under simulation.
    """
    random = Random(seed)
    loop = VirtualLoop(random, shuffled=random.random() < 0.4)
    SimConnection.made = 0

    def tell(line: str) -> None:
        if trace is not None:
            trace(f"{loop.time() - START:10.6f} {PROCESS.get(WORLD).name:<6} {line}")

    with contextlib.ExitStack() as stack:
        stack.enter_context(clock.replaced(loop, seed))
        stack.enter_context(_log_to(tell if trace is not None else None))
        stack.callback(_throw_away, loop)
        world = World(loop, random, tell, watched=trace is not None)
        stack.enter_context(patch("workers.liveness.heartbeat.Database", world.postgres.database))
        stack.enter_context(patch("workers.worker.RedisWire", SimWire))
        stack.enter_context(patch("workers.worker.ArqLoop", TakingLoop))
        try:
            loop.run(world.live())
            return world.lived()
        finally:
            del world


class World:
    def __init__(self, loop: VirtualLoop, random: Random, tell: Trace, *, watched: bool) -> None:
        self.loop = loop
        self.random = random
        self.tell = tell
        self.checks = Checks(loop)
        self.postgres = Postgres(loop, random, self.checks, tell, STATEMENTS, watched=watched)
        self.redis = Redis(loop, random)
        self.job_types = job_types(self.checks)
        self.local = random.random() < 0.15
        self.nodes: list[Node] = []
        self.faults = Faults(loop, random, self.postgres, self.redis, self.nodes, tell)
        self.calm_since = float("inf")
        self._pids = 0
        self._requests = 0
        self._watches: list[asyncio.Task[None]] = []

    async def live(self) -> None:
        self._begin()
        clients = [asyncio.create_task(self._client()) for _ in range(self.random.randint(1, 4))]
        await self.faults.run()
        self._end_of_faults()
        await asyncio.gather(*clients)
        await self._until(self.checks.unended, ENDS_WITHIN, "some jobs have not ended")
        await self._until(self._busy, BUSY_AT_MOST, "a worker lost a slot or still holds an attempt")
        await self._stop_all()
        self._at_the_end()

    def lived(self) -> Lived:
        events = sum(map(len, self.postgres.events.values()))
        return Lived(self.loop.time() - START, len(self.postgres.jobs), events, self._pids, self.faults.met)

    def _begin(self) -> None:
        chance = self.random
        slots = chance.randint(1, 6)
        if self.local:
            roles = [Role(f"n{n}", works=True, answers=True, slots=slots) for n in range(chance.randint(1, 2))]
        else:
            roles = [Role(f"w{n}", works=True, answers=False, slots=slots) for n in range(chance.randint(2, 4))]
            roles += [Role(f"a{n}", works=False, answers=True, slots=0) for n in range(chance.randint(1, 2))]
        self._watches = [asyncio.create_task(self._watch_over(role)) for role in roles]

    async def _watch_over(self, role: Role) -> None:
        """Starts a process, and another one each time it has ended."""
        while True:
            node = self._start(role)
            await asyncio.wait({node.died})
            self.nodes.remove(node)
            self.tell(f"{node.process.name} has ended")
            await asyncio.sleep(self.faults.pause_before_restart())

    def _start(self, role: Role) -> Node:
        self._pids += 1
        process = Process(f"{role.name}.{self._pids}", pid=self._pids, skew=self.random.choice((0, 0, 3.7, -60, 86_400)))
        self.tell(f"{process.name} starts, its clock ahead by {process.skew} s")
        redis = None if self.local else self.redis
        node = Node(self.loop, process, role, self.postgres, redis, self.job_types)
        self.nodes.append(node)
        return node

    async def _client(self) -> None:
        """Sends random requests as a client does, until shortly after the last fault."""
        chance = self.random
        actions: tuple[Callable[[str], Awaitable[None]], ...] = (self._create, self._cancel, self._retry, self._force_fail)
        for _ in range(chance.randint(3, 8)):
            await asyncio.sleep(chance.random() * self.faults.last * 0.35)
            self._requests += 1
            await chance.choices(actions, (6, 2, 1, 0.5))[0](f"request {self._requests}")

    async def _create(self, request: str) -> None:
        chance = self.random
        kind, type = chance.choice(KINDS), chance.choice(("plain", "plain", "long", "paid", "unique"))
        seconds = round(chance.random() * (12 if type == "long" else DEADLINE), 2)
        n = chance.randint(1, 2) if type == "unique" else self._requests
        payload = Script(kind=kind if type != "unique" else "slow", n=n, seconds=n if type == "unique" else seconds).to_json()
        user, key = chance.choice(USERS), f"key of {request}" if chance.random() < 0.5 else None
        tries = 1 if key is None else 5
        while tries and not await self._ask_to_create(request, tries, type, payload, user, key):
            # No answer came, so the outcome is unknown. A request with an idempotency key may be
            # sent again, sometimes while the first one is still being executed.
            tries -= 1
            await asyncio.sleep(chance.random())

    async def _ask_to_create(self, request: str, left: int, type: str, payload: Any, user: str, key: str | None) -> bool:
        twice = 2 if key is not None and self.random.random() < 0.3 else 1
        asked = [
            partial(Node.create, type=type, payload=payload, user=user, request=f"{request}.{left}.{n}", key=key)
            for n in range(twice)
        ]
        answers = await asyncio.gather(*map(self._ask, asked))
        for job_id in answers:
            if job_id is not None:
                self.checks.acknowledged(job_id, key and user + key)
        return any(answers)

    async def _cancel(self, request: str) -> None:
        job_id = self._some_job(("queued", "processing"))
        if job_id is not None and (job := await self._ask(lambda node: node.cancel(job_id, request))) is not None:
            self.checks.cancel_acknowledged(job_id, job.attempt, job.status)

    async def _retry(self, request: str) -> None:
        job_id = self._some_job(("failed", "canceled"))
        if job_id is not None:
            await self._ask(lambda node: node.retry(job_id, request))

    async def _force_fail(self, request: str) -> None:
        job_id = self._some_job(("processing",))
        if job_id is not None:
            await self._ask(lambda node: node.force_fail(job_id, request))

    def _some_job(self, among: tuple[str, ...]) -> str | None:
        """Returns a random job in one of these states. In one case of ten, returns any job."""
        jobs = self.checks.jobs
        likely = [id for id, folded in jobs.items() if folded.view["status"] in among]
        any = list(jobs) if self.random.random() < 0.1 else likely
        return self.random.choice(any) if any else None

    async def _ask(self, question: Callable[[Node], Coroutine[Any, Any, T]]) -> T | None:
        """Sends a request to a random API process. Returns None if it refuses or never answers."""
        answering = [node for node in self.nodes if node.role.answers and node.ready]
        if not answering:
            return None
        node = self.random.choice(answering)
        try:
            return await node.ask(question(node))
        except (Gone, NotAllowed, AlreadyActive, *DATABASE_ERRORS) as refusal:
            self.tell(f"{node.process.name} refuses: {refusal!r}")
            return None

    def _end_of_faults(self) -> None:
        self.tell("the faults end")
        self.calm_since = self.loop.time()
        self.faults.end()

    async def _until(self, holds: Callable[[], list[str]], seconds: float, what: str) -> None:
        """Waits until `holds` returns an empty list. Ends the run if this takes over `seconds`."""
        until = self.loop.time() + seconds
        while complaints := holds():
            if self.loop.time() > until:
                self.checks.fail(f"{what} within {seconds:g} s: {'; '.join(complaints)}")
            await asyncio.sleep(0.5)
            self.checks.check_no_handler_outlives_its_attempt(self.calm_since, bus=not self.local)

    def _busy(self) -> list[str]:
        """Describes the workers that still hold attempts or slots, though every job has ended."""
        runners = [(node.process.name, node.worker.runner) for node in self.nodes if node.ready and node.worker is not None]
        return [
            f"worker of {name} has {len(runner.in_hand)} attempts and {runner.free} of {runner.slots.size} slots free"
            for name, runner in runners
            if runner.in_hand or runner.free != runner.slots.size
        ]

    async def _stop_all(self) -> None:
        for watch in self._watches:
            watch.cancel()
        nodes = list(self.nodes)
        for node in nodes:
            node.stop(self.random.random() * 3)
        await self._until(
            lambda: [node.process.name for node in nodes if not node.died.done()],
            STOPS_WITHIN,
            "these processes have not stopped",
        )

    def _at_the_end(self) -> None:
        lost = self.checks.accepted - set(self.postgres.jobs)
        if lost:
            self.checks.fail(f"accepted jobs are missing: {sorted(lost)}")


def _throw_away(loop: VirtualLoop) -> None:
    """Closes the coroutines that still wait at the end of a run.

    It ignores errors in their `finally` blocks, because the run is over.
    """
    told, sys.unraisablehook = sys.unraisablehook, lambda _: None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            loop.throw_away()
            gc.collect()
    finally:
        sys.unraisablehook = told


@contextlib.contextmanager
def _log_to(tell: Trace | None) -> Iterator[None]:
    """Sends the log lines of the code under simulation to the trace."""

    def line(logger: Any, level: str, facts: Any) -> Any:
        if tell is not None:
            error = facts.pop("exc_info", None)
            told = " ".join(f"{name}={fact}" for name, fact in facts.items())
            tell(f"log: {told} {error!r}" if error else f"log: {told}")
        raise structlog.DropEvent

    before = structlog.get_config()
    quiet = structlog.make_filtering_bound_logger(50 if tell is None else 0)
    structlog.configure(processors=[line], wrapper_class=quiet, cache_logger_on_first_use=False)
    try:
        yield
    finally:
        structlog.configure(**before)
