"""The compared queues ("contestants") and their settings.

The file of each contestant names the source of its settings.
"""

import functools
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from bench.environments import BULLMQ, OURS, node_with_bullmq, python_of

PEERS = "requirements-bench.lock"
# taskiq has its own lock file, because taskiq-redis needs a newer redis-py than saq allows.
TASKIQ = "requirements-bench-taskiq.lock"


@dataclass(frozen=True)
class Entry:
    """A queue with one set of settings, as the report compares it.

    `enqueue` and `bulk` are the numbers of jobs that are queued one by one and in bulk. They are so
    large that draining the jobs takes about two seconds.
    """

    key: str
    name: str
    command: Callable[[], list[str]]
    enqueue: int
    bulk: int = 0
    settings: dict[str, Any] = field(default_factory=dict)
    history: str = "none"
    migrated: bool = False
    """Whether the contestant's database gets the tables of Rireki."""

    @property
    def peer(self) -> str:
        return self.key.partition("-")[0]


def _python(module: str, lock: str | None = None) -> Callable[[], list[str]]:
    return lambda: [python_of(lock) if lock else OURS, "-m", module]


def _node() -> list[str]:
    path = node_with_bullmq()
    return [str(shutil.which("node", path=path)), str(BULLMQ / "bench.js")]


_saq = functools.partial(Entry, command=_python("bench.peers.saq", PEERS), enqueue=5_000)
_procrastinate = functools.partial(
    Entry, command=_python("bench.peers.procrastinate", PEERS), enqueue=1_500, bulk=1_000, history="type and time only"
)
_pgqueuer = functools.partial(
    Entry, command=_python("bench.peers.pgqueuer", PEERS), enqueue=5_000, bulk=20_000, history="status log; payload deleted"
)
_taskiq = functools.partial(Entry, command=_python("bench.peers.taskiq", TASKIQ), enqueue=8_000)
_bullmq = functools.partial(Entry, command=_node, enqueue=20_000, bulk=20_000, history="capped stream")

_ours = functools.partial(
    Entry,
    command=_python("bench.ours"),
    enqueue=10_000,
    bulk=10_000,
    migrated=True,
    history="three events for each job, and the view",
)

ENTRIES = (
    _ours("ours", "ours, as shipped", settings={"slots": 100}),
    _ours("ours-best", "ours, at its best", settings={"slots": 1000}),
    Entry("arq", "arq, as shipped", _python("bench.plain_arq"), enqueue=3_000, settings={"max_jobs": 100}),
    Entry(
        "arq-best", "arq, at its best", _python("bench.plain_arq"), enqueue=5_000,
        settings={"max_jobs": 500, "poll_delay": 0.05, "queue_read_limit": 20_000},
    ),
    _saq("saq", "saq, as documented", settings={"worker": {"concurrency": 100}}),
    _saq(
        "saq-best", "saq, at its best",
        settings={"queue": {"max_concurrent_ops": 100}, "worker": {"concurrency": 100, "timers": {"abort": 0.05}}},
    ),
    _procrastinate(
        "procrastinate", "procrastinate, as documented", settings={"pool": {}, "worker": {"concurrency": 100}},
    ),
    _procrastinate(
        "procrastinate-best", "procrastinate, at its best",
        settings={"pool": {"min_size": 20, "max_size": 20}, "worker": {"concurrency": 100, "delete_jobs": "successful"}},
    ),
    _pgqueuer(
        "pgqueuer", "pgqueuer, as documented",
        settings={"pool": {"min_size": 5, "max_size": 20}, "worker": {"batch_size": 20, "max_concurrent_tasks": 100}},
    ),
    _pgqueuer(
        "pgqueuer-best", "pgqueuer, at its best",
        settings={
            "pool": {"min_size": 10, "max_size": 10}, "producer": {"min_size": 2, "max_size": 2}, "worker": {"batch_size": 200},
        },
    ),
    _taskiq(
        "taskiq", "taskiq, as documented",
        settings={"worker": {"max_async_tasks": 100}, "results": {"result_ex_time": 1_000}},
    ),
    _taskiq(
        "taskiq-best", "taskiq, at its best",
        settings={
            "worker": {"max_async_tasks": 100, "max_prefetch": 500, "validate_params": False},
            "broker": {"xread_count": 500},
        },
    ),
    _bullmq(
        "bullmq", "BullMQ, as documented",
        settings={"worker": {"concurrency": 100}, "jobs": {"removeOnComplete": {"count": 1_000}}, "connection": {}},
    ),
    _bullmq(
        "bullmq-best", "BullMQ, at its best",
        settings={
            "worker": {"concurrency": 300}, "jobs": {"removeOnComplete": True},
            "connection": {"enableAutoPipelining": True},
        },
    ),
)  # fmt: skip

SHORT = ("ours", "arq")
PEER_NAMES = tuple(dict.fromkeys(entry.peer for entry in ENTRIES))


def chosen(names: tuple[str, ...]) -> list[Entry]:
    """Returns the entries whose peer (`saq`) or key (`saq-best`) is in `names`.

    Without names it returns all entries.
    """
    return [entry for entry in ENTRIES if not names or entry.key in names or entry.peer in names]
