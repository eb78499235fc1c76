"""Reads the log in order of position, many events at a time, for an export."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence

from events.database import Connection, Database, Record
from events.positions import places
from projections.entries import entry_as_sealed
from projections.export_lines import line_of, time_text
from projections.proof.entry import ENTRY
from projections.tree import TreeDamaged

AT_ONCE = 2_560  # events read by one query: ten tiles

# `offset 0` makes PostgreSQL look each event up by its primary key. Columns are cast to what Python reads fastest.
EVENTS = f"""
select l.position, e.job_id::text as job_id, e.seq, e.type, e.attempt, e.actor, e.request_id, e.cause,
    timestamptz_send(e.at) as at, e.data::text as data{{proof}}
from {places(after="$1::bigint", until="$2::bigint")} as l
left join lateral (select * from job_events where job_id = l.job_id and seq = l.seq offset 0) as e on true
{{redactions}}
order by l.position
"""
WITHOUT_PROOF = EVENTS.format(proof="", redactions="")
WITH_PROOF = EVENTS.format(
    proof=f", e.salt, {ENTRY} as entry, r.note", redactions="left join redactions r on r.position = l.position"
)  # fmt: skip


async def rows_of(database: Database, after: int, until: int, *, with_proof: bool) -> AsyncIterator[Sequence[Record]]:
    """Yields the rows of the positions after `after` up to `until`, `AT_ONCE` at a time.

    PostgreSQL works on the next step while the caller works on this one. Each step is one statement, so an event and its
    redaction are of one snapshot. The rows have `salt`, `entry` and `note` only with `with_proof`. If an event is gone, its row
    has only the position, and all else is null.

    With `with_proof`, raises `TreeDamaged` if a position is gone too.
    """
    query = WITH_PROOF if with_proof else WITHOUT_PROOF
    connection = await database.hold()
    step: asyncio.Task[list[Record]] | None = None
    try:
        statement = await connection.prepare(query)
        step = asyncio.create_task(statement.fetch(after, min(until, after + AT_ONCE)))
        while after < until:
            rows = await step
            if with_proof and len(rows) < min(until - after, AT_ONCE):
                raise TreeDamaged(f"positions after {after} are gone from the database")
            after = min(until, after + AT_ONCE)
            step = asyncio.create_task(statement.fetch(after, min(until, after + AT_ONCE)))
            await asyncio.sleep(0)  # lets the task send its query before the caller works
            yield rows
    finally:
        await _end(step, connection)


async def _end(step: asyncio.Task[list[Record]] | None, connection: Connection) -> None:
    if step is not None:
        step.cancel()
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await step
    await connection.close(timeout=5)


def entry_in(row: Record) -> bytes:
    """Returns the entry that the event of a row had when it was sealed, or no bytes if the event is gone."""
    return entry_as_sealed(row["entry"], row["note"])


def line_in(row: Record, *, with_proof: bool) -> bytes:
    """Returns the line of a row, or no bytes if the event is gone. `with_proof` adds the salt and the redaction."""
    position, job_id, seq, kind, attempt, actor, request_id, cause, at, data, *proof = row
    if job_id is None:
        return b""
    fields = {
        "jobId": job_id, "seq": seq, "position": position, "type": kind, "attempt": attempt, "actor": actor,
        "requestId": request_id, "cause": cause, "at": time_text(int.from_bytes(at, "big", signed=True)),
    }  # fmt: skip
    if not with_proof:
        return line_of(fields, _on_one_line(data if data.lstrip().startswith("{") else f'{{"unreadable":{data}}}'))
    salt, _, note = proof
    fields["salt"] = salt.hex()
    if note is not None:
        fields["redaction"] = note
    return line_of(fields, data)


def _on_one_line(data: str) -> str:
    """Replaces line breaks in JSON by spaces. This changes no value, because strings hold only escaped line breaks."""
    return data.replace("\n", " ").replace("\r", " ") if "\n" in data or "\r" in data else data
