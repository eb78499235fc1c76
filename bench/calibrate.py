"""Measures the noise of the machine: the same arithmetic and fsync before each round.

Every other figure of a run varies at least as much as these two.
"""

import os
import statistics
import tempfile
import time
from pathlib import Path

TURNS = 3_000_000
WRITES = 300
PAGE = bytes(8192)


def calibrate() -> dict[str, float]:
    return {"cpu": _seconds_of_arithmetic() * 1000, "fsync": _seconds_of_one_fsync() * 1000}


def _seconds_of_arithmetic() -> float:
    began, total = time.perf_counter(), 0
    for number in range(TURNS):
        total = (total * 31 + number) & 0xFFFFFFFF
    return time.perf_counter() - began


def _seconds_of_one_fsync() -> float:
    """The median of WRITES, on the disk that the embedded PostgreSQL uses too."""
    durations = []
    with tempfile.TemporaryDirectory(prefix="rireki-bench-") as folder:
        file = os.open(Path(folder, "fsync"), os.O_WRONLY | os.O_CREAT)
        for _ in range(WRITES):
            began = time.perf_counter()
            os.pwrite(file, PAGE, 0)
            os.fdatasync(file)
            durations.append(time.perf_counter() - began)
        os.close(file)
    return statistics.median(durations)
