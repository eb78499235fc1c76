"""Some hundred hostile inputs for each reader. `python -m tests.fuzz` runs many more."""

import subprocess
import sys
import time

import pytest

from tests.fuzz.__main__ import READERS
from tests.fuzz.inputs import MOST_MEMORY, Reader, _peak, run_reader


@pytest.mark.parametrize("name", READERS)
def test_a_reader_refuses_hostile_input_only_as_it_declares(name: str) -> None:
    """It is also quick, and takes little memory."""
    run, faults = run_reader(READERS[name], inputs=300, seed=1)

    assert faults == [], "\n".join(map(str, faults))
    assert run.accepted > 0


def crash(given: bytes) -> None:
    if b"x" in given:
        raise KeyError("a fault of the reader")


def hang(given: bytes) -> None:
    until = time.thread_time() + 0.12
    while time.thread_time() < until:
        pass


KEPT: list[bytes] = []


def keep(given: bytes) -> None:
    peak = _peak()
    while _peak() - peak <= MOST_MEMORY:
        KEPT.append(b"x" * 2**22)


@pytest.mark.parametrize(("read", "told"), [(crash, "KeyError"), (hang, "it took"), (keep, "the process grew")])
def test_crashes_hangs_and_growth_are_found(read: object, told: str) -> None:
    reader = Reader("broken", read, (ValueError,), [b"a"], [b"x"])  # type: ignore[arg-type]

    _, faults = run_reader(reader, inputs=20 if read is crash else 1, seed=1)
    KEPT.clear()

    assert told in faults[0].problem


@pytest.mark.timeout(600)  # seconds; the test takes about ten, but it starts a service, PostgreSQL and Redis
def test_requests_to_a_running_service_are_answered_as_documented() -> None:
    """Sends some requests of an admin.

    `python -m tests.fuzz --requests 20000` sends many more, as each role.

    The fuzzer runs in a process of its own, because schemathesis adds a plugin and warnings to pytest.
    """
    run = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", "--requests", "80", "--role", "admin"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip

    assert run.returncode == 0, run.stdout
    assert "80 requests to" in run.stdout
