"""Measures one queue ("contestant") with the same code for Rireki and all others.

Each contestant is a separate process that gets `Parameters` as JSON and prints its figures as JSON. This
file imports only the standard library, because other queues run in their own environments.

The order is: warm up, enqueue, enqueue in bulk, drain everything, pick up, cancel. Every job has one
number. The handler only reports this number to the `Clock`.
"""

import asyncio
import contextlib
import functools
import json
import os
import random
import sys
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CALLERS = 50
WARM_UP = 500
# The least and the most seconds between two jobs while pick-up is measured. The pause is random,
# because a fixed pause could be in step with a worker that polls.
GAP = (0.02, 0.06)
# Seconds to wait after a drain until a worker is idle, because some workers tidy up first.
UNTIL_IDLE = 3.0
# Seconds that a job has run before it is canceled, because saq cancels only jobs that have run for a while.
BEFORE_CANCEL = 1.2
LONGEST = 90.0  # seconds that one measure may take


class Clock:
    """Records when the handlers report the start and the end of their jobs."""

    def __init__(self) -> None:
        self.started: dict[int, float] = {}
        self.canceled: dict[int, float] = {}
        self._finished = 0
        self._wanted = 0
        self._all = asyncio.Event()
        self.drained: Usage | None = None

    def start(self, number: int) -> None:
        self.started[number] = time.monotonic()

    def cancel(self, number: int) -> None:
        self.canceled[number] = time.monotonic()

    def finish(self, jobs: int = 1) -> None:
        self._finished += jobs
        if self._wanted and self._finished >= self._wanted:
            self._all.set()

    def expect(self, jobs: int) -> None:
        self._finished, self._wanted = 0, jobs
        self._all.clear()

    async def all_finished(self) -> None:
        await self._all.wait()


@dataclass(frozen=True)
class Parameters:
    """The parameters of one measurement.

    A process id is None if that server runs on another machine.
    """

    redis_url: str
    postgres_url: str
    redis_pid: int | None = None
    postgres_pid: int | None = None
    enqueue: int = 2_000
    bulk: int = 0
    pick_ups: int = 200
    cancels: int = 50
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Usage:
    """A time, and the CPU seconds that the worker and the servers have used until then."""

    at: float
    worker: float
    postgres: float | None
    redis: float | None

    @classmethod
    def now(cls, parameters: Parameters) -> "Usage":
        return cls(
            time.monotonic(),
            time.process_time(),
            postgres_seconds(parameters.postgres_pid),
            process_seconds(parameters.redis_pid),
        )


class Contestant:
    """One queue with its settings.

    If a queue lacks a feature, its class does not override the method of this feature.
    """

    can_bulk = False
    can_cancel = False

    def __init__(self, parameters: Parameters, clock: Clock) -> None:
        self.parameters, self.clock = parameters, clock

    async def enqueue(self, number: int) -> None:
        """Enqueues a job. Returns as soon as the queue promises to run it."""
        raise NotImplementedError

    async def enqueue_bulk(self, numbers: range) -> None:
        """Enqueues many jobs with one call of the queue."""
        raise NotImplementedError

    def working(self) -> AbstractAsyncContextManager[None]:
        """Runs one worker in this process during the block. It has ended when the block is left."""
        raise NotImplementedError

    async def drain(self, jobs: int) -> None:
        """Runs a worker until the queue has recorded the ends of all jobs.

        Then stores the usage in `clock.drained`.
        """
        self.clock.expect(jobs)
        async with self.working():
            await self.clock.all_finished()
            self.clock.drained = Usage.now(self.parameters)

    def working_cancelably(self) -> AbstractAsyncContextManager[None]:
        """Like `working`. A queue overrides it if its worker needs an option to cancel jobs."""
        return self.working()

    async def enqueue_endless(self, number: int) -> None:
        """Enqueues a job that runs until it is canceled. It then reports this to the clock."""
        raise NotImplementedError

    async def cancel(self, number: int) -> None:
        """Cancels a job, as another process would: not over connections of the worker."""
        raise NotImplementedError

    async def analyze(self) -> None:
        """Updates the planner's statistics, because a new database has none."""


Opener = Callable[[Parameters, Clock], AbstractAsyncContextManager[Contestant]]


def run(opener: Opener, versions: Callable[[], dict[str, str]], runner: Callable[[Any], Any] | None = None) -> None:
    """Measures a contestant. The module of each contestant calls this as its main function.

    It prints the versions and the figures as JSON in the last line of output.
    """
    parameters = Parameters(**json.loads(sys.argv[1]))
    figures = (runner or asyncio.run)(_measure(opener, parameters))
    print(json.dumps({"versions": versions(), "figures": figures}))


