"""Advisory locks on files (`flock`).

The kernel releases the locks of a process that dies, so a dead process holds no lock.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def open_lock(path: Path) -> int:
    """Open the file of a lock, and create it if it is missing. Returns the descriptor."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def share(lock: int) -> None:
    """Take the lock shared. Waits while another process has it exclusively."""
    fcntl.flock(lock, fcntl.LOCK_SH)


def try_exclusively(lock: int) -> bool:
    """Take the lock exclusively if no other process has it. Returns whether it was taken."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def held(lock: int) -> Iterator[None]:
    """Wait for the lock, and hold it exclusively while the block lasts."""
    fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(lock, fcntl.LOCK_UN)
