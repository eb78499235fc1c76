"""Replaces the time, the random numbers and the ids that the simulated processes see."""

import contextlib
import os
import random
import secrets
import socket
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any
from unittest.mock import patch

from tests.simulation.loop import PROCESS, WORLD, Process, VirtualLoop

EPOCH = datetime(2026, 11, 23, 9, 0, 0, tzinfo=UTC)


def at(virtual: float) -> datetime:
    """Returns the wall-clock time at `virtual`, a time of the loop in seconds."""
    return EPOCH + timedelta(seconds=virtual)


@contextlib.contextmanager
def replaced(loop: VirtualLoop, seed: int) -> Iterator[None]:
    """Takes time from the loop, and random numbers and ids from `seed`, during the block."""
    chance = random.Random(seed)
    before = random.getstate()
    random.seed(seed)

    def wall() -> float:
        return EPOCH.timestamp() + loop.time() + _process().skew

    class VirtualDatetime(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Any:
            return datetime.fromtimestamp(wall(), tz)

    try:
        with contextlib.ExitStack() as stack:
            for target, name, substitute in (
                (time, "monotonic", loop.time),
                (time, "clock_gettime", lambda _: loop.time()),
                (time, "time", wall),
                (time, "time_ns", lambda: int(wall() * 1e9)),
                (os, "urandom", chance.randbytes),
                (secrets, "token_bytes", lambda size=32: chance.randbytes(size)),
                (secrets, "token_hex", lambda size=32: chance.randbytes(size).hex()),
                (os, "getpid", lambda: _process().pid),
                (socket, "gethostname", lambda: _process().name),
            ):
                stack.enter_context(patch.object(target, name, substitute))
            stack.enter_context(patch("events.database_clock.datetime", VirtualDatetime))
            yield
    finally:
        random.setstate(before)


def _process() -> Process:
    return PROCESS.get(WORLD)
