"""Merges single look-ups that come at the same time into one query.

Look-ups that come while a query is running are sent together in the next one. A look-up that comes
alone is sent at once.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from itertools import islice
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

MOST_AT_ONCE = 500  # keys in one query


class BatchLoader(Generic[K, V]):
    """Looks up single keys with few calls of `ask`, which looks up several keys at once.

    A key that is missing in the result of `ask` has the value None.
    """

    def __init__(self, ask: Callable[[Sequence[K]], Awaitable[Mapping[K, V]]]) -> None:
        self._ask = ask
        self._wanted: dict[K, asyncio.Future[V | None]] = {}
        self._asking: asyncio.Task[None] | None = None

    async def get(self, key: K) -> V | None:
        """Returns the value of a key, from a query that begins after this call.

        Raises the errors of the query.
        """
        answer = self._wanted.get(key)
        if answer is None:
            answer = self._wanted[key] = asyncio.get_running_loop().create_future()
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask_until_none_is_wanted())
        # Others may wait for the same future, so the cancellation of one waiter must not cancel it.
        return await asyncio.shield(answer)

    async def _ask_until_none_is_wanted(self) -> None:
        while self._wanted:
            asked = {key: self._wanted.pop(key) for key in list(islice(self._wanted, MOST_AT_ONCE))}
            try:
                answers = await self._ask(list(asked))
            except Exception as error:
                for answer in asked.values():
                    answer.set_exception(error)
                    answer.exception()  # marks the error as retrieved, because every caller may have stopped waiting
            else:
                for key, answer in asked.items():
                    answer.set_result(answers.get(key))
