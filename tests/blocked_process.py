"""Runs `rireki` with a job type `blocked`, whose handler blocks the interpreter for hours.

The handler matches a regular expression that backtracks without end, which nothing can interrupt. A
process may take only 2 seconds to stop, so that a test need not wait longer. Run it as `python -m
tests.blocked_process serve`.
"""

import re
from pathlib import Path
from typing import Any

from events.job import JSON
from service import cli
from service.config import load_settings
from service.process import shutdown
from tests.job_types import job_type
from workers.job_type import Context
from workers.registry import JOB_TYPES

BACKTRACKS = re.compile(r"(?:a|a)*$")


async def block(context: Context, payload: Any) -> JSON:
    (Path(load_settings().rireki_home) / "blocked").touch()
    BACKTRACKS.match("a" * 60 + "b")
    return None


if __name__ == "__main__":
    JOB_TYPES["blocked"] = job_type("blocked", block)
    shutdown.ENDS_WITHIN = 2.0
    cli.main()
