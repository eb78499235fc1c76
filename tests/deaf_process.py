"""Runs `rireki` with a job type `deaf`, whose handler ignores cancellation.

The handler keeps a connection to the database. Run it as `python -m tests.deaf_process serve`.
"""

import asyncio
from contextlib import suppress
from typing import Any

from events.job import JSON
from service import cli
from tests.job_types import job_type
from workers.job_type import Context
from workers.registry import JOB_TYPES


async def stay(context: Context, payload: Any) -> JSON:
    async with context.database.raw():
        while True:
            with suppress(asyncio.CancelledError):
                await asyncio.Event().wait()


if __name__ == "__main__":
    JOB_TYPES["deaf"] = job_type("deaf", stay)
    cli.main()
