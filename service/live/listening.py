"""Receives changes from the bus, and runs a loop that finds those that the bus has lost."""

import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

from events.bus import Bus, Change
from events.concurrency import end, lasting


@contextlib.asynccontextmanager
async def listening(
    bus: Bus, hear: Callable[[Change], None], look: Coroutine[Any, Any, None], name: str
) -> AsyncIterator[None]:
    """Calls `hear` with every change and runs `look` as a task, while the block lasts."""
    stop_listening = bus.listen(hear)
    looking = lasting(look, name)
    try:
        yield
    finally:
        stop_listening()
        await end(looking)
