"""Shortens the waits of workers, so that tests need not wait for seconds."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from structlog.testing import capture_logs

from workers.attempt import attempt
from workers.delivery import tick
from workers.liveness import heartbeat


@contextmanager
def short_waits(monkeypatch: pytest.MonkeyPatch, *, seconds_between_heartbeats: float | None = None) -> Iterator[None]:
    """Shortens the wait for a handler to stop and the time between ticks; captures log lines.

    The waits stay short until the test ends, the log lines are captured until the block ends.
    """
    monkeypatch.setattr(attempt, "PATIENCE", 0.2)
    monkeypatch.setattr(tick, "TICK", 0.1)
    if seconds_between_heartbeats is not None:
        monkeypatch.setattr(heartbeat, "HEARTBEAT", seconds_between_heartbeats)
    with capture_logs():
        yield
