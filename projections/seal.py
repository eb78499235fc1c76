"""Seals the log: gives every event, shortly after its append, the next `position`.

The `event_id`, which comes from a sequence, is not a safe order for readers. A transaction with a lower number may commit
after a transaction with a higher number, and a reader that continues after the highest number would miss the events of the
first one. So one sealer at a time gives positions to the events of those transactions that are older than every running
transaction, in the order (transaction, event id). No event that belongs before these events can appear later.

Positions are kept in tiles (`projections/tiles.py`). After a restore into another cluster, the transaction ids of both
clusters cannot be compared, so the sealer begins a new epoch: while appends are locked out, it seals all events that have no
position, and afterwards only events with larger ids.
"""

import asyncio
from collections.abc import Iterable, Iterator, Sequence

import structlog

from events.database import DATABASE_ERRORS, Connection, Database, Record
from events.database_faults import log_trouble
from projections import tiles
from projections.proof.tiles import HIGHEST_LEVEL, WIDTH

log = structlog.get_logger(__name__)

SEALING = 0x74696C6573  # the advisory lock's key, "tiles" in ASCII. Versions before tiles use another key.
MOST_AT_ONCE = 10_000  # events
SEAL_EVERY = 0.5  # seconds
CONVERT_AT_ONCE = 40  # tiles
CONVERT_EVERY = 0.02  # seconds between two conversions, so that they leave the server time for other work

TRY_LOCK = "select pg_try_advisory_xact_lock($1)"
WAIT_FOR_LOCK = "select pg_advisory_xact_lock($1)"

READ_CURSOR = """
select c.xid::text as xid, c.event_id, c.position, c.epoch, c.floor, c.tiled, c.rows_to,
    s.system_identifier = c.system_identifier as same_cluster
from job_event_log_cursor c, pg_control_system() s
"""

# Uses the order of the sealer, so the first row is the event that gets the next position.
LAG = """
select extract(epoch from clock_timestamp() - e.at)::float8
from job_events e
where (e.xid, e.event_id) > ((select xid from job_event_log_cursor), (select event_id from job_event_log_cursor))
and e.event_id > (select floor from job_event_log_cursor)
order by e.xid, e.event_id
limit 1
"""


class NoCursor(RuntimeError):
    """The sealer's cursor is gone, so nobody knows which events have a position."""


async def seal(database: Database, *, wait: bool = False) -> int:
    """Gives positions to at most `MOST_AT_ONCE` events, and returns their number.

    While another process seals, returns 0 at once, or with `wait` waits until that process has finished. Works only on the
    primary server. The first call in another cluster gives positions to all events that have none. Raises `NoCursor`.
    """
    async with database.transaction(), database.raw() as connection:
        if not await _take_turn(connection, wait=wait):
            return 0
        return await _seal(connection)


async def seal_everything(database: Database) -> None:
    """Gives positions to all events of transactions older than every running transaction."""
    while await seal(database, wait=True) >= MOST_AT_ONCE:
        pass


async def seal_lag(database: Database) -> float:
    """Returns the seconds that the oldest event without a position has waited, or 0 if none waits."""
    waited = await database.fetch_val(LAG)
    return 0.0 if waited is None else max(0.0, float(waited))


async def keep_sealing(database: Database) -> None:
    """Seals every `SEAL_EVERY` seconds until cancelled.

    When there is nothing to seal, it copies positions of older versions into tiles.

    Several processes may run this, and a lock lets one process seal at a time.
    """
    while True:
        pause = SEAL_EVERY
        try:
            if await seal(database) >= MOST_AT_ONCE:
                pause = 0
            elif await convert(database):
                pause = CONVERT_EVERY
        except (*DATABASE_ERRORS, NoCursor) as error:
            log_trouble(log, "nothing was sealed", error)
        await asyncio.sleep(pause)


