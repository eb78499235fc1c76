"""Ends this process where it is asked to end and does not: a process beside it, which no blocked loop and no held GIL stops.

A signal is written to a socket by Python's handler in C (`signal.set_wakeup_fd`), whatever the interpreter is doing. The event
loop reads it from there. The watchdog looks at the same socket without reading: what stays unread was not heard, and its time
runs all the same. What was heard, the process tells the watchdog itself (`end_within`).

The watchdog is this file, run by a Python of its own that loads nothing else. It holds no socket of ours but those two, sits in a
session of its own (Ctrl-C at a terminal is for the process), ignores the signals that a supervisor sends to everybody, and ends
when the process does, however that ended.
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
ENDING = signal.SIGUSR2  # the kernel gives the first process of a container no SIGKILL from inside
LOOK_EVERY = 0.1  # seconds between two looks at a signal that was not heard yet
DIES_WITHIN = 0.5  # seconds


class Watchdog:
    """`asked_end` and `interrupted_end` are the seconds that a process has after an unheard SIGTERM and SIGINT, `last_moments`
    those after another signal."""

    def __init__(self, *, asked_end: float, interrupted_end: float, last_moments: float) -> None:
        self._seconds = (asked_end, interrupted_end, last_moments)
        self._signals, self._handlers = socket.socketpair()
        self._telling, self._told = socket.socketpair()
        for end in (self._signals, self._handlers, self._telling, self._told):
            end.setblocking(False)

    @property
    def signals(self) -> socket.socket:
        """Becomes readable when a signal has come (`heard`)."""
        return self._signals

    def heard(self) -> list[signal.Signals]:
        """The signals that have come since the last call."""
        try:
            return _asking(self._signals.recv(4096))
        except BlockingIOError:
            return []

    def end_within(self, seconds: float) -> None:
        """The process is ending, and must be gone after so many seconds."""
        with contextlib.suppress(OSError):
            self._telling.send(f"{seconds}\n".encode())

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Signals are for `signals` while the block lasts. Call it in the main thread."""
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
    """Nothing is left to do: the handler in C has written the signal's number already."""


def _end_on(number: signal.Signals) -> None:
    """Makes a signal end this process at once, without the interpreter: its handler is `_exit` of the C library."""
    libc = ctypes.CDLL(None)
    libc.signal.argtypes = (ctypes.c_int, ctypes.c_void_p)
    libc.signal.restype = ctypes.c_void_p
    libc.signal(number, ctypes.cast(libc._exit, ctypes.c_void_p))


def _asking(numbers: bytes) -> list[signal.Signals]:
    """Those of the signals that ask the process to end."""
    return [signal.Signals(number) for number in numbers if number in ASKING]


# The other process ------------------------------------------------------------------------------------------------------------


class Watch:
    """What the watchdog knows: when the process must be gone."""

    def __init__(self, *, asked_end: float, interrupted_end: float, last_moments: float) -> None:
        self.deadline = math.inf
        self._ends_within = {signal.SIGTERM: asked_end, signal.SIGINT: interrupted_end}
        self._last_moments = last_moments
        self._asked = False
        self._unheard = 0

    def tell(self, seconds: float, now: float) -> None:
        """The process has heard whatever came until now, and said this."""
        self.deadline = min(self.deadline, now + seconds)
        self._asked, self._unheard = True, 0

    def see(self, unheard: list[signal.Signals], now: float) -> None:
        """These signals were not heard yet."""
        for number in unheard[self._unheard :]:
            self.deadline = min(self.deadline, now + (self._last_moments if self._asked else self._ends_within[number]))
            self._asked = True
            self._unheard += 1


def _watch(signals: socket.socket, told: socket.socket, watch: Watch, end: Callable[[], None]) -> None:
    """Until the process has ended by itself, or has been ended."""
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
        '{"level": "critical", "event": "the end takes too long: the process is ended from outside"}',
        file=sys.stderr,
        flush=True,
    )
    for number in (ENDING, signal.SIGKILL):
        if os.getppid() != process:
            return  # It has ended. Its number may be another's by now.
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
