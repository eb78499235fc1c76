"""A restored or promoted log that lacks signed events is not signed until it gets a new name.

These tests make real backups with pg_basebackup, archive the WAL, and promote a replica.
"""

import asyncio
import contextlib
import json
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from events.database import Database
from migrations.migrate import migrate
from projections import tree
from projections.checkpoints import place_of_log
from projections.proof.checkpoint import read_checkpoint
from projections.proof.signed_note import open_note, read_signer
from projections.proof.succession import ABANDONS, FOLLOWS, named_by
from tests.checkpoints.clusters import Cluster, primary_cluster
from tests.checkpoints.signers import SignedLog, signed_log, what_is_wrong
from tests.histories import until
from tests.process.test_start_faults import run
from tests.projections.tiled_logs import connected

ARCHIVED = """
select last_archived_wal >= $1 from pg_stat_archiver
"""


@pytest.fixture
def primary() -> Iterator[Cluster]:
    with primary_cluster() as cluster:
        yield cluster


@contextlib.asynccontextmanager
async def log_of(cluster: Cluster, file: Path) -> AsyncIterator[SignedLog]:
    database = await connected(cluster.url)
    yield await signed_log(database, file)
    await database.disconnect()


async def grown_and_signed(log: SignedLog, events: int) -> None:
    await log.grow(events)
    async with log.signer() as signer:
        await signer.sign()
        await signer.copy()


async def place(database: Database) -> str:
    async with database.raw() as connection:
        return await place_of_log(connection)


async def goes_on_under_a_new_name(cluster: Cluster, log: SignedLog, home: Path, *, kept: int, lost: int) -> None:
    """Checks that the log of `cluster` is not signed under its old name, and is signed under a new name.

    The cluster has `kept` of the `lost` events that the old log has signed.
    """
    settings = {"DATABASE_URL": cluster.url, "AUDIT_CHECKPOINT_URL": log.file.as_uri()}
    key, copies = {"AUDIT_SIGNING_KEY": log.key.to_text()}, log.copied()
    for events, said in (
        (0, f"it has only {kept} sealed events"),
        (lost, f"differs from it, with {kept + lost} sealed events"),
    ):
        async with log_of(cluster, log.file) as restored:
            if events:
                await restored.grow(events)
            assert [each.size for each in await restored.signed()][-1] == kept
        status, told, complained = await run("audit", "checkpoint", home=home, **settings, **key)
        assert (status, told) == (1, "")
        assert f"does not extend the checkpoint of size {lost} that is known from the copies" in complained
        assert said in complained
        assert log.copied() == copies

    _, told, _ = await run("audit", "new-log", "--reason", "a test of backups", "--json", home=home, **settings)
    begun = json.loads(told)
    assert (begun["follows"]["size"], begun["abandons"]["size"]) == (kept, lost)
    _, new_key, _ = await run("audit", "keygen", home=home, **settings)
    _, note, complained = await run("audit", "checkpoint", home=home, **settings, AUDIT_SIGNING_KEY=new_key)

    assert complained == ""
    first = read_checkpoint(open_note(note.encode(), [read_signer(new_key.strip()).verifier]))
    followed, abandoned = named_by(first, FOLLOWS), named_by(first, ABANDONS)
    assert (first.origin, first.size) == (begun["origin"], kept + lost)
    assert (followed, abandoned) == (copies[-2], copies[-1])
    async with log_of(cluster, log.file) as restored, restored.database.raw() as connection:
        assert followed is not None
        assert await tree.root(connection, kept) == followed.root
        assert await what_is_wrong(connection, restored.copied()) == []
        assert restored.copied()[-1].origin == begun["origin"]


async def test_a_restore_to_an_earlier_time_is_not_signed_until_the_log_has_a_new_name(
    primary: Cluster, tmp_path: Path
) -> None:
    await asyncio.to_thread(migrate, primary.url)
    file = tmp_path / "copies"
    async with log_of(primary, file) as log:
        await grown_and_signed(log, 5)
        copy = await asyncio.to_thread(primary.back_up, "restored")
        await grown_and_signed(log, 300)
        async with log.database.raw() as connection:
            await connection.execute("select pg_create_restore_point('before')")
            await log.grow(8)
            async with log.signer() as signer:
                await signer.sign()
                await signer.copy()
            wal = await connection.fetchval("select pg_walfile_name(pg_switch_wal())")
            await until(lambda: connection.fetchval(ARCHIVED, wal), seconds=60)
        before = await place(log.database)
    await asyncio.to_thread(primary.stop)

    await asyncio.to_thread(copy.restore_to, "before")
    try:
        async with log_of(copy, file) as restored:
            assert await restored.size() == 305
            assert await place(restored.database) != before
        await goes_on_under_a_new_name(copy, log, tmp_path, kept=305, lost=313)
    finally:
        copy.stop(signal.SIGQUIT)


async def test_a_promoted_replica_that_lags_is_not_signed_until_the_log_has_a_new_name(
    primary: Cluster, tmp_path: Path
) -> None:
    await asyncio.to_thread(migrate, primary.url)
    file = tmp_path / "copies"
    async with log_of(primary, file) as log:
        await grown_and_signed(log, 5)
        replica = await asyncio.to_thread(primary.back_up, "replica")
        await asyncio.to_thread(replica.follow, primary)
        await grown_and_signed(log, 4)
        async with connected_to(replica) as behind:
            await until(lambda: has_size(behind, 9), seconds=60)
        await asyncio.to_thread(replica.stop)
        await grown_and_signed(log, 7)
        before = await place(log.database)
    await asyncio.to_thread(primary.stop, signal.SIGQUIT)

    await asyncio.to_thread(replica.start)
    await asyncio.to_thread(replica.promote)
    try:
        async with log_of(replica, file) as promoted:
            assert await promoted.size() == 9
            assert await place(promoted.database) != before
        await goes_on_under_a_new_name(replica, log, tmp_path, kept=9, lost=16)
    finally:
        replica.stop(signal.SIGQUIT)


async def test_a_promoted_replica_that_has_everything_is_signed_under_the_same_name(primary: Cluster, tmp_path: Path) -> None:
    await asyncio.to_thread(migrate, primary.url)
    async with log_of(primary, tmp_path / "copies") as log:
        replica = await asyncio.to_thread(primary.back_up, "replica")
        await asyncio.to_thread(replica.follow, primary)
        await grown_and_signed(log, 9)
        async with connected_to(replica) as behind:
            await until(lambda: has_size(behind, 9), seconds=60)
            await until(lambda: behind.fetch_val("select count(*) from checkpoints where copied_at is not null"), seconds=60)
    await asyncio.to_thread(primary.stop, signal.SIGQUIT)

    await asyncio.to_thread(replica.promote)
    try:
        async with log_of(replica, log.file) as promoted:
            promoted.key = log.key
            await grown_and_signed(promoted, 3)
            async with promoted.database.raw() as connection:
                assert await what_is_wrong(connection, promoted.copied(), [log.key.verifier]) == []
            assert [each.size for each in promoted.copied()] == [9, 12]
    finally:
        replica.stop(signal.SIGQUIT)


@contextlib.asynccontextmanager
async def connected_to(cluster: Cluster) -> AsyncIterator[Database]:
    database = await connected(cluster.url)
    yield database
    await database.disconnect()


async def has_size(database: Database, size: int) -> bool:
    async with database.raw() as connection:
        return await tree.sealed_size(connection) == size