async def convert(database: Database) -> int:
    """Copies up to `CONVERT_AT_ONCE` tiles of positions that were given before tiles existed.

    Returns the number of tiles. It is 0 if none is left, or if another process seals.
    """
    async with database.transaction(), database.raw() as connection:
        if not await _take_turn(connection, wait=False):
            return 0
        cursor = await _cursor(connection)
        if cursor["rows_to"] % WIDTH or cursor["tiled"] >= cursor["rows_to"]:
            return 0
        after, until = cursor["tiled"], min(cursor["rows_to"], cursor["tiled"] + CONVERT_AT_ONCE * WIDTH)
        epochs = await _epochs_of_old_rows(connection, after, until)
        converted = [tile for tile, _ in epochs]
        await connection.execute(tiles.CONVERT, after, until, converted, [epoch for _, epoch in epochs])
        await _add_upper_tiles(connection, converted)
        return len(converted)


async def _take_turn(connection: Connection, *, wait: bool) -> bool:
    if wait:
        await connection.execute(WAIT_FOR_LOCK, SEALING)
        return True
    return bool(await connection.fetchval(TRY_LOCK, SEALING))


async def _cursor(connection: Connection) -> Record:
    cursor = await connection.fetchrow(READ_CURSOR)
    if cursor is None:
        raise NoCursor("the row of job_event_log_cursor is gone: restore it from a backup, because sealing needs it")
    return cursor


async def _seal(connection: Connection) -> int:
    cursor = await _cursor(connection)
    if cursor["rows_to"] % WIDTH:
        await connection.execute(tiles.TAKE_OVER, cursor["rows_to"] - cursor["rows_to"] % WIDTH, cursor["rows_to"])
    if not cursor["same_cluster"]:
        return await _begin_epoch(connection)
    after = (cursor["xid"], cursor["event_id"], cursor["position"], cursor["epoch"], cursor["floor"])
    return await _finish(connection, await connection.fetchrow(tiles.SEAL, *after, MOST_AT_ONCE))


async def _begin_epoch(connection: Connection) -> int:
    await connection.execute(tiles.LOCK_APPENDS_OUT)
    sealed = await _finish(connection, await connection.fetchrow(tiles.SEAL_ALL))
    await connection.execute(tiles.BEGIN_EPOCH)
    return sealed


async def _finish(connection: Connection, sealed: Record | None) -> int:
    """Adds the tiles above the tiles that were just written. Returns the number of sealed events.

    Also removes the rows of the tail whose events are in the new tiles.
    """
    assert sealed is not None
    if sealed["tiles"]:
        await connection.execute(tiles.FORGET_TAIL, sealed["tiles"])
        await _add_upper_tiles(connection, sealed["tiles"])
    return int(sealed["events"])


async def _add_upper_tiles(connection: Connection, added: Iterable[int]) -> None:
    """Adds the tiles of the levels above that have become full with these tiles of level 0."""
    full = set(added)
    for level in range(1, HIGHEST_LEVEL + 1):
        parents = {tile // WIDTH for tile in full}
        full = {
            parent for parent in parents if await connection.fetchval(tiles.UPPER_TILE, level, parent) is not None
        }  # fmt: skip
        if not full:
            return


async def _epochs_of_old_rows(connection: Connection, after: int, until: int) -> Sequence[tuple[int, int | None]]:
    """Returns the number and the epoch of each tile of old rows.

    The epoch is below 0. It is None if the tile's events are not in the order (xid, event_id).
    """
    order = await connection.fetch(tiles.ORDER_OF_OLD_ROWS, after, until)
    before = await connection.fetchrow(tiles.LAST_CONVERTED, after // WIDTH - 1)
    lowest = await connection.fetchval(tiles.LOWEST_EPOCH)
    return list(_epochs(order, before, lowest))


def _epochs(order: Iterable[Record], before: Record | None, lowest: int) -> Iterator[tuple[int, int | None]]:
    """Yields the number and the epoch of each tile.

    A tile has the epoch of the tile before it if its first event comes after the last event of that tile.
    """
    epoch = None if before is None else before["epoch"]
    last = None if before is None or before["xid"] is None else (before["xid"], before["event_id"])
    for tile in order:
        goes_on = epoch is not None and last is not None and (tile["xid"], tile["event_id"]) > last
        if not tile["sorted"]:
            epoch = None
        elif not goes_on:
            lowest -= 1
            epoch = lowest
        last = (tile["last_xid"], tile["last_event_id"])
        yield tile["tile"], epoch
