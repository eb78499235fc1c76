"""Signs checkpoints of a log, and erases events, with a key of the tests."""

import hashlib
from datetime import UTC, datetime

import orjson

from events.database import Connection, Database
from projections import tree
from projections.proof.checkpoint import Checkpoint
from projections.proof.redaction import ERASED_SALT, Redaction
from projections.proof.signed_note import Signer, Verifier, sign
from tests.histories import give_positions
from tests.projections.histories_in_log import unguarded

SECRET = bytes(range(32))
ORIGIN = "select origin from log_origins order by number desc limit 1"
ADD = """
insert into checkpoints (origin, size, root, note)
select $1, $2, $3, $4 where not exists (select from checkpoints where origin = $1 and size >= $2)
"""

EVENT_AT = """
select e.job_id, e.seq, e.type, e.salt, e.data::text as data from log_tiles t
join job_events e on e.job_id = t.job_ids[($1 - 1) % 256 + 1] and e.seq = t.seqs[($1 - 1) % 256 + 1]
where t.tile = ($1 - 1) / 256
"""
KEPT = {"queued": {"reason", "runAt", "maxAttempts", "type"}, "started": {"worker"}, "failed": {"willRetry"}}
"""The keys of the data whose values stay after an erasure (docs/log-format.md)."""


def signer_of(origin: str) -> Signer:
    return Signer(origin, SECRET)


async def sign_log(database: Database) -> Verifier:
    """Seals all events, signs a checkpoint over them, and returns the key that verifies it."""
    await give_positions(database)
    async with database.raw() as connection:
        return await sign_checkpoint(connection, await tree.sealed_size(connection))


async def sign_checkpoint(connection: Connection, size: int) -> Verifier:
    origin = await connection.fetchval(ORIGIN)
    root = await tree.root(connection, size)
    note = sign(Checkpoint(origin, size, root).to_text(), [signer_of(origin)])
    await connection.execute(ADD, origin, size, root, note.to_bytes().decode())
    return signer_of(origin).verifier


async def erase(superuser: Connection, verifier: Verifier, position: int, *, named: bytes | None = None) -> None:
    """Erases the data of an event in a full tile. The note names the data that are left, or `named` if it is given."""
    row = await superuser.fetchrow(EVENT_AT, position)
    assert row is not None
    data = orjson.loads(row["data"])
    left = orjson.dumps({key: value if key in KEPT.get(row["type"], ()) else None for key, value in data.items()})
    old = hashlib.sha256(row["salt"] + row["data"].encode()).digest()
    digest = hashlib.sha256(left if named is None else named).digest()
    redaction = Redaction(verifier.name, position, old, digest, "user:admin", datetime.now(UTC))
    note = sign(redaction.to_text(), [signer_of(verifier.name)]).to_bytes().decode()
    await superuser.execute("insert into redactions (position, note) values ($1, $2)", position, note)
    query = "update job_events set data = $3, salt = $4 where job_id = $1 and seq = $2"
    async with unguarded(superuser):
        await superuser.execute(query, row["job_id"], row["seq"], left.decode(), ERASED_SALT)