async def _measure(opener: Opener, parameters: Parameters) -> dict[str, list[float]]:
    clock = Clock()
    figures: dict[str, list[float]] = {}
    async with opener(parameters, clock) as contestant:
        numbers = functools.partial(next, iter(range(10**9)))
        await _enqueue(contestant, WARM_UP, numbers)
        await _within(contestant.drain(WARM_UP))

        figures["enqueue"] = [await _within(_enqueue(contestant, parameters.enqueue, numbers))]
        jobs = parameters.enqueue
        if contestant.can_bulk and parameters.bulk:
            first = numbers() + 10**8
            began = time.monotonic()
            await _within(contestant.enqueue_bulk(range(first, first + parameters.bulk)))
            figures["bulk"] = [parameters.bulk / (time.monotonic() - began)]
            jobs += parameters.bulk
        await contestant.analyze()
        figures |= await _drain(contestant, jobs)
        if parameters.pick_ups:
            figures["pick_up"] = await _pick_up(contestant, parameters.pick_ups, numbers)
        if contestant.can_cancel and parameters.cancels:
            figures["cancel"] = await _cancel(contestant, parameters.cancels, numbers)
    return figures


async def _enqueue(contestant: Contestant, jobs: int, numbers: Callable[[], int]) -> float:
    """Enqueues jobs one by one. Returns the jobs enqueued in a second."""
    left = iter(range(jobs))

    async def caller() -> None:
        for _ in left:
            await contestant.enqueue(numbers())

    began = time.monotonic()
    await asyncio.gather(*(caller() for _ in range(CALLERS)))
    return jobs / (time.monotonic() - began)


async def _drain(contestant: Contestant, jobs: int) -> dict[str, list[float]]:
    before = Usage.now(contestant.parameters)
    await _within(contestant.drain(jobs))
    after = contestant.clock.drained
    assert after is not None
    seconds = after.at - before.at
    used = {
        "cpu_worker": after.worker - before.worker,
        "cpu_postgres": _difference(after.postgres, before.postgres),
        "cpu_redis": _difference(after.redis, before.redis),
    }
    per_job = {name: [cpu / jobs * 1e6] for name, cpu in used.items() if cpu is not None}
    return {"drain": [jobs / seconds], "drain_seconds": [seconds], **per_job}


async def _pick_up(contestant: Contestant, times: int, numbers: Callable[[], int]) -> list[float]:
    """Measures pick-up: milliseconds from the return of `enqueue` to the start of the handler.

    The figure is 0 if the handler started before `enqueue` returned.
    """
    clock, queued = contestant.clock, {}
    async with contestant.working():
        await asyncio.sleep(UNTIL_IDLE)
        for _ in range(times):
            await asyncio.sleep(random.uniform(*GAP))
            number = numbers()
            await contestant.enqueue(number)
            queued[number] = time.monotonic()
        await _within(_until(lambda: queued.keys() <= clock.started.keys()))
    return [max(0.0, clock.started[number] - at) * 1000 for number, at in queued.items()]


async def _cancel(contestant: Contestant, times: int, numbers: Callable[[], int]) -> list[float]:
    """Measures cancels: milliseconds from the request until the handler is told to stop."""
    clock, asked = contestant.clock, {}
    async with contestant.working_cancelably(), asyncio.TaskGroup() as requests:
        endless = [numbers() for _ in range(times)]
        for number in endless:
            await contestant.enqueue_endless(number)
        await _within(_until(lambda: clock.started.keys() >= set(endless)))
        await asyncio.sleep(BEFORE_CANCEL)
        for number in endless:
            await asyncio.sleep(random.uniform(*GAP))
            asked[number] = time.monotonic()
            # The call runs in a task, because with some queues it returns only when the job has ended.
            requests.create_task(contestant.cancel(number))
        await _within(_until(lambda: clock.canceled.keys() >= set(endless)))
    return [(clock.canceled[number] - at) * 1000 for number, at in asked.items()]


async def _until(holds: Callable[[], bool]) -> None:
    while not holds():  # noqa: ASYNC110 (an event would be more work for the handler)
        await asyncio.sleep(0.002)


async def _within(work: Any) -> Any:
    return await asyncio.wait_for(work, LONGEST)


def process_seconds(pid: int | None, *, children_too: bool = False) -> float | None:
    """Returns the CPU seconds of a process with all its threads.

    Source: proc(5), fields 14 to 17 of stat.
    """
    if pid is None:
        return None
    with contextlib.suppress(OSError):
        times = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:15]
        return sum(int(ticks) for ticks in times[: 4 if children_too else 2]) / os.sysconf("SC_CLK_TCK")
    return None


def postgres_seconds(pid: int | None) -> float | None:
    """Returns the CPU seconds of the postmaster and its children.

    Ended children are included, because the kernel adds their seconds to their parent's.
    """
    if (own := process_seconds(pid, children_too=True)) is None:
        return None
    return own + sum(process_seconds(child) or 0.0 for child in _children(pid))


def _children(pid: int | None) -> list[int]:
    children = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError, IndexError):
            if int((entry / "stat").read_text().rpartition(")")[2].split()[1]) == pid:
                children.append(int(entry.name))
    return children


def _difference(after: float | None, before: float | None) -> float | None:
    return None if after is None or before is None else after - before
