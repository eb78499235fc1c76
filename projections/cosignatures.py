"""Finds the witnesses that have not cosigned yet, and how long checkpoints have waited for them.

Table: `cosignatures`, which `projections/checkpoints.py` writes. A witness is named by the name and the id of its key.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from events.database import Connection, Database
from projections.checkpoints import SignedCheckpoint
from projections.proof.cosignature import Witness

# The newest checkpoint of the current log, if the witness has not cosigned it.
WITHOUT = """
select k.origin, k.size, k.root, k.note, k.signed_at, k.copied_at
from (select * from checkpoints c
      where c.origin = (select o.origin from log_origins o order by o.number desc limit 1)
      order by c.size desc limit 1) as k
where not exists (select from cosignatures s where (s.origin, s.size, s.witness) = (k.origin, k.size, $1))
"""

LAST = "select max(size) from cosignatures where origin = $1 and witness = $2"

# For each witness: how long the first checkpoint after its last cosignature has waited, in seconds.
LAGS = """
select w.witness, coalesce(extract(epoch from clock_timestamp() - (
    select c.signed_at from checkpoints c
    where c.origin = l.origin and c.size > coalesce(
        (select max(s.size) from cosignatures s where s.origin = l.origin and s.witness = w.witness), -1
    )
    order by c.size limit 1
)), 0)::float8 as seconds
from (select o.origin from log_origins o order by o.number desc limit 1) as l
cross join unnest($1::text[]) with ordinality as w(witness, place)
order by w.place
"""


@dataclass(frozen=True, slots=True)
class WitnessLag:
    """The seconds that checkpoints have waited for this witness, or 0 if none waits."""

    witness: str
    seconds: float


def identity(witness: Witness) -> str:
    """Returns the name of a witness in the table: the name and the id of its key."""
    return f"{witness.name}+{witness.id.hex()}"


async def newest_without(connection: Connection, witness: Witness) -> SignedCheckpoint | None:
    """Returns the newest checkpoint if this witness has not cosigned it, else None."""
    row = await connection.fetchrow(WITHOUT, identity(witness))
    return None if row is None else SignedCheckpoint(**row)


async def last_cosigned(connection: Connection, origin: str, witness: Witness) -> int:
    """Returns the largest size of this log that the witness is known to have cosigned, or 0."""
    return int(await connection.fetchval(LAST, origin, identity(witness)) or 0)


async def witness_lags(database: Database, witnesses: Sequence[Witness]) -> Sequence[WitnessLag]:
    """Returns the lag of each witness, in their order."""
    if not witnesses:
        return []
    async with database.raw() as connection:
        rows = await connection.fetch(LAGS, [identity(witness) for witness in witnesses])
    lags = zip(witnesses, rows, strict=False)
    return [WitnessLag(witness.name, max(0.0, row["seconds"])) for witness, row in lags]
