"""Models, in Python, the effect of each SQL statement that the simulated service sends.

The simulation finds a model by the text of the statement. Each model also has a digest of the text
for which it was written, so that `test_simulation.py` fails when the text has changed. A statement
without a model ends the simulation with an error.
"""

import hashlib
from datetime import datetime, timedelta
from itertools import zip_longest
from typing import Any

import asyncpg

from events import statements as statements_module
from projections import jobs as view
from tests.simulation.postgres import CarryOut, Postgres, Row, SimConnection, Statement, Values
from workers import pauses
from workers.attempt import context
from workers.delivery import tick as deliver
from workers.liveness import heartbeat as rescue
from workers.liveness import worker_table

STORE_EFFECT = "insert into effects (job_id, attempt, n) values (:job_id, :attempt, :n)"

JOB_COLUMNS = statements_module.JOB_COLUMNS.split(", ")
ACTIVE = ("queued", "processing")


def digest(text: str) -> str:
    return hashlib.sha256(" ".join(text.split()).encode()).hexdigest()[:8]


def move_jobs(server: Postgres, connection: SimConnection, now: datetime, values: Values) -> list[Row]:
    asked = (
        "expected_seq", "status", "result", "error", "attempt", "max_attempts", "worker", "seq", "run_at", "started_at",
        "finished_at", "updated_at",
    )  # fmt: skip
    moved: dict[str, dict[str, Any]] = {}
    moves, *events = values
    for id, *changes in moves:
        row = dict(zip(asked, changes, strict=True))
        held = server.jobs.get(id)
        if held is not None and held["seq"] == row.pop("expected_seq"):
            row["run_at"] = row["run_at"] or held["run_at"]
            row["started_at"] = None if row["status"] == "queued" else row["started_at"] or held["started_at"]
            moved[id] = held | row
    for id, row in moved.items():
        _guard_unique_key(server, id, row)
    return _write(server, moved, events)


def start_jobs(server: Postgres, connection: SimConnection, now: datetime, values: Values) -> list[Row]:
    *asked, worker, data, actor, at = values
    paused = {row["type"] for row in in_force(server, connection, now, ())}
    started: dict[str, dict[str, Any]] = {}
    events: list[Values] = []
    for id, attempt, type, salt in zip(*asked, strict=True):
        held = server.jobs.get(id)
        if held is None or (held["status"], held["attempt"], held["type"]) != ("queued", attempt, type) or type in paused:
            continue
        moment = max(at, held["updated_at"])
        started[id] = held | {
            "status": "processing", "worker": worker, "seq": held["seq"] + 1, "started_at": moment, "updated_at": moment,
        }  # fmt: skip
        events.append((id, held["seq"] + 1, attempt, "started", data, salt, actor, None, moment))
    return [Row(started[row["id"]]) for row in _write(server, started, (events, []))]


def until_free(server: Postgres, connection: SimConnection, now: datetime, values: Values) -> list[Row]:
    """Models the statement that waits for locked rows: it does nothing.

    Statements take effect at one instant here, so no row is ever locked.
    """
    return []


def started_before(server: Postgres, connection: SimConnection, now: datetime, values: Values) -> list[Row]:
    found = []
    for id, attempt, salt in zip(*values, strict=True):
        row = server.jobs.get(id)
        goes_on = row is not None and (row["status"], row["attempt"]) == ("processing", attempt)
        if goes_on and any(event["type"] == "started" and event["salt"] == salt for event in server.events[id]):
            found.append(Row(server.jobs[id]))
    return found


def create_jobs(server: Postgres, connection: SimConnection, now: datetime, values: Values) -> list[Row]:
    created: dict[str, dict[str, Any]] = {}
    keys: dict[tuple[str, str], tuple[str, str, float]] = {}
    creations, *events = values
    for id, type, payload, user_id, most, run_at, created_at, unique_key, key, request_hash in sorted(
        creations, key=lambda row: (row[7] is None, row[7], row[0])
    ):
        known = server.keys.get((user_id, key))
        # A statement sees keys that were committed before it arrived, and skips a job with such a
        # key. A key that was committed later is seen only by the unique index, which raises an
        # error.
        if key is not None and known is not None and known[2] <= now.timestamp():
            continue
        if id in server.jobs or _active(server, unique_key, among=created):
            continue
        if key is not None and (known is not None or (user_id, key) in keys):
            raise _unique_violation("one_key_of_one_user_is_one_job")
        if key is not None:
            keys[user_id, key] = id, request_hash, server.now.timestamp()
        created[id] = dict.fromkeys(JOB_COLUMNS) | {
            "id": id, "type": type, "status": "queued", "payload": payload, "user_id": user_id, "attempt": 1,
            "max_attempts": most, "seq": 1, "run_at": run_at, "created_at": created_at, "updated_at": created_at,
            "unique_key": unique_key,
        }  # fmt: skip
    server.keys |= keys
    return _write(server, created, events)


