"""Tiles, roots and proofs from the database are those of the events' leaves.

This holds for a log of every size.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager

import pytest
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st

from events.database import Connection, Database, connect
from migrations.migrate import migrate
from projections import seal as seal_module
from projections import tree
from projections.changes import last_position
from projections.proof.merkle import (
    EMPTY_ROOT,
    Span,
    Subtree,
    consistency_proof,
    inclusion_proof,
    is_consistent,
    is_included,
    leaf_hash,
    node_hash,
    root_of,
    span_hash,
)
from projections.proof.tiles import Tile, tiles_of
from projections.seal import convert, seal
from tests.conftest import administer, with_database
from tests.histories import give_positions
from tests.process.test_migrations import emptied, upgrade
from tests.projections import version_before
from tests.projections.conftest import superuser
from tests.projections.histories_in_log import unguarded
from tests.projections.tiled_logs import EVENTS_IN_ORDER, append, connected

__all__ = ["superuser"]

SIZE = 66_000  # a tree with a full tile of level 1, so it has tiles of three levels


class Leaves:
    """The leaf hashes of a log, and every perfect subtree over them.

    They are computed without the tiles.
    """

    def __init__(self, leaves: list[bytes]) -> None:
        self.levels = [leaves]
        while len(below := self.levels[-1]) > 1:
            self.levels.append([node_hash(below[at], below[at + 1]) for at in range(0, len(below) - 1, 2)])

    def hash_of(self, subtree: Subtree) -> bytes:
        return self.levels[subtree.height][subtree.number]

    def root(self, size: int) -> bytes:
        return span_hash(Span(0, size), self.hash_of)

    def tile(self, tile: Tile) -> bytes:
        hashes = range(tile.number * 256, tile.number * 256 + tile.width)
        return b"".join(self.hash_of(Subtree(8 * tile.level, number)) for number in hashes)


async def leaves_of(connection: Connection) -> Leaves:
    return Leaves([leaf_hash(row["entry"]) for row in await connection.fetch(EVENTS_IN_ORDER)])


class LargeLog:
    """A sealed log, and an event loop to ask it from a test that hypothesis repeats."""

    def __init__(self, url: str) -> None:
        self._runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
        self.connection, self.leaves = self._runner.run(self._fill(url))

    async def _fill(self, url: str) -> tuple[Connection, Leaves]:
        database, connection = Database(url), await connect(url, application_name="the test")
        await database.connect()
        await append(connection, "large", jobs=SIZE // 4)
        await give_positions(database)
        await database.disconnect()
        return connection, await leaves_of(connection)

    def tile(self, tile: Tile) -> bytes:
        return self._runner.run(tree.tile_contents(self.connection, tile))

    def root(self, size: int) -> bytes:
        return self._runner.run(tree.root(self.connection, size))

    def inclusion(self, index: int, size: int) -> Sequence[bytes]:
        return self._runner.run(tree.inclusion(self.connection, index, size))

    def consistency(self, old: int, size: int) -> Sequence[bytes]:
        return self._runner.run(tree.consistency(self.connection, old, size))

    def close(self) -> None:
        self._runner.run(self.connection.close())
        self._runner.close()


@pytest.fixture(scope="module")
def log(postgres_url: str, template: str) -> Iterator[LargeLog]:
    name = f"rireki_test_{secrets.token_hex(4)}"
    administer(postgres_url, f"create database {name} template {template}")
    log = LargeLog(with_database(postgres_url, name))
    yield log
    log.close()
    administer(postgres_url, f"drop database {name} with (force)")


EDGES = (0, 1, 255, 256, 257, 65_535, 65_536, 65_537, SIZE)
sizes = st.integers(0, SIZE) | st.sampled_from(EDGES)


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_every_tile_of_every_size_is_read_from_the_database(log: LargeLog, data: st.DataObject) -> None:
    size = data.draw(sizes.filter(bool))
    tile = data.draw(st.sampled_from([*list(tiles_of(size))[:3], *list(tiles_of(size))[-6:]]))

    assert log.tile(tile) == log.leaves.tile(tile)


def test_every_tile_of_a_large_log_is_read_from_the_database(log: LargeLog) -> None:
    for tile in tiles_of(SIZE):
        assert log.tile(tile) == log.leaves.tile(tile), tile.path


@settings(deadline=None, max_examples=60)
@given(sizes)
def test_the_root_of_every_size_is_that_of_the_leaves(log: LargeLog, size: int) -> None:
    assert log.root(size) == log.leaves.root(size)


@settings(deadline=None, max_examples=100)
@given(st.data())
def test_every_inclusion_is_proved(log: LargeLog, data: st.DataObject) -> None:
    size = data.draw(sizes.filter(bool))
    index = data.draw(st.integers(0, size - 1))

    proof = log.inclusion(index, size)

    assert proof == inclusion_proof(index, size, log.leaves.hash_of)
    assert is_included(log.leaves.hash_of(Subtree(0, index)), index, size, proof, log.leaves.root(size))


@settings(deadline=None, max_examples=100)
@given(st.data())
def test_the_consistency_of_every_pair_of_sizes_is_proved(log: LargeLog, data: st.DataObject) -> None:
    size = data.draw(sizes)
    old = data.draw(st.integers(0, size))

    proof = log.consistency(old, size)

    assert proof == consistency_proof(old, size, log.leaves.hash_of)
    assert is_consistent(old, log.leaves.root(old), size, log.leaves.root(size), proof)


def test_the_root_of_a_large_log_is_that_of_all_leaves_at_once(log: LargeLog) -> None:
    assert log.root(SIZE) == root_of(log.leaves.levels[0])


@pytest.mark.parametrize("size", [SIZE + 1, 2**40, 2**62, 2**62 + 1, 2**80])
def test_a_size_beyond_the_log_is_refused(log: LargeLog, size: int) -> None:
    message = f"the log has {SIZE} sealed events, so it has no tree of {size}"

    for ask in (log.root, lambda size: log.inclusion(0, size), lambda size: log.consistency(1, size)):
        with pytest.raises(tree.NotSealed, match=message):
            ask(size)


@pytest.mark.parametrize("tile", [Tile(0, 257, 209), Tile(0, 258, 1), Tile(1, 1, 2), Tile(2, 0, 2), Tile(7, 2**63 - 1)])
def test_a_tile_beyond_the_log_is_refused(log: LargeLog, tile: Tile) -> None:
    with pytest.raises(tree.NotSealed):
        log.tile(tile)


def test_impossible_questions_are_refused(log: LargeLog) -> None:
    for ask in (lambda: log.root(-1), lambda: log.inclusion(5, 5), lambda: log.inclusion(-1, 5), lambda: log.consistency(6, 5)):
        with pytest.raises(ValueError, match="tree"):
            ask()


async def test_an_empty_log_has_the_empty_root(superuser: Connection) -> None:
    assert await tree.root(superuser, 0) == EMPTY_ROOT
    assert await tree.sealed_size(superuser) == 0
    assert await tree.consistency(superuser, 0, 0) == []


async def test_every_size_of_a_small_log_has_its_tree(database: Database, superuser: Connection) -> None:
    await append(superuser, "small", jobs=150)
    await give_positions(database)
    leaves = await leaves_of(superuser)

    for size in range(601):
        assert await tree.root(superuser, size) == leaves.root(size)
        for tile in list(tiles_of(size))[-3:]:
            assert await tree.tile_contents(superuser, tile) == leaves.tile(tile)


async def test_the_tree_of_a_size_stays_the_same_while_sealing_goes_on(
    database: Database, superuser: Connection, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seal_module, "MOST_AT_ONCE", 37)
    await append(superuser, "busy", jobs=600)
    seen: dict[int, tuple[bytes, Sequence[bytes], Sequence[bytes]]] = {}

    async def read() -> None:
        async with a_connection(database_url) as connection:
            while (size := await tree.sealed_size(connection)) < 2400:
                if size:
                    middle = size // 2
                    root, included = await tree.root(connection, size), await tree.inclusion(connection, middle, size)
                    seen[size] = root, included, await tree.consistency(connection, middle, size)

    async def write() -> None:
        while await last_position(database) < 2400:
            await seal(database)

    async with asyncio.timeout(60):
        await asyncio.gather(read(), read(), write())

    leaves = await leaves_of(superuser)
    assert len(seen) > 10
    for size, (root, included, consistent) in seen.items():
        assert root == leaves.root(size)
        assert included == inclusion_proof(size // 2, size, leaves.hash_of)
        assert consistent == consistency_proof(size // 2, size, leaves.hash_of)


@pytest.fixture
def old_url(postgres_url: str) -> Iterator[str]:
    with emptied(postgres_url) as url:
        upgrade(url, "0014")
        yield url


async def test_a_log_whose_old_rows_are_not_yet_tiles_has_no_tree_beyond_them(
    old_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seal_module, "CONVERT_AT_ONCE", 1)
    async with a_connection(old_url) as connection:
        await append(connection, "old", jobs=200)
        await version_before.seal_everything(connection)
        await asyncio.to_thread(migrate, old_url)
        database = await connected(old_url)

        with pytest.raises(tree.TreeUnfinished, match="only the first 0 events"):
            await tree.sealed_size(connection)
        await append(connection, "new", jobs=50)
        await give_positions(database)
        assert await convert(database) == 1

        leaves = await leaves_of(connection)
        assert await tree.root(connection, 256) == leaves.root(256)
        with pytest.raises(tree.TreeUnfinished, match="only the first 256 events") as unfinished:
            await tree.root(connection, 257)
        assert unfinished.value.size == 256
        while await convert(database):
            pass
        assert await tree.sealed_size(connection) == 1000
        assert await tree.root(connection, 1000) == leaves.root(1000)
        await database.disconnect()


@pytest.mark.parametrize("damage", ["delete from log_tiles where tile = 1", "delete from log_tail where position = 1030"])
async def test_hashes_that_are_gone_are_named(database: Database, superuser: Connection, damage: str) -> None:
    await append(superuser, "damaged", jobs=260)
    await give_positions(database)
    async with unguarded(superuser):
        await superuser.execute(damage)

    with pytest.raises(tree.TreeDamaged, match=r"hashes of tile/[01]/00[04]"):
        await tree.root(superuser, 1040)


async def test_a_cursor_that_is_gone_is_named(superuser: Connection) -> None:
    await superuser.execute("delete from job_event_log_cursor")

    with pytest.raises(tree.TreeDamaged, match="cursor is gone"):
        await tree.root(superuser, 0)


@asynccontextmanager
async def a_connection(url: str) -> AsyncIterator[Connection]:
    connection = await connect(url, application_name="a reader")
    try:
        yield connection
    finally:
        await connection.close()
