"""Questions to the database that come one by one and are asked together: what is asked while a query is under way goes out with
all the others in the next. Alone, a question waits for nothing."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from itertools import islice
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

MOST_AT_ONCE = 500


class BatchLoader(Generic[K, V]):
    """`ask` answers several questions; one that its answer leaves out is answered with None."""

    def __init__(self, ask: Callable[[Sequence[K]], Awaitable[Mapping[K, V]]]) -> None:
        self._ask = ask
        self._wanted: dict[K, asyncio.Future[V | None]] = {}
        self._asking: asyncio.Task[None] | None = None

    async def get(self, question: K) -> V | None:
        """An answer from a query that began after this call. Raises what the query raises."""
        answer = self._wanted.get(question)
        if answer is None:
            answer = self._wanted[question] = asyncio.get_running_loop().create_future()
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask_until_nobody_wants())
        # Others may wait for the same answer: it outlives who gives up.
        return await asyncio.shield(answer)

    async def _ask_until_nobody_wants(self) -> None:
        while self._wanted:
            asked = {question: self._wanted.pop(question) for question in list(islice(self._wanted, MOST_AT_ONCE))}
            try:
                answers = await self._ask(list(asked))
            except Exception as error:
                for answer in asked.values():
                    answer.set_exception(error)
                    answer.exception()  # Nobody may be left to hear of it.
            else:
                for question, answer in asked.items():
                    answer.set_result(answers.get(question))