def _write(server: Postgres, rows: dict[str, dict[str, Any]], values: Values) -> list[Row]:
    """Writes rows of the view and the events of their jobs, all at one instant.

    `values` has the rows of the events and their causes. As `unnest` does, missing causes become nulls.
    """
    columns = ("job_id", "seq", "attempt", "type", "data", "salt", "actor", "request_id", "at")
    written: dict[str, list[dict[str, Any]]] = {id: [] for id in rows}
    for event, cause in zip_longest(*values):
        if event[0] in rows:
            written[event[0]].append(dict(zip(columns, event, strict=True)) | {"cause": cause})
    for id, row in rows.items():
        server.jobs[id] = row
        server.events.setdefault(id, []).extend(written[id])
        server.checks.committed(row, written[id])
    return [Row({"id": id}) for id in sorted(rows, key=lambda _: server.random.random())]


def _guard_unique_key(server: Postgres, id: str, row: dict[str, Any]) -> None:
    was_active = server.jobs[id]["status"] in ACTIVE
    if row["status"] in ACTIVE and not was_active and _active(server, row["unique_key"], among={}):
        raise _unique_violation("only_one_active_job_of_this_kind")


def _active(server: Postgres, unique_key: str | None, *, among: dict[str, dict[str, Any]]) -> str | None:
    """Returns the id of the active job with this unique key, or None."""
    if unique_key is None:
        return None
    for row in (*server.jobs.values(), *among.values()):
        if row["unique_key"] == unique_key and row["status"] in ACTIVE:
            return str(row["id"])
    return None


def _unique_violation(constraint: str) -> asyncpg.UniqueViolationError:
    error = asyncpg.UniqueViolationError(f"duplicate key value violates unique constraint {constraint}")
    error.constraint_name = constraint
    return error


def salts(server: Postgres, connection: SimConnection, now: datetime, values: Values) -> list[Row]:
    found = []
    for id, seq in zip(*values, strict=True):
        found += [event for event in server.events.get(id, ()) if event["seq"] == seq]
    return [Row({"job_id": event["job_id"], "salt": event["salt"]}) for event in found]


def jobs(server: Postgres, connection: SimConnection, now: datetime, values: Values) -> list[Row]:
    return [Row(server.jobs[id]) for id in values[0] if id in server.jobs]


def active_job(server: Postgres, connection: SimConnection, now: datetime, values: Values) -> list[Row]:
    id = _active(server, values[0]["unique_key"], among={})
    return [] if id is None else [Row({"id": id})]


def active_of_job(server: Postgres, connection: SimConnection, now: datetime, values: Values) -> list[Row]:
    id = _active(server, server.jobs[values[0]["id"]]["unique_key"], among={})
    return [] if id is None else [Row({"id": id})]


def key(server: Postgres, connection: SimConnection, now: datetime, values: Values) -> list[Row]:
    known = server.keys.get((values[0]["user_id"], values[0]["key"]))
    return [] if known is None else [Row({"job_id": known[0], "request_hash": known[1]})]


def bind_key(server: Postgres, connection: SimConnection, now: datetime, values: Values) -> list[Row]:
    asked = values[0]
    known = asked["job_id"], asked["request_hash"], server.now.timestamp()
    server.keys.setdefault((asked["user_id"], asked["key"]), known)
    return []


def choose_plans(server: Postgres, connection: SimConnection, now: datetime, values: Values) -> list[Row]:
    return [Row({"small": False})]


def forget_plans(server: Postgres, connection: SimConnection, now: datetime, values: Values) -> list[Row]:
    return []


