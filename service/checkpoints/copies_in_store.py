"""Copies of checkpoints as objects. An object's key has the origin, and the size in 20 digits.

A server that knows only PUT and GET cannot list its objects. So on such a server, the object `newest` has a second copy of the
note with the largest size. It is the only object that is ever replaced. A bucket lists its keys in order, so the newest copy is
found in the list, and every object can be write-once.
"""

import asyncio
from collections.abc import Sequence
from typing import Protocol

from projections.proof.checkpoint import MOST_SIZE
from projections.proof.notes import LONGEST_KEPT
from service.checkpoints.copy_types import CheckpointCopies, CopyDiffers, CopyFailed, checkpoint_in

NEWEST = "newest"
ENDS_WITHIN = 120.0  # seconds to find and read the newest copy in a bucket
MOST_LISTS = 200  # requests to find the newest copy; 70 are enough for an honest server


class Objects(Protocol):
    """Objects by key: `<origin>/<name>`. All raise `CopyFailed`."""

    async def get(self, key: str, most: int) -> bytes | None:
        """Returns an object of at most `most` bytes, or None if there is none."""

    async def put(self, key: str, body: bytes, *, replace: bool) -> bool:
        """Writes an object.

        Without `replace`, returns False if the server says that there is one already.
        """

    async def close(self) -> None:
        """Closes the connections."""


class ListedObjects(Objects, Protocol):
    """Objects whose keys can be listed."""

    async def names_after(self, folder: str, name: str) -> tuple[Sequence[str], bool]:
        """Returns the next names below `folder` after `name`, in order, and whether no names follow them."""


class CopiesOnServer(CheckpointCopies):
    """The copies on a server that takes PUT requests."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    async def add(self, origin: str, size: int, note: str) -> None:
        await _put_once(self._objects, origin, size, note)
        # `newest` is written second. A crash between the two writes leaves an older `newest`, whose copy exists.
        newest = await self.newest(origin)
        if newest is None or checkpoint_in(newest.encode(), origin).size < size:
            await self._objects.put(_key(origin, NEWEST), note.encode(), replace=True)

    async def newest(self, origin: str) -> str | None:
        return await _read(self._objects, origin, NEWEST)

    async def close(self) -> None:
        await self._objects.close()


class CopiesInBucket(CheckpointCopies):
    """The copies in a bucket whose keys can be listed."""

    def __init__(self, objects: ListedObjects) -> None:
        self._objects = objects
        self._known: dict[str, int] = {}  # by origin: the largest size found so far

    async def add(self, origin: str, size: int, note: str) -> None:
        await _put_once(self._objects, origin, size, note)

    async def newest(self, origin: str) -> str | None:
        try:
            async with asyncio.timeout(ENDS_WITHIN):
                return await self._newest(origin)
        except TimeoutError:
            raise CopyFailed(f"The newest copy was not found within {ENDS_WITHIN:.0f} s.") from None

    async def close(self) -> None:
        await self._objects.close()

    async def _newest(self, origin: str) -> str | None:
        size = await self._newest_size(origin)
        # Remembered only once it was read, because the copy may have been removed since the last call.
        self._known.pop(origin, None)
        if size is None:
            return None
        note = await _read(self._objects, origin, _name(size))
        if note is None or checkpoint_in(note.encode(), origin).size != size:
            raise CopyFailed("The store lists a copy, but returns none or a different one under its name.")
        self._known[origin] = size
        return note

    async def _newest_size(self, origin: str) -> int | None:
        """Finds the largest size by a binary search.

        `low` is the largest size found so far, and no size is above `high`.
        """
        low, high = self._known.get(origin), MOST_SIZE
        probe = low
        for _ in range(MOST_LISTS):
            sizes, is_all = await self._sizes_after(origin, probe)
            if sizes:
                low = sizes[-1]
            elif probe == low:
                return low
            elif probe is not None:
                high = probe
            if sizes and is_all:
                return low
            assert low is not None
            probe = low + (high - low) // 2
        raise CopyFailed(f"The newest copy was not found with {MOST_LISTS} lists of keys.")

    async def _sizes_after(self, origin: str, size: int | None) -> tuple[list[int], bool]:
        """Returns the next sizes above `size`, in order, and whether no sizes follow them."""
        names, is_all = await self._objects.names_after(_folder(origin), "" if size is None else _name(size))
        sizes = [int(name) for name in names if _is_name(name)]
        if sizes != sorted(set(sizes)) or (sizes and size is not None and sizes[0] <= size):
            raise CopyFailed("The store lists keys that were not asked for.")
        if not sizes and not is_all:
            raise CopyFailed("The store has many keys below the origin of this log that are no copies.")
        return sizes, is_all


async def _put_once(objects: Objects, origin: str, size: int, note: str) -> None:
    """Writes the object of a note, unless it exists. Never replaces another note.

    Raises `CopyDiffers`, `CopyFailed`.
    """
    key, body = _key(origin, _name(size)), note.encode()
    # The object is read first, because some servers ignore the condition of the PUT. The condition closes the race
    # between two writers.
    found = await objects.get(key, LONGEST_KEPT)
    if found is None and not await objects.put(key, body, replace=False):
        found = await objects.get(key, LONGEST_KEPT)
        if found is None:
            raise CopyFailed("The server says that there is a copy of this size, but returns none.")
    if found is not None and found != body:
        raise CopyDiffers(size, found.decode(errors="replace"))


async def _read(objects: Objects, origin: str, name: str) -> str | None:
    note = await objects.get(_key(origin, name), LONGEST_KEPT)
    if note is None:
        return None
    checkpoint_in(note, origin)
    return note.decode()


def _key(origin: str, name: str) -> str:
    return f"{_folder(origin)}/{name}"


def _folder(origin: str) -> str:
    if any(part in ("", ".", "..") for part in origin.split("/")):
        raise CopyFailed("The origin of this log cannot be a part of an address, because a part of it is empty, . or ..")
    return origin


def _name(size: int) -> str:
    return f"{size:020d}"


def _is_name(name: str) -> bool:
    return len(name) == 20 and name.isascii() and name.isdecimal() and int(name) <= MOST_SIZE
