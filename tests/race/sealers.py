"""Sealers that run beside the racing writers. They give positions, and publish roots of the tree.

At the end, the whole log must have the root of every size that was published (invariant 10).
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

from events.database import DATABASE_ERRORS, Connection, Database
from projections import tree
from projections.proof.checkpoint import Checkpoint
from projections.seal import seal, seal_everything
from tests.chaos.signing import ENTRIES, forked

Published = dict[int, set[bytes]]
"""The roots that were published for each size. An honest log has one for each."""

PUBLISH_EVERY = 0.02  # seconds


@asynccontextmanager
async def sealing_beside(url: str, sealers: int) -> AsyncIterator[Published]:
    """Runs `sealers` sealers while the block lasts. Their connections may break at any time."""
    published: Published = {}
    over = asyncio.Event()
    running = [asyncio.create_task(_keep_publishing(url, published, over)) for _ in range(sealers)]
    try:
        yield published
    finally:
        over.set()
        await asyncio.gather(*running)


async def wrong_roots(url: str, published: Published) -> list[str]:
    """Seals the rest of the log, and returns the faults in its positions and in the published roots."""
    database = Database(url, pool_size=2)
    await database.connect()
    try:
        await seal_everything(database)
        async with database.raw() as connection:
            await _publish(connection, published)
            entries = [row["entry"] for row in await connection.fetch(ENTRIES)]
            events = await connection.fetchval("select count(*) from job_events")
    finally:
        await database.disconnect()
    gaps = [] if len(entries) == events else [f"9: {events} events and {len(entries)} positions"]
    return gaps + [f"10: {violation.detail}" for violation in forked(_checkpoints(published), entries)]


async def _keep_publishing(url: str, published: Published, over: asyncio.Event) -> None:
    database = Database(url, pool_size=1)
    await database.connect()
    try:
        while not over.is_set():
            with contextlib.suppress(*DATABASE_ERRORS):
                await seal(database)
                async with database.raw() as connection:
                    await _publish(connection, published)
            await asyncio.sleep(PUBLISH_EVERY)
    finally:
        await database.disconnect()


async def _publish(connection: Connection, published: Published) -> None:
    size = await tree.sealed_size(connection)
    published.setdefault(size, set()).add(await tree.root(connection, size))


def _checkpoints(published: Published) -> Iterator[Checkpoint]:
    return (Checkpoint("race", size, root) for size, roots in published.items() for root in roots)