def clock(server: Postgres, connection: SimConnection, now: datetime, values: Values) -> list[Row]:
    return [Row({"clock_timestamp": server.now})]


def try_lock(server: Postgres, connection: SimConnection, now: datetime, values: Values) -> list[Row]:
    return [Row({"locked": server.lock(connection)})]


def due(server: Postgres, connection: SimConnection, now: datetime, values: Values) -> list[Row]:
    type, run_at, id, limit = values
    rows = [row for row in _queued(server, type) if row["run_at"] <= now and (row["run_at"], row["id"]) > (run_at, id)]
    rows.sort(key=lambda row: (row["run_at"], row["id"]))
    return [Row({column: row[column] for column in ("id", "type", "attempt", "run_at")}) for row in rows[:limit]]


def next_due(server: Postgres, connection: SimConnection, now: datetime, values: Values) -> list[Row]:
    times = [row["run_at"] for type in values[0]["types"] for row in _queued(server, type) if row["run_at"] > now]
    return [Row({"seconds": (min(times) - now).total_seconds() if times else None})]


def _queued(server: Postgres, type: str) -> list[dict[str, Any]]:
    return [row for row in server.jobs.values() if row["status"] == "queued" and row["type"] == type]


def in_force(server: Postgres, connection: SimConnection, now: datetime, values: Values) -> list[Row]:
    return [Row(pause) for _, pause in sorted(server.pauses.items()) if pause["until"] is None or pause["until"] > now]


def pause(server: Postgres, connection: SimConnection, now: datetime, values: Values) -> list[Row]:
    server.pauses[values[0]["type"]] = values[0] | {"since": now}
    return []


def register(server: Postgres, connection: SimConnection, now: datetime, values: Values) -> list[Row]:
    asked = values[0]
    if asked["id"] in server.workers:
        raise _unique_violation("workers_pkey")
    server.workers[asked["id"]] = asked | {"last_seen": now, "gone_at": None, "process": connection.client}
    server.checks.workers[asked["id"]] = connection.client
    return []


def beat(server: Postgres, connection: SimConnection, now: datetime, values: Values) -> list[Row]:
    worker = _present(server, values[0]["id"])
    if worker is None:
        return []
    silent_for = (now - worker["last_seen"]).total_seconds()
    worker["last_seen"] = now
    return [Row({"last_seen": now, "silent_for": silent_for})]


def leave(server: Postgres, connection: SimConnection, now: datetime, values: Values) -> list[Row]:
    worker = _present(server, values[0]["id"])
    if worker is not None:
        worker["gone_at"] = now
        server.checks.said_goodbye(worker["id"])
    return []


def declare_gone(server: Postgres, connection: SimConnection, now: datetime, values: Values) -> list[Row]:
    lease, beat = timedelta(seconds=values[0]["lease"]), timedelta(seconds=values[0]["beat"])
    me = server.workers.get(values[0]["me"])
    regular = me is not None and me["last_seen"] == values[0]["seen"] and me["last_seen"] >= now - beat
    if server.started_at >= now - lease or not regular:
        return []
    gone = [worker for worker in _all_present(server) if worker["last_seen"] < now - lease]
    for worker in gone:
        worker["gone_at"] = now
        server.checks.declared_gone(worker["id"], worker["process"], worker["last_seen"])
    return [Row({"id": worker["id"]}) for worker in gone]


def present_types(server: Postgres, connection: SimConnection, now: datetime, values: Values) -> list[Row]:
    lease = timedelta(seconds=values[0]["lease"])
    types = {type: None for worker in _all_present(server) if worker["last_seen"] > now - lease for type in worker["job_types"]}
    return [Row({"type": type}) for type in types]


def left_behind(server: Postgres, connection: SimConnection, now: datetime, values: Values) -> list[Row]:
    known = [row for row in server.jobs.values() if row["type"] in values[0]["types"]]
    rows = [row for row in known if row["status"] == "processing" and _present(server, row["worker"]) is None]
    return [Row(row) for row in rows[: rescue.MOST_AT_ONCE]]


def held_by(server: Postgres, connection: SimConnection, now: datetime, values: Values) -> list[Row]:
    worker = values[0]["worker"]
    return [Row(row) for row in server.jobs.values() if row["status"] == "processing" and row["worker"] == worker]


