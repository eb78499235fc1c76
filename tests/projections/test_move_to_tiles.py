"""The log of the version before is moved into tiles, and no position changes.

Processes of that version may go on running meanwhile.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from events.database import Connection, Database, connect
from events.positions import POSITION
from migrations.migrate import migrate
from projections import seal as seal_module
from projections.seal import convert, keep_sealing, seal_everything
from projections.verify import verify
from tests.histories import give_positions, until
from tests.process.test_migrations import emptied, upgrade
from tests.projections import version_before
from tests.projections.histories_in_log import unguarded
from tests.projections.test_tiles import LOOKED_UP
from tests.projections.tiled_logs import append, check_lookups, check_tiles, connected, cursor_of, in_order

OLD_ORDER = "select e.job_id, e.seq from job_event_log l join job_events e using (event_id) order by l.position"


@pytest.fixture
def old_url(postgres_url: str) -> Iterator[str]:
    with emptied(postgres_url) as url:
        upgrade(url, "0014")
        yield url


@pytest.fixture
async def connection(old_url: str) -> AsyncIterator[Connection]:
    connection = await connect(old_url, application_name="the test")
    yield connection
    await connection.close()


@pytest.fixture
async def database(old_url: str, connection: Connection) -> AsyncIterator[Database]:
    database = await connected(old_url)
    yield database
    await database.disconnect()


async def order_of_the_version_before(connection: Connection) -> list[tuple[str, int]]:
    return [(row["job_id"], row["seq"]) for row in await connection.fetch(OLD_ORDER)]


async def some_old_log(connection: Connection, *, jobs: int = 250) -> list[tuple[str, int]]:
    """Makes a log of the version before, in three batches. Returns its order.

    Some events of it have no position yet.
    """
    for name in ("a", "b", "c"):
        await append(connection, name, jobs=jobs // 2)
        await append(connection, f"{name}2", jobs=jobs - jobs // 2)
        await version_before.seal_everything(connection)
    order = await order_of_the_version_before(connection)
    await append(connection, "unsealed", jobs=20)
    return order


async def test_no_position_changes_before_while_and_after_the_rows_are_copied(
    connection: Connection, database: Database, old_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seal_module, "CONVERT_AT_ONCE", 3)
    before = await some_old_log(connection)
    await asyncio.to_thread(migrate, old_url)

    assert await in_order(connection) == before
    await check_lookups(connection, f"{LOOKED_UP} where {POSITION} is not null")
    await give_positions(database)
    assert (await in_order(connection))[:3000] == before
    while await convert(database):
        await append(connection, f"meanwhile {(await cursor_of(connection))['tiled']}", jobs=9)
        await give_positions(database)
        assert (await in_order(connection))[:3000] == before
        await check_lookups(connection, LOOKED_UP)

    cursor = await cursor_of(connection)
    assert (cursor["tiled"], cursor["rows_to"]) == (2816, 2816)
    assert (await in_order(connection))[:3000] == before
    await check_lookups(connection, LOOKED_UP)
    await check_tiles(connection)
    assert await connection.fetchval("select count(*) from log_tiles where sealed_at is null") == 11


async def test_the_last_row_of_a_tile_needs_no_copy(connection: Connection, database: Database, old_url: str) -> None:
    await append(connection, "a", jobs=128)
    await version_before.seal_everything(connection)
    before = await order_of_the_version_before(connection)
    await asyncio.to_thread(migrate, old_url)
    await append(connection, "b", jobs=64)
    await give_positions(database)

    assert await convert(database) == 2
    assert await convert(database) == 0
    assert (await in_order(connection))[:512] == before
    await check_tiles(connection)


async def test_an_empty_log_has_nothing_to_copy(connection: Connection, database: Database, old_url: str) -> None:
    await asyncio.to_thread(migrate, old_url)
    await append(connection, "a", jobs=70)
    await give_positions(database)

    assert await convert(database) == 0
    assert len(await in_order(connection)) == 280


async def test_the_sealer_of_the_version_before_changes_nothing_and_fails_nowhere(
    connection: Connection, database: Database, old_url: str
) -> None:
    before = await some_old_log(connection)
    await asyncio.to_thread(migrate, old_url)
    cursor = await cursor_of(connection)

    assert await version_before.seal(connection) == 80
    assert await cursor_of(connection) == cursor
    assert await in_order(connection) == before
    await give_positions(database)
    order = await in_order(connection)
    await append(connection, "more", jobs=5)
    assert await version_before.seal(connection) == 20

    assert await in_order(connection) == order
    assert order[:3000] == before


async def test_processes_of_the_version_before_read_every_position(
    connection: Connection, database: Database, old_url: str
) -> None:
    await some_old_log(connection)
    await asyncio.to_thread(migrate, old_url)
    for number in range(3):
        await append(connection, f"new {number}", jobs=100)
        await give_positions(database)
        assert await order_of_the_version_before(connection) == await in_order(connection)
        await convert(database)

    order = await in_order(connection)
    assert await order_of_the_version_before(connection) == order
    rows = await connection.fetch(version_before.ORDER, 2900, 200)
    assert [(row["position"], row["job_id"], row["seq"]) for row in rows] == [
        (number, *order[number - 1]) for number in range(2901, 3101)
    ]
    job_id = order[-1][0]
    history = await connection.fetch(version_before.HISTORY, job_id)
    assert [row["position"] for row in history] == [at + 1 for at, (job, _) in enumerate(order) if job == job_id]


async def test_sealers_of_both_versions_side_by_side_give_each_event_one_position(
    connection: Connection, database: Database, old_url: str
) -> None:
    over = asyncio.Event()

    async def seal_as_before() -> None:
        own = await connect(old_url, application_name="the version before")
        while not over.is_set():
            await version_before.seal(own)
        await own.close()

    older = [asyncio.create_task(seal_as_before()) for _ in range(2)]
    await append(connection, "a", jobs=100)
    await until(lambda: order_of_the_version_before(connection))
    await append(connection, "b", jobs=333)
    await asyncio.to_thread(migrate, old_url)
    newer = asyncio.create_task(keep_sealing(database))
    for number in range(20):
        await append(connection, f"c{number}", jobs=25)
        await in_order(connection)

    async def all_have_one() -> bool:
        return len(await in_order(connection)) == (100 + 333 + 500) * 4

    await until(all_have_one, seconds=30)
    over.set()
    newer.cancel()
    await asyncio.gather(*older, newer, return_exceptions=True)
    while await convert(database):
        pass
    await check_lookups(connection, LOOKED_UP)
    await check_tiles(connection)


async def test_a_log_that_was_restored_before_the_move_is_not_sealed_twice(
    connection: Connection, database: Database, old_url: str
) -> None:
    await some_old_log(connection)
    await connection.execute("alter table job_events disable trigger all")
    await connection.execute("update job_events set xid = (xid::text::bigint + 300)::text::xid8")
    await connection.execute("update job_event_log_cursor set system_identifier = system_identifier - 1")
    await version_before.seal(connection)
    await append(connection, "in the new cluster", jobs=200)
    await version_before.seal_everything(connection)
    before = await order_of_the_version_before(connection)
    await asyncio.to_thread(migrate, old_url)
    await append(connection, "after the move", jobs=50)
    for _ in range(600):  # Until the transaction ids here are above those of the other cluster.
        await connection.fetchval("select pg_current_xact_id()")
    await seal_everything(database)
    await append(connection, "later", jobs=50)
    await give_positions(database)
    while await convert(database):
        pass

    order = await in_order(connection)
    assert order[: len(before)] == before
    assert len(order) == len(before) + 400
    await check_lookups(connection, LOOKED_UP)
    await check_tiles(connection)


async def test_an_event_that_was_gone_before_the_move_is_missing_after_it(
    connection: Connection, database: Database, old_url: str
) -> None:
    before = await some_old_log(connection)
    await asyncio.to_thread(migrate, old_url)
    async with unguarded(connection):
        await connection.execute(
            "delete from job_events where (job_id, seq) in (($1, $2), ($3, $4))", *before[700], *before[2990]
        )
    await give_positions(database)
    while await convert(database):
        pass

    findings = (await verify(database)).findings

    missing = [finding.position for finding in findings if finding.name == "MISSING"]
    assert missing == [701, 2991]
    assert not [finding for finding in findings if finding.name in {"INSERTED", "TRUNCATED_TAIL", "REORDERED"}]
