"""Positions in tiles: looked up, never changed, and copied from older rows.

Each tile has the right hashes of its events' entries.
"""

import asyncio
import random
from collections.abc import AsyncIterator

import asyncpg
import pytest

from events.database import Connection, Database, connect
from events.history import History
from events.job import word
from events.positions import POSITION
from projections import seal as seal_module
from projections import search
from projections.changes import last_position
from projections.seal import convert, seal, seal_everything
from projections.search import EventFilter, first_events, last_events
from tests.histories import give_positions
from tests.projections.conftest import superuser
from tests.projections.histories_in_log import unguarded
from tests.projections.tiled_logs import append, check_lookups, check_tiles, cursor_of, in_order

__all__ = ["superuser"]

LOOKED_UP = f"select e.job_id, e.seq, {POSITION} as position from job_events e"


@pytest.fixture
async def reader(database_url: str) -> AsyncIterator[Connection]:
    connection = await connect(database_url, application_name="a reader")
    yield connection
    await connection.close()


async def test_every_position_is_found_from_its_event_and_every_event_from_its_position(
    database: Database, superuser: Connection
) -> None:
    for name in ("a", "b", "c"):
        await append(superuser, name, jobs=97)
        await give_positions(database)

    await check_lookups(superuser, LOOKED_UP)
    await check_tiles(superuser)
    assert await superuser.fetchval("select count(*) from log_tiles") == 1164 // 256
    assert await superuser.fetchval("select count(*) from log_tail") == 1164 % 256
    assert await superuser.fetchval("select count(*) from log_strays") == 0
    assert await last_position(database) == 1164


async def test_batches_of_any_size_give_the_same_tiles(
    database: Database, superuser: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(20261130)
    await append(superuser, "a", jobs=400)
    sizes = [1, 255, 256, 257, 1, 512, 3]

    async def all_sealed() -> bool:
        size = sizes.pop() if sizes else chance.randint(1, 300)
        monkeypatch.setattr(seal_module, "MOST_AT_ONCE", size)
        await seal(database)
        return await last_position(database) == 1600

    async with asyncio.timeout(60):
        while not await all_sealed():
            await in_order(superuser)

    await check_lookups(superuser, LOOKED_UP)
    await check_tiles(superuser)
    assert await superuser.fetchval("select count(*) from log_tiles") == 6


async def test_a_tile_above_is_written_when_its_256_tiles_are_full(database: Database, superuser: Connection) -> None:
    await append(superuser, "a", jobs=66_000, seqs=1)
    await give_positions(database)

    await check_tiles(superuser)
    assert [tuple(row) for row in await superuser.fetch("select level, tile from log_upper_tiles")] == [(1, 0)]


async def test_a_range_of_the_log_is_read_across_tiles(database: Database, superuser: Connection) -> None:
    await append(superuser, "a", jobs=200)
    await give_positions(database)
    order = await in_order(superuser)
    history = History(database)

    for after, limit in ((0, 1), (0, 256), (255, 2), (256, 256), (200, 500), (767, 100), (799, 5), (800, 5)):
        found = await history.log(after=after, limit=limit)
        assert [(event.job_id, event.seq) for event in found] == order[after : after + limit]
        assert [event.position for event in found] == list(range(after + 1, min(800, after + limit) + 1))


async def test_readers_see_each_position_once_at_every_moment(
    database: Database, superuser: Connection, reader: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seal_module, "MOST_AT_ONCE", 100)
    await append(superuser, "a", jobs=600)
    seen: list[tuple[str, int]] = []
    over = asyncio.Event()

    async def read_along() -> None:
        while not over.is_set():
            async with reader.transaction(isolation="repeatable_read"):
                order = await in_order(reader)
                await check_lookups(reader, f"{LOOKED_UP} where {POSITION} is not null")
            assert order[: len(seen)] == seen
            seen[:] = order

    reading = asyncio.create_task(read_along())
    async with asyncio.timeout(60):
        while await last_position(database) < 2400:
            await seal_everything(database)
    over.set()
    await reading

    assert (await in_order(reader))[: len(seen)] == seen


@pytest.mark.parametrize("wanted", [EventFilter(type="queued"), EventFilter(actor="user:y"), EventFilter("user:x", "progress")])
async def test_a_search_across_tiles_and_epochs_finds_what_a_full_scan_finds(
    database: Database, superuser: Connection, monkeypatch: pytest.MonkeyPatch, wanted: EventFilter
) -> None:
    monkeypatch.setattr(search, "WINDOW", 300)
    await append(superuser, "a", jobs=400)
    await give_positions(database)
    await restored(superuser, 10)
    await append(superuser, "b", jobs=400)
    await give_positions(database)
    for number in range(3):
        await append(superuser, f"c{number}", jobs=150)
        await give_positions(database)
    async with unguarded(superuser):
        await superuser.execute("update job_events set actor = 'user:y' where (event_id * 7919) % 499 = 0")
    last = await last_position(database)
    everything = await first_events(database, EventFilter(), after=0, until=last, limit=10_000)
    expected = [
        event.position
        for event in everything.events
        if wanted.actor in (None, event.actor) and wanted.type in (None, word(event.event))
    ]

    forwards = await first_events(database, wanted, after=0, until=last, limit=10_000)
    backwards = await last_events(database, wanted, after=0, until=last, limit=10_000)
    some = await first_events(database, wanted, after=700, until=2100, limit=10_000)

    assert len(expected) > 5
    assert [event.position for event in forwards.events] == expected
    assert [event.position for event in backwards.events] == expected
    assert [event.position for event in some.events] == [position for position in expected if 700 < (position or 0) <= 2100]


# The guard of tiles -----------------------------------------------------------------------------------------------------------

REFUSED = [
    "update log_tiles set epoch = 7",
    "delete from log_tiles",
    "truncate log_tiles",
    "update log_tail set leaf = leaf",
    "delete from log_tail",
    "delete from log_tail where position = 300",
    "truncate log_tail",
    "truncate log_upper_tiles",
    "truncate log_strays",
    "insert into log_tiles select * from log_tiles on conflict (tile) do update set root = excluded.root",
]


@pytest.mark.parametrize("replication_role", ["origin", "replica"])
async def test_what_is_sealed_is_not_changed_even_by_a_superuser(
    database: Database, superuser: Connection, replication_role: str
) -> None:
    await append(superuser, "a", jobs=100)
    await give_positions(database)
    before = await in_order(superuser)
    await superuser.execute(f"set session_replication_role = {replication_role}")

    for change in REFUSED:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await superuser.execute(change)

    assert await in_order(superuser) == before


async def test_the_tail_goes_only_where_a_tile_holds_the_same(database: Database, superuser: Connection) -> None:
    await append(superuser, "a", jobs=64)
    await give_positions(database)
    again = """
        insert into log_tail (position, job_id, seq, leaf)
        select u.place, u.job_id, u.seq, substr(t.leaves, (u.place::int - 1) * 32 + 1, 32)
        from log_tiles t, unnest(t.job_ids, t.seqs) with ordinality as u(job_id, seq, place) where u.place between 3 and 9
    """
    changes = ("seq = seq + 1", "job_id = gen_random_uuid()", "leaf = sha256(leaf)")

    await superuser.execute(again)
    await superuser.execute("delete from log_tail")
    for change in changes:
        await superuser.execute(again)
        async with unguarded(superuser):
            await superuser.execute(f"update log_tail set {change} where position = 7")
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="keeps its rows until a tile holds them"):
            await superuser.execute("delete from log_tail")
        async with unguarded(superuser):
            await superuser.execute("delete from log_tail")


