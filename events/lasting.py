"""Tasks that last as long as their process: taking, sealing, listening, serving.

One that ends by an error would be missing in silence. It is told to the event loop's exception handler, with its error under
`PART_ENDED`; whoever runs the process ends it then (`service/serve.py`), and somebody starts another.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any

PART_ENDED = "rireki_part_ended"


def lasting(work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
    """Until it is cancelled."""
    task = asyncio.create_task(work, name=name)
    task.add_done_callback(_tell_if_broken)
    return task


async def end(*tasks: asyncio.Task[None]) -> None:
    """Cancels them again and again until they have ended: `asyncio.wait_for`, which may be what they are in, may swallow a
    cancellation on Python 3.11."""
    while running := {task for task in tasks if not task.done()}:
        for task in running:
            task.cancel()
        await asyncio.wait(running, timeout=0.1)


def _tell_if_broken(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        message = f"a part of the process has ended by an error: {task.get_name()}"
        task.get_loop().call_exception_handler({"message": message, "exception": error, "task": task, PART_ENDED: error})
