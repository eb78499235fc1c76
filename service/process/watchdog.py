"""A second process that kills this one if it does not end in time.

It works even if the event loop is blocked or a thread holds the GIL.

Python's signal handler in C writes the number of each signal to a socket (`signal.set_wakeup_fd`),
even while the interpreter is blocked. The event loop reads the number from the socket; the process
has then "heard" the signal, and tells the watchdog its deadline (`end_within`). The watchdog looks
at the same socket without reading from it. If a number is still there, the process has not heard
that signal, and the watchdog sets a deadline itself.

The watchdog is this file, run by a Python process that loads nothing else. It inherits two of our
sockets and no other. It runs in a session of its own, so Ctrl-C at a terminal does not reach it. It
ignores the signals that a supervisor sends to all processes. It ends when the watched process ends,
for any reason.
"""

import contextlib
import ctypes
import math
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator

ASKING = (signal.SIGTERM, signal.SIGINT)
ENDING = signal.SIGUSR2  # sent before SIGKILL, which does not reach a container's first process from inside the container
LOOK_EVERY = 0.1  # seconds between two looks at the socket, while it holds a signal that the process has not heard
DIES_WITHIN = 0.5  # seconds that a process may take to die of a signal


class Watchdog:
    """Starts the watchdog from the watched process, and tells it the deadline.

    If the process does not hear a signal, the watchdog kills it after a number of seconds:
    `asked_end` for SIGTERM, `interrupted_end` for SIGINT, `last_moments` for each further signal.
    """

    def __init__(self, *, asked_end: float, interrupted_end: float, last_moments: float) -> None:
        self._seconds = (asked_end, interrupted_end, last_moments)
        self._signals, self._handlers = socket.socketpair()
        self._telling, self._told = socket.socketpair()
        for end in (self._signals, self._handlers, self._telling, self._told):
            end.setblocking(False)

    @property
    def signals(self) -> socket.socket:
        """A socket that becomes readable when a signal has come; then call `heard`."""
        return self._signals

    def heard(self) -> list[signal.Signals]:
        """Returns the signals that have come since the last call."""
        try:
            return _asking(self._signals.recv(4096))
        except BlockingIOError:
            return []

    def end_within(self, seconds: float) -> None:
        """Tell the watchdog that the process is ending and must have ended in this many seconds."""
        with contextlib.suppress(OSError):
            self._telling.send(f"{seconds}\n".encode())

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Run the watchdog, and send signals to `signals`, while the block lasts.

        Call it in the main thread.
        """
        import subprocess

        seconds = map(str, self._seconds)
        fds = (self._signals.fileno(), self._told.fileno())
        dog = subprocess.Popen(
            [sys.executable, "-I", "-S", __file__, *map(str, fds), str(os.getpid()), *seconds],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, pass_fds=fds, start_new_session=True, cwd="/",
        )  # fmt: skip
        self._told.close()
        _end_on(ENDING)
        woken = signal.set_wakeup_fd(self._handlers.fileno(), warn_on_full_buffer=False)
        before = {number: signal.signal(number, _hear) for number in ASKING}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(woken)
            signal.signal(ENDING, signal.SIG_DFL)
            for end in (self._telling, self._handlers, self._signals):
                end.close()
            try:
                dog.wait(DIES_WITHIN)
            except subprocess.TimeoutExpired:
                dog.kill()
                dog.wait()


def _hear(number: int, frame: object) -> None:
    """Do nothing, because the handler in C has written the signal's number to the socket."""


def _end_on(number: signal.Signals) -> None:
    """Let a signal end this process without the interpreter, by the C library's `_exit`."""
    libc = ctypes.CDLL(None)
    libc.signal.argtypes = (ctypes.c_int, ctypes.c_void_p)
    libc.signal.restype = ctypes.c_void_p
    libc.signal(number, ctypes.cast(libc._exit, ctypes.c_void_p))


def _asking(numbers: bytes) -> list[signal.Signals]:
    """Returns the signals among these bytes that ask the process to end."""
    return [signal.Signals(number) for number in numbers if number in ASKING]


class Watch:
    """Keeps the deadline of the watched process, in monotonic seconds."""

    def __init__(self, *, asked_end: float, interrupted_end: float, last_moments: float) -> None:
        self.deadline = math.inf
        self._ends_within = {signal.SIGTERM: asked_end, signal.SIGINT: interrupted_end}
        self._last_moments = last_moments
        self._asked = False
        self._unheard = 0

    def tell(self, seconds: float, now: float) -> None:
        """Sets the deadline, because the process says that it ends within `seconds`.

        The signals that came before count as handled, because the process has read them.
        """
        self.deadline = min(self.deadline, now + seconds)
        self._asked, self._unheard = True, 0

    def see(self, unheard: list[signal.Signals], now: float) -> None:
        """Sets the deadline for signals that the process has not read from the socket.

        `unheard` holds all such signals, the oldest first. A signal counts at the first call only.
        """
        for number in unheard[self._unheard :]:
            self.deadline = min(self.deadline, now + (self._last_moments if self._asked else self._ends_within[number]))
            self._asked = True
            self._unheard += 1


def _watch(signals: socket.socket, told: socket.socket, watch: Watch, end: Callable[[], None]) -> None:
    """Returns when the process has ended by itself. Calls `end` if the deadline comes first."""
    while time.monotonic() < watch.deadline:
        unheard = _peek(signals)
        watch.see(unheard, time.monotonic())
        waits = [told] if unheard else [told, signals]
        most = LOOK_EVERY if unheard else watch.deadline - time.monotonic()
        ready, _, _ = select.select(waits, [], [], None if most == math.inf else max(most, 0))
        if told in ready:
            said = told.recv(4096)
            if not said:
                return
            for line in said.split():
                watch.tell(float(line), time.monotonic())
    end()


def _peek(signals: socket.socket) -> list[signal.Signals]:
    try:
        return _asking(signals.recv(4096, socket.MSG_PEEK | socket.MSG_DONTWAIT))
    except BlockingIOError:
        return []


def _end(process: int) -> None:
    print(
        '{"level": "critical", "event": "the process takes too long to stop: the watchdog kills the process"}',
        file=sys.stderr,
        flush=True,
    )
    for number in (ENDING, signal.SIGKILL):
        if os.getppid() != process:
            return  # The process has ended, and its pid may belong to another one by now.
        os.kill(process, number)
        until = time.monotonic() + DIES_WITHIN
        while os.getppid() == process and time.monotonic() < until:
            time.sleep(0.01)


def main(signals: str, told: str, process: str, asked_end: str, interrupted_end: str, last_moments: str) -> None:
    for number in (*ASKING, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    watch = Watch(asked_end=float(asked_end), interrupted_end=float(interrupted_end), last_moments=float(last_moments))
    _watch(socket.socket(fileno=int(signals)), socket.socket(fileno=int(told)), watch, lambda: _end(int(process)))


if __name__ == "__main__":
    main(*sys.argv[1:])