async def test_without_a_cursor_nothing_is_sealed(database: Database, superuser: Connection) -> None:
    await append(superuser, "a", jobs=1)
    await superuser.execute("delete from job_event_log_cursor")

    with pytest.raises(seal_module.NoCursor, match="job_event_log_cursor is gone"):
        await seal(database)


# Another cluster --------------------------------------------------------------------------------------------------------------


async def restored(connection: Connection, shift: int) -> None:
    """Makes the database look like a database that was restored from another cluster.

    The transaction ids of that cluster are higher by `shift`.
    """
    async with unguarded(connection):
        for table in ("job_events", "log_tail", "log_tiles"):
            await connection.execute(f"update {table} set xid = (xid::text::bigint + {shift})::text::xid8")
        await connection.execute(f"""
            update job_event_log_cursor
            set xid = (xid::text::bigint + {shift})::text::xid8, system_identifier = system_identifier - 1, turn = turn + 1
        """)


@pytest.mark.parametrize("shift", [0, 500, 10**12], ids=["same ids", "ids that come again soon", "ids far above"])
async def test_a_restored_log_goes_on_as_a_new_epoch_and_loses_nothing(
    database: Database, superuser: Connection, shift: int
) -> None:
    await append(superuser, "a", jobs=150)
    await give_positions(database)
    await append(superuser, "b", jobs=100)  # These events were not sealed before the restore.
    before = await in_order(superuser)
    await restored(superuser, shift)
    await append(superuser, "c", jobs=50)  # These events are written before the first seal in the new cluster.

    await seal(database)
    at_the_change = await in_order(superuser)
    for number in range(40):  # Until the transaction ids here are above those of the other cluster, if those are near.
        await append(superuser, f"d{number}", jobs=10)
        if number % 10 == 0:
            await give_positions(database)
    for _ in range(shift if shift < 1000 else 0):
        await superuser.fetchval("select pg_current_xact_id()")
    await append(superuser, "e", jobs=10)
    await give_positions(database)

    order = await in_order(superuser)
    assert order[:600] == before
    assert order[:1200] == at_the_change
    assert len(order) == 1200 + 1600 + 40
    await check_lookups(superuser, LOOKED_UP)
    await check_tiles(superuser)
    assert (await cursor_of(superuser))["epoch"] == 1
    assert await superuser.fetchval("select count(*) from log_strays where position > 1280 or position <= 512") == 0


async def test_a_log_that_was_restored_twice_finds_every_position(database: Database, superuser: Connection) -> None:
    await append(superuser, "a", jobs=300)
    await give_positions(database)
    await restored(superuser, 10**12)
    await append(superuser, "b", jobs=300)
    await give_positions(database)
    await append(superuser, "c", jobs=300)
    await give_positions(database)
    await restored(superuser, 5000)
    await append(superuser, "d", jobs=300)
    await give_positions(database)
    await append(superuser, "e", jobs=300)
    await give_positions(database)

    assert len(await in_order(superuser)) == 6000
    assert await convert(database) == 0
    await check_lookups(superuser, LOOKED_UP)
    await check_tiles(superuser)


async def test_a_reader_passes_events_that_were_deleted(database: Database, superuser: Connection) -> None:
    await append(superuser, "a", jobs=300)
    await give_positions(database)
    order = await in_order(superuser)
    async with unguarded(superuser):
        gone = "delete from job_events where (job_id, seq) in (select * from unnest($1::uuid[], $2::int[]))"
        await superuser.execute(gone, [job_id for job_id, _ in order[100:900]], [seq for _, seq in order[100:900]])
    history = History(database)

    assert [event.position for event in await history.log(after=150, limit=50)] == list(range(901, 951))
    assert await history.log(after=1200, limit=50) == []
