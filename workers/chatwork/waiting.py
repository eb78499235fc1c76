"""Reports in a sync's progress that the sync waits for Chatwork's request budget, and until when."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

from events.job import JSON, rfc3339
from workers.chatwork.client import Chatwork
from workers.job_type import Context

SHORTEST = timedelta(seconds=2)  # a shorter wait is not reported


def waiting(chatwork: Chatwork) -> dict[str, JSON]:
    """Returns `{waiting: {for: "chatwork_limit", until, limit, window}}`, or `{}` if nothing has to wait.

    At most `limit` requests are allowed in any `window` seconds, and the next one at `until`.
    """
    budget = chatwork.budget
    until = budget.resumes_at
    if until is None or until - datetime.now(UTC) < SHORTEST:
        return {}
    return {"waiting": {"for": "chatwork_limit", "until": rfc3339(until), "limit": budget.limit, "window": budget.window}}


@asynccontextmanager
async def waits_told(context: Context, chatwork: Chatwork, so_far: Callable[[], dict[str, JSON]]) -> AsyncIterator[None]:
    """Reports the progress `so_far` with the wait, each time the budget runs out inside the block.

    All syncs of a process share one budget. So each sync reports the wait, even if another sync has used up the budget.
    """

    async def tell() -> None:
        until = None
        while True:
            until = await chatwork.budget.exhausted(until)
            if wait := waiting(chatwork):
                await context.progress(so_far() | wait)

    telling = asyncio.create_task(tell())
    try:
        yield
    finally:
        telling.cancel()
        await asyncio.wait({telling})
