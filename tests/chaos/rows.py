"""Reads the database for the checks, without the proxies that the faults break.

The SQL is written for these checks and shares nothing with the service.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import asyncpg
import orjson

from events import database
from tests.chaos.history import Event, State, text

if TYPE_CHECKING:
    Connection = asyncpg.Connection[asyncpg.Record]
else:
    Connection = asyncpg.Connection

EVENTS = """
select e.job_id::text as job_id, e.seq, e.attempt, e.type, e.data::text as data, e.actor, e.at, l.position
from job_events e left join job_event_log l using (event_id)
where $1::uuid[] is null or e.job_id = any($1)
order by e.job_id, e.seq
"""

VIEW = """
select id::text as id, type, status, payload::text as payload, result::text as result, error::text as error,
    user_id::text as user_id, attempt, max_attempts, worker, seq, run_at, started_at, finished_at, created_at, updated_at
from jobs where $1::uuid[] is null or id = any($1)
"""

RECENT = "select id from jobs where updated_at > now() - interval '12 seconds' order by random() limit 150"
KEYS = "select user_id::text as user_id, key, job_id::text as job_id from idempotency_keys"
EFFECTS = "select job_id::text as job_id, attempt, at from chaos_effects"
POSITIONS = "select count(*), coalesce(min(position), 1), coalesce(max(position), 0) from job_event_log"
DOUBLED_UNIQUE = """
select unique_key from jobs where unique_key is not null and status in ('queued', 'processing')
group by unique_key having count(*) > 1
"""


AWAY = (*database.AWAY, asyncpg.QueryCanceledError)
"""The errors of asyncpg that are expected while PostgreSQL is killed.

An error in a statement is not among them.
"""


@dataclass(frozen=True, slots=True)
class Everything:
    histories: dict[str, list[Event]]
    view: dict[str, State]
    keys: dict[tuple[str, str], str]
    effects: dict[tuple[str, int], Any]
    positions: tuple[int, int, int]
    """The number of positions, the first and the last."""
    said: dict[str, set[str]]
    """The ids of the stored messages of each room."""


async def connect(url: str) -> Connection:
    return await asyncpg.connect(url, timeout=10, command_timeout=60)


async def histories(connection: Connection, ids: Sequence[str] | None) -> dict[str, list[Event]]:
    found: dict[str, list[Event]] = defaultdict(list)
    for row in await connection.fetch(EVENTS, ids):
        place = row["job_id"], row["seq"], row["attempt"]
        event = Event(*place, row["type"], orjson.loads(row["data"]), row["actor"], row["at"], row["position"])
        found[event.job_id].append(event)
    return found


async def view(connection: Connection, ids: Sequence[str] | None) -> dict[str, State]:
    return {row["id"]: _shown(row) for row in await connection.fetch(VIEW, ids)}


async def everything(url: str) -> Everything:
    """Reads all rows that the checks need, in one snapshot."""
    connection = await connect(url)
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            count, first, last = (await connection.fetchrow(POSITIONS)) or (0, 1, 0)
            said: dict[str, set[str]] = defaultdict(set)
            for row in await connection.fetch("select room_id, message_id from chatwork_messages"):
                said[row["room_id"]].add(row["message_id"])
            return Everything(
                histories=await histories(connection, None),
                view=await view(connection, None),
                keys={(row["user_id"], row["key"]): row["job_id"] for row in await connection.fetch(KEYS)},
                effects={(row["job_id"], row["attempt"]): row["at"] for row in await connection.fetch(EFFECTS)},
                positions=(count, first, last),
                said=said,
            )
    finally:
        await connection.close()


def _shown(row: asyncpg.Record) -> State:
    return {
        "id": row["id"],
        "type": row["type"],
        "status": row["status"],
        "payload": _json(row["payload"]),
        "result": _json(row["result"]),
        "error": _json(row["error"]),
        "userId": row["user_id"],
        "attempt": row["attempt"],
        "maxAttempts": row["max_attempts"],
        "worker": row["worker"],
        "seq": row["seq"],
        "runAt": text(row["run_at"]),
        "startedAt": _time(row["started_at"]),
        "finishedAt": _time(row["finished_at"]),
        "createdAt": text(row["created_at"]),
        "updatedAt": text(row["updated_at"]),
    }


def _json(value: str | None) -> Any:
    return None if value is None else orjson.loads(value)


def _time(value: Any) -> str | None:
    return None if value is None else text(value)
