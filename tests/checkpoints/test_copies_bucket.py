"""The search for the newest copy in a bucket that is slow, or whose keys vanish."""

import asyncio
from collections.abc import Sequence

import pytest

from service.checkpoints import copies_in_store
from service.checkpoints.copies import CopyFailed
from service.checkpoints.copies_in_store import CopiesInBucket, ListedObjects
from tests.checkpoints.logs import ORIGIN, Log

LOG = Log(100)


class Bucket(ListedObjects):
    """Objects in memory. `answers` is cleared while the bucket answers no list."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.answers = asyncio.Event()
        self.answers.set()

    async def get(self, key: str, most: int) -> bytes | None:
        return self.objects.get(key)

    async def put(self, key: str, body: bytes, *, replace: bool) -> bool:
        self.objects[key] = body
        return True

    async def names_after(self, folder: str, name: str) -> tuple[Sequence[str], bool]:
        await self.answers.wait()
        names = sorted(key.removeprefix(f"{folder}/") for key in self.objects)
        return [each for each in names if each > name], True

    async def close(self) -> None:
        pass


async def test_a_copy_that_was_removed_is_looked_for_no_more() -> None:
    """Somebody may remove a forged copy while a process runs that has read it."""
    bucket = Bucket()
    copies = CopiesInBucket(bucket)
    await copies.add(ORIGIN, 4, LOG.note(4))
    await copies.add(ORIGIN, 90, LOG.note(90))
    assert await copies.newest(ORIGIN) == LOG.note(90)
    del bucket.objects[f"{ORIGIN}/{90:020d}"]

    with pytest.raises(CopyFailed):
        await copies.newest(ORIGIN)

    assert await copies.newest(ORIGIN) == LOG.note(4)


async def test_a_search_in_a_slow_bucket_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each list may take as long as a request may take, and a search needs many."""
    monkeypatch.setattr(copies_in_store, "ENDS_WITHIN", 0.05)
    bucket = Bucket()
    bucket.answers.clear()

    with pytest.raises(CopyFailed, match="was not found within"):
        await asyncio.wait_for(CopiesInBucket(bucket).newest(ORIGIN), 20)
