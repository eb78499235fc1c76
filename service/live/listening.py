"""Hears every change on the bus, and runs a loop beside it that reads what the bus lost."""

import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

from events.bus import Bus, Change
from events.concurrency import end, lasting


@contextlib.asynccontextmanager
async def listening(
    bus: Bus, hear: Callable[[Change], None], look: Coroutine[Any, Any, None], name: str
) -> AsyncIterator[None]:
    """While this context is open, `hear` gets every change and `look` runs as a task of this name."""
    stop_listening = bus.listen(hear)
    looking = lasting(look, name)
    try:
        yield
    finally:
        stop_listening()
        await end(looking)
