"""`Break` and `Edit` describe one deliberate break, and constants name the edited files."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Edit:
    """Replaces the text `old`, which is in the file exactly once, by `new`."""

    file: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Break:
    """One break. `why` says what it would do in production.

    `tests` are ids of pytest. At least one of these tests must fail when the break is made.
    """

    name: str
    why: str
    edits: tuple[Edit, ...]
    tests: tuple[str, ...]


JOB = "events/job.py"
STORE = "events/store.py"
COMMIT = "events/group_commit.py"
CONCURRENCY = "events/concurrency.py"
TILES = "projections/tiles.py"
ATTEMPT = "workers/attempt/attempt.py"
RUNNER = "workers/attempt/runner.py"
SLOTS = "workers/attempt/slots.py"
RESCUE = "workers/liveness/heartbeat.py"
DELIVER = "workers/delivery/tick.py"
WIRE = "workers/delivery/redis_wire.py"
WORKER = "workers/worker.py"
STATEMENTS = "events/statements.py"
WRITER = "events/batch_writer.py"
CLOCK = "events/database_clock.py"
CONTEXT = "workers/attempt/context.py"
WORKER_TABLE = "workers/liveness/worker_table.py"
