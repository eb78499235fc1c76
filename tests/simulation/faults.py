"""Makes the faults of a run until the time for faults is over. All is drawn from the seed."""

import asyncio
from collections.abc import Callable
from dataclasses import fields
from datetime import timedelta
from random import Random

from events.database import DATABASE_ERRORS
from tests.simulation.loop import VirtualLoop
from tests.simulation.node import Gone, Node
from tests.simulation.postgres import Postgres, Trace, Troubles
from tests.simulation.wire import Redis, WireTroubles

LEASE = 10.0


class Faults:
    def __init__(
        self,
        loop: VirtualLoop,
        random: Random,
        postgres: Postgres,
        redis: Redis,
        nodes: list[Node],
        tell: Trace,
    ) -> None:
        self.last = random.uniform(5, 30)
        self.met = 0
        self._random = random
        self._loop = loop
        self._postgres = postgres
        self._redis = redis
        self._nodes = nodes
        self._tell = tell
        self._calm = False
        self._asking: asyncio.Task[None] | None = None
        self._mean = random.uniform(0.7, 6)
        kinds = (
            self._kill, self._freeze, self._stop, self._crash_postgres, self._cut_off_postgres, self._cut_connections,
            self._stop_redis, self._empty_redis, self._pause, self._set_clock,
        )  # fmt: skip
        self._kinds = [kind for kind in kinds if random.random() < 0.5] or [self._kill]

    async def run(self) -> None:
        chance = self._random
        postgres, wire = self._postgres.troubles, self._redis.troubles
        for troubles, most in ((postgres, 0.03), (wire, 0.5)):
            for trouble in fields(troubles):
                if chance.random() < 0.3:
                    setattr(troubles, trouble.name, chance.random() ** 2 * most)
        postgres.latency = chance.choice((0.0005, 0.005, 0.05))
        self._tell(f"faults for {self.last:.1f} s: {[kind.__name__ for kind in self._kinds]}, {postgres}, {wire}")
        until = self._loop.time() + self.last
        while (left := until - self._loop.time()) > 0:
            await asyncio.sleep(min(left, chance.expovariate(1 / self._mean)))
            kind = chance.choice(self._kinds)
            self.met += 1
            self._tell(f"fault: {kind.__name__}")
            kind()

    def end(self) -> None:
        self._calm = True
        self._postgres.troubles = Troubles()
        self._redis.troubles = WireTroubles()
        self._redis.up = True
        self._postgres.reachable = True
        if not self._postgres.up:
            self._postgres.restart()
        for node in self._nodes:
            self._thaw(node)

    def pause_before_restart(self) -> float:
        return 0.5 if self._calm else self._random.random() ** 3 * 15

    def _later(self, longest: float, what: Callable[[], None]) -> None:
        self._loop.call_later(self._random.random() ** 2 * longest, what)

    def _some_node(self) -> Node:
        return self._random.choice(self._nodes)

    def _kill(self) -> None:
        if self._nodes:
            self._some_node().kill()

    def _freeze(self) -> None:
        """Freezes a process for up to 25 seconds, often longer than its lease."""
        if self._nodes:
            node = self._some_node()
            node.process.frozen = True
            self._loop.call_later(self._random.random() * 25, self._thaw, node)

    def _thaw(self, node: Node) -> None:
        if node.process.frozen:
            node.process.frozen = False
            node.process.excuse(self._loop.time() + 1)

    def _stop(self) -> None:
        """Stops a process like SIGTERM, sometimes followed by a kill."""
        if self._nodes:
            node = self._some_node()
            node.stop(self._random.random() * 8)
            if self._random.random() < 0.2:
                self._later(10, node.kill)

    def _crash_postgres(self) -> None:
        if self._postgres.up:
            self._postgres.crash()
            self._later(25, lambda: None if self._postgres.up else self._postgres.restart())

    def _cut_off_postgres(self) -> None:
        """Makes PostgreSQL unreachable for a while.

        Statements that it has received may still take effect.
        """
        self._postgres.reachable = False
        self._postgres.cut(lambda _: True, may_be_done_later=True)
        self._later(40, lambda: setattr(self._postgres, "reachable", True))

    def _cut_connections(self) -> None:
        """Cuts the database connections of one process, or of all processes."""
        node = self._some_node() if self._nodes and self._random.random() < 0.5 else None
        for node_cut in self._nodes if node is None else [node]:
            node_cut.process.excuse(self._loop.time() + 3)
        self._postgres.cut(
            lambda connection: node is None or connection.client is node.process,
            may_be_done_later=True,
        )

    def _stop_redis(self) -> None:
        self._redis.up = False
        if self._random.random() < 0.5:
            self._redis.empty()
        self._later(20, lambda: setattr(self._redis, "up", True))

    def _empty_redis(self) -> None:
        self._redis.empty()

    def _set_clock(self) -> None:
        if self._nodes:
            self._some_node().process.skew += self._random.choice((-3600, -5, 5, 3600))

    def _pause(self) -> None:
        """Pauses a job type through an API process."""
        answering = [node for node in self._nodes if node.role.answers and node.ready]
        if answering:
            type, until = self._random.choice(("plain", "long")), self._random.random() * 10
            self._asking = asyncio.create_task(self._ask_for_pause(answering[0], type, until))

    async def _ask_for_pause(self, node: Node, type: str, seconds: float) -> None:
        until = self._postgres.now + timedelta(seconds=seconds)
        try:
            await node.ask(node.pauses.pause(type, until=until, reason="asked", actor="user:admin"))
        except (Gone, *DATABASE_ERRORS):
            self._tell("the pause got no answer")
