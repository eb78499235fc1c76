"""The fixtures of this folder: a wire inside the process, and short waits."""

from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs

from workers.attempt import attempt
from workers.delivery import tick
from workers.delivery.wire import LocalWire
from workers.liveness import heartbeat


@pytest.fixture
def wire() -> LocalWire:
    return LocalWire()


@pytest.fixture(autouse=True)
def _quick_reactions(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(attempt, "PATIENCE", 0.2)
    monkeypatch.setattr(tick, "TICK", 0.1)
    # With a short heartbeat, an attempt whose end was not recorded is soon rescued, so that tests
    # see it.
    monkeypatch.setattr(heartbeat, "HEARTBEAT", 0.2)
    with capture_logs():
        yield
