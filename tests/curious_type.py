"""Runs `rireki` with a job type whose handler looks for private keys wherever a handler can look."""

import asyncio
import gc
import os
import subprocess
import sys
from pathlib import Path

from events.job import JSON
from service.config import Settings
from workers.job_type import Context, JobType, Payload
from workers.registry import JOB_TYPES

SIGN = "PRIVATE+KEY+"


class Nothing(Payload):
    pass


async def look_around(context: Context, payload: Nothing) -> JSON:
    """Returns where a private key was found."""
    return await asyncio.to_thread(_places_with_a_key)


def _places_with_a_key() -> JSON:
    gc.unfreeze()
    child = subprocess.run(
        [sys.executable, "-c", "import os; print(dict(os.environ))"], capture_output=True, text=True, check=True
    )
    places = {
        "the environment": str(dict(os.environ)),
        "the environment at the start": Path("/proc/self/environ").read_bytes().decode(errors="replace"),
        "the environment of a child": child.stdout,
        "the settings": " ".join(str(vars(each)) for each in gc.get_objects() if isinstance(each, Settings)),
    }
    return {"found": [place for place, text in places.items() if SIGN in text], "looked": len(places)}


LOOK_AROUND = JobType(name="look_around", title="Look around", payload=Nothing, run=look_around, deadline=60.0)

if __name__ == "__main__":
    JOB_TYPES[LOOK_AROUND.name] = LOOK_AROUND
    from service.cli import main

    main()
