"""The fixtures of this folder: a wire inside the process, and short waits."""

from collections.abc import Iterator

import pytest

from tests.short_waits import short_waits
from workers.delivery.wire import LocalWire


@pytest.fixture
def wire() -> LocalWire:
    return LocalWire()


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    # With frequent heartbeats, an attempt whose end was not recorded is soon rescued, so that tests
    # see it.
    with short_waits(monkeypatch, seconds_between_heartbeats=0.2):
        yield
