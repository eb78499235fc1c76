"""Measures the machine's noise: the same arithmetic and fsync before each round.

These two figures show how much the speed of the machine varies. Every other figure of the run varies
at least as much.
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
    """Returns the median seconds of WRITES fsyncs on the disk of the embedded PostgreSQL."""
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
