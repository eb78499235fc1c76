"""An event loop whose time is virtual and whose order is drawn from a seed.

Every callback belongs to the simulated process in whose context it was scheduled. A frozen process
keeps its callbacks until it continues. Callbacks of a dead process never run, not even a `finally`.
Time stands still while any callback is ready, and then jumps to the next timer.
"""

import asyncio
import contextvars
import heapq
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context, ContextVar, copy_context
from random import Random
from typing import Any, TypeVar, TypeVarTuple, cast

from events.concurrency import PART_ENDED

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

START = 1_000.0  # seconds at the start of a run. It is not 0, because `time.monotonic` is never 0
MOST_STEPS = 600_000  # callbacks in one run. A run with more is taken for an endless loop in which no time passes.


class Process:
    """A simulated process, which can be killed, frozen and continued.

    `skew` says by how many seconds the process's wall clock is ahead of the true time.
    """

    def __init__(self, name: str, *, pid: int = 1, skew: float = 0.0) -> None:
        self.name = name
        self.pid = pid
        self.skew = skew
        self.frozen = False
        self.dead = False
        self.trouble_at = float("-inf")
        """Until this time, a fault may explain that a process does not react."""
        self.asked_to_stop_at = float("-inf")
        self.ready: deque[asyncio.Handle] = deque()
        self.context = copy_context()
        self.context.run(PROCESS.set, self)

    def excuse(self, until: float) -> None:
        self.trouble_at = max(self.trouble_at, until)


PROCESS: ContextVar[Process] = ContextVar("PROCESS")
WORLD = Process("world")
"""A process that no fault kills: PostgreSQL, Redis, network, clients and faults run in it."""


class Spins(Exception):
    """The code under simulation runs an endless loop in which no time passes."""


class VirtualLoop(asyncio.BaseEventLoop):
    """An event loop with virtual time, which runs the simulated processes in random order.

    At each step it chooses a process at random. With `shuffled`, it also chooses one of the
    process's ready callbacks at random. Otherwise the oldest callback runs next, as in asyncio.
    """

    def __init__(self, random: Random, *, shuffled: bool) -> None:
        self._random = random
        self._shuffled = shuffled
        self._now = START
        self._timers: list[tuple[float, int, asyncio.TimerHandle, Process]] = []
        self._processes: list[Process] = []
        self._tasks: list[
            asyncio.Task[Any]
        ] = []  # keeps the tasks of killed processes, so that their coroutines are not closed during the run
        self._scheduled = 0
        self._closed = False
        self.steps = 0
        self.failure: BaseException | None = None

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        """Runs `main` and returns its result. Raises the first error that any callback raised."""
        task = self.create_task(main, context=WORLD.context)
        asyncio._set_running_loop(self)
        try:
            while not task.done():
                self._step()
                if self.failure is not None:
                    raise self.failure
            return task.result()
        finally:
            asyncio._set_running_loop(None)
            self._closed = True

    def time(self) -> float:
        return self._now

    def call_soon(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:  # fmt: skip
        context = context or contextvars.copy_context()
        handle = asyncio.Handle(callback, args, self, context)
        self._make_ready(handle, context.get(PROCESS, WORLD))
        return handle

    def call_later(
        self, delay: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self._now + delay, callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        context = context or contextvars.copy_context()
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        self._scheduled += 1
        heapq.heappush(self._timers, (when, self._scheduled, handle, context.get(PROCESS, WORLD)))
        return handle

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(
        self,
        coro: Coroutine[Any, Any, T] | Generator[Any, None, T],
        *,
        name: object = None,
        context: Context | None = None,
    ) -> asyncio.Task[T]:
        task = asyncio.Task(cast(Coroutine[Any, Any, T], coro), loop=self, name=cast(str | None, name), context=context)
        self._tasks.append(task)
        return task

    def kill(self, process: Process) -> None:
        process.dead = True
        process.ready.clear()

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return not self._closed

    def is_closed(self) -> bool:
        return self._closed

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Ends the run if a callback, or a task that must run for ever, has raised an error.

        It ignores the errors of other tasks, because the garbage collector reports them at random
        times.
        """
        if ("handle" in context or PART_ENDED in context) and self.failure is None:
            self.failure = context["exception"]

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None: ...

    def _make_ready(self, handle: asyncio.Handle, process: Process) -> None:
        if process.dead or self._closed:
            return
        if not process.ready and process not in self._processes:
            self._processes.append(process)
        process.ready.append(handle)

    def _step(self) -> None:
        able = [process for process in self._processes if process.ready and not process.frozen]
        if not able:
            self._jump()
            return
        self.steps += 1
        if self.steps > MOST_STEPS:
            raise Spins(f"{MOST_STEPS} callbacks")
        process = able[0] if len(able) == 1 else able[int(self._random.random() * len(able))]
        handle = self._take(process.ready)
        if not handle._cancelled:
            handle._run()

    def _take(self, ready: deque[asyncio.Handle]) -> asyncio.Handle:
        if self._shuffled and len(ready) > 1:
            ready.rotate(-int(self._random.random() * len(ready)))
        return ready.popleft()

    def _jump(self) -> None:
        """Advances time to the next timer, and makes all timers of that instant ready."""
        self._processes = [process for process in self._processes if process.ready and not process.dead]
        while self._timers and (self._timers[0][2]._cancelled or self._timers[0][3].dead):
            heapq.heappop(self._timers)
        self._now = max(self._now, self._timers[0][0])
        while self._timers and self._timers[0][0] <= self._now:
            _, _, handle, process = heapq.heappop(self._timers)
            if not handle._cancelled:
                self._make_ready(handle, process)

    def throw_away(self) -> None:
        """Drops the tasks that have not ended, without asyncio's warnings about them."""
        for task in self._tasks:
            task._log_destroy_pending = False  # type: ignore[attr-defined]
        self._tasks.clear()
        self._timers.clear()
        for process in (WORLD, *self._processes):
            process.ready.clear()
