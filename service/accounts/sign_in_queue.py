"""The bounded queue of sign-ins that wait for a password hasher.

One verification takes 46 MiB and a core, so the queue is short: a sign-in that finds it full is
rejected at once. One address may fill only a part of it, and addresses take turns, so that a flood
from one address does not delay the others.
"""

import asyncio
import contextlib
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator, Iterator

HASHERS = 2
MOST_WAITING = 30
MOST_OF_ONE_ADDRESS = 8
WAITS_AT_MOST = 10.0  # seconds


class LineFull(Exception):
    """The queue is full, or the wait took too long. Another try may succeed."""


class SignInLine:
    """The queue of the sign-ins in one process.

    `place` limits how many sign-ins are in the queue. `hasher` limits how many passwords are
    verified at the same time.
    """

    def __init__(self) -> None:
        self._of: Counter[str] = Counter()
        self._free = HASHERS
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()

    @contextlib.contextmanager
    def place(self, address: str) -> Iterator[None]:
        """Counts this sign-in as one in the queue while the block lasts. Raises `LineFull`."""
        if self._of.total() >= HASHERS + MOST_WAITING or self._of[address] >= MOST_OF_ONE_ADDRESS:
            raise LineFull
        self._of[address] += 1
        try:
            yield
        finally:
            self._of[address] -= 1
            if not self._of[address]:
                del self._of[address]

    @contextlib.asynccontextmanager
    async def hasher(self, address: str) -> AsyncIterator[None]:
        """Waits for a password hasher and holds it while the block lasts.

        Raises `LineFull` after `WAITS_AT_MOST`.
        """
        if self._free:
            self._free -= 1
        else:
            await self._turn(address)
        try:
            yield
        finally:
            self._next()

    async def _turn(self, address: str) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(address, deque()).append(turn)
        try:
            async with asyncio.timeout(WAITS_AT_MOST):
                await turn
        except (TimeoutError, asyncio.CancelledError) as error:
            if turn.done() and not turn.cancelled():  # This sign-in got the hasher when it no longer waited.
                self._next()
            else:
                self._leave(address, turn)
            if isinstance(error, TimeoutError):
                raise LineFull from None
            raise

    def _next(self) -> None:
        """Gives a free hasher to the first sign-in of the address whose turn it is."""
        if not self._waiting:
            self._free += 1
            return
        address, turns = self._waiting.popitem(last=False)
        turn = turns.popleft()
        if turns:
            self._waiting[address] = turns
        if turn.done():
            self._next()
        else:
            turn.set_result(None)

    def _leave(self, address: str, turn: asyncio.Future[None]) -> None:
        turns = self._waiting.get(address, deque())
        if turn in turns:
            turns.remove(turn)
        if not turns:
            self._waiting.pop(address, None)
