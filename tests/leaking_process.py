"""Runs `rireki` with job types whose errors contain every secret of the process.

Run it as `python -m tests.leaking_process serve`.
"""

import asyncio
import os
import re
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

import httpx2 as httpx
import structlog

from events.job import JSON
from service import cli
from tests.http_client import http_client
from tests.job_types import job_type
from workers.job_type import Context
from workers.outcomes import Final, GiveUp
from workers.registry import JOB_TYPES
from workers.summaries.summary import Message

SECRETS = [value for value in os.environ.values() if "canary" in value]
IN_ADDRESSES = re.findall(r"(?<=[:=])canary[^@\s&]+", " ".join(SECRETS))
WORDS = " | ".join([*SECRETS, *IN_ADDRESSES, *map(unquote, IN_ADDRESSES)])


async def leak_in_words(context: Context, payload: Any) -> JSON:
    structlog.get_logger("leak").warning(f"it failed: {WORDS}", details={"nested": [WORDS]})
    try:
        raise ValueError(WORDS)
    except ValueError as error:
        error.add_note(WORDS)
        structlog.get_logger("leak").error("with a stack", exc_info=error)
        raise Final(f"it failed with {WORDS}") from ExceptionGroup(WORDS, [error, KeyError(WORDS)])


async def leak_in_a_reason(context: Context, payload: Any) -> JSON:
    raise GiveUp(WORDS)


async def leak_by_the_model(context: Context, payload: Any) -> JSON:
    async def report(chunks: int, done: int) -> None: ...

    said = Message("10", "room", "1", "Ken", datetime.now(UTC), "We move on Friday.")
    await context.resources.summariser.summarise([said], report)
    return None


async def leak_by_a_library(context: Context, payload: Any) -> JSON:
    async with http_client() as client:
        answer = await client.get(os.environ["OPENAI_BASE_URL"], headers={"authorization": f"Bearer {SECRETS[0]}"})
        raise httpx.HTTPError(answer.text)


async def leak_unhandled(context: Context, payload: Any) -> JSON:
    async def fail() -> None:
        raise RuntimeError(WORDS)

    asyncio.get_running_loop().call_exception_handler({"message": WORDS, "exception": RuntimeError(WORDS)})
    await asyncio.gather(asyncio.create_task(fail()), return_exceptions=True)
    return None


if __name__ == "__main__":
    for leak in (leak_in_words, leak_in_a_reason, leak_by_the_model, leak_by_a_library, leak_unhandled):
        JOB_TYPES[leak.__name__] = job_type(leak.__name__, leak, max_attempts=1)
    cli.main()
