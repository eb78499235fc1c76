"""The fixtures of this folder."""

import pytest

from workers.delivery.wire import LocalWire


@pytest.fixture
def wire() -> LocalWire:
    return LocalWire()