def _present(server: Postgres, worker_id: str) -> dict[str, Any] | None:
    worker = server.workers.get(worker_id)
    return None if worker is None or worker["gone_at"] is not None else worker


def _all_present(server: Postgres) -> list[dict[str, Any]]:
    return [worker for worker in server.workers.values() if worker["gone_at"] is None]


def still_mine(server: Postgres, connection: SimConnection, now: datetime, values: Values) -> list[Row]:
    asked = values[0]
    row = server.jobs.get(asked["job_id"])
    wanted = "processing", asked["attempt"], asked["worker"]
    if row is None or (row["status"], row["attempt"], row["worker"]) != wanted:
        return []
    if connection.transaction_open is not None:
        connection.transaction_open.still_mine = asked["job_id"], asked["attempt"], server.loop.time()
    return [Row({"one": 1})]


def store_effect(server: Postgres, connection: SimConnection, now: datetime, values: Values) -> list[Row]:
    transaction = connection.transaction_open
    if transaction is None:
        server.checks.fail("an effect must be stored inside a transaction")
    job_id, attempt = values[0]["job_id"], values[0]["attempt"]
    transaction.writes.append(lambda: server.checks.effect_committed(job_id, attempt, transaction.still_mine))
    return []


def _known(text: str, name: str, digest: str, carry_out: CarryOut) -> tuple[str, Statement]:
    return text, Statement(name, digest, carry_out)


WHO_IS_ACTIVE = (
    "select a.id from jobs a join jobs j using (unique_key) where j.id = :id and a.status in ('queued', 'processing')"
)

STATEMENTS: dict[str, Statement] = dict(
    (
        _known(statements_module.MOVE_JOBS, "MOVE_JOBS", "9f05be81", move_jobs),
        _known(statements_module.CREATE_JOBS, "CREATE_JOBS", "1ce38b89", create_jobs),
        _known(statements_module.START_JOBS, "START_JOBS", "918b0498", start_jobs),
        _known(statements_module.UNTIL_FREE, "UNTIL_FREE", "23c4d1f5", until_free),
        _known(statements_module.STARTED_BEFORE, "STARTED_BEFORE", "8833c7ff", started_before),
        _known(statements_module.SALTS, "SALTS", "de1eda25", salts),
        _known(statements_module.JOBS, "JOBS", "165b223e", jobs),
        _known(statements_module.ACTIVE_JOB, "ACTIVE_JOB", "2cf41f7d", active_job),
        _known(WHO_IS_ACTIVE, "WHO_IS_ACTIVE", "5413ff7e", active_of_job),
        _known(statements_module.KEY, "KEY", "8ae19482", key),
        _known(statements_module.BIND_KEY, "BIND_KEY", "a44be0a4", bind_key),
        _known("select clock_timestamp()", "CLOCK", "4c502774", clock),
        _known(statements_module.CHOOSE_PLANS, "CHOOSE_PLANS", "c372144c", choose_plans),
        _known(statements_module.FORGET_PLANS, "FORGET_PLANS", "edd7d774", forget_plans),
        _known(view.DUE, "DUE", "1ea41dfa", due),
        _known(view.NEXT_DUE, "NEXT_DUE", "be806f56", next_due),
        _known(view.HELD_BY, "HELD_BY", "94efed4f", held_by),
        _known(deliver.TRY_LOCK, "TRY_LOCK", "e77aedb8", try_lock),
        _known(worker_table.REGISTER, "REGISTER", "bf408eec", register),
        _known(worker_table.BEAT, "BEAT", "a22ab73a", beat),
        _known(worker_table.LEAVE, "LEAVE", "6f8f02cc", leave),
        _known(worker_table.DECLARE_GONE, "DECLARE_GONE", "fb9b5b18", declare_gone),
        _known(pauses.IN_FORCE, "IN_FORCE", "c2776e9b", in_force),
        _known(pauses.PAUSE, "PAUSE", "28015f58", pause),
        _known(worker_table.PRESENT_TYPES, "PRESENT_TYPES", "04f9d679", present_types),
        _known(rescue.LEFT_BEHIND, "LEFT_BEHIND", "78b14c12", left_behind),
        _known(context.STILL_MINE, "STILL_MINE", "11804d4b", still_mine),
        _known(STORE_EFFECT, "STORE_EFFECT", "40e157c2", store_effect),
    )
)
