"""An event loop whose time is virtual and whose order is drawn from a seed.

Every callback belongs to a simulated process, that of the context it was scheduled in. A process that is frozen keeps its
callbacks until it goes on; of one that is dead none is ever run again, not even a `finally`. Time stands still while anything
can run, and then jumps to the next timer.
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

START = 1_000.0  # seconds: `time.monotonic` is never 0
MOST_STEPS = 600_000  # of one run: more means that something spins while no time passes


class Process:
    """What can be killed, frozen and set going again. `skew` is what its wall clock is ahead of the world's, in seconds."""

    def __init__(self, name: str, *, pid: int = 1, skew: float = 0.0) -> None:
        self.name = name
        self.pid = pid
        self.skew = skew
        self.frozen = False
        self.dead = False
        self.trouble_at = float("-inf")
        """Until when this process alone has had something that excuses its silence."""
        self.asked_to_stop_at = float("-inf")
        self.ready: deque[asyncio.Handle] = deque()
        self.context = copy_context()
        self.context.run(PROCESS.set, self)

    def excuse(self, until: float) -> None:
        self.trouble_at = max(self.trouble_at, until)


PROCESS: ContextVar[Process] = ContextVar("PROCESS")
WORLD = Process("world")
"""What no fault ever touches: the faults themselves, PostgreSQL, Redis, the network, the clients."""


class Spins(Exception):
    """The code under simulation goes round and round while no time passes."""


class VirtualLoop(asyncio.BaseEventLoop):
    """`shuffled`: any ready callback of a process may run next; else, as in asyncio, the one that became ready first. Which
    process goes on is drawn in any case."""

    def __init__(self, random: Random, *, shuffled: bool) -> None:
        self._random = random
        self._shuffled = shuffled
        self._now = START
        self._timers: list[tuple[float, int, asyncio.TimerHandle, Process]] = []
        self._processes: list[Process] = []
        self._tasks: list[asyncio.Task[Any]] = []  # all of them: the coroutine of a killed one must not be closed meanwhile
        self._scheduled = 0
        self._closed = False
        self.steps = 0
        self.failure: BaseException | None = None

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        """The result of `main`; raises the first failure of any callback."""
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
        """A callback that raised ends the run, and so does a part of a process that ended by an error. A task's error that nobody
        asked for is told by the collector, at any time."""
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
        """To the next timer; and all timers of that instant are ready."""
        self._processes = [process for process in self._processes if process.ready and not process.dead]
        while self._timers and (self._timers[0][2]._cancelled or self._timers[0][3].dead):
            heapq.heappop(self._timers)
        self._now = max(self._now, self._timers[0][0])
        while self._timers and self._timers[0][0] <= self._now:
            _, _, handle, process = heapq.heappop(self._timers)
            if not handle._cancelled:
                self._make_ready(handle, process)

    def throw_away(self) -> None:
        """Tasks that have not ended never will."""
        for task in self._tasks:
            task._log_destroy_pending = False  # type: ignore[attr-defined]
        self._tasks.clear()
        self._timers.clear()
        for process in (WORLD, *self._processes):
            process.ready.clear()
